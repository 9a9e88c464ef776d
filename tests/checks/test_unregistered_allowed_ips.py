"""unregistered-allowed-ips: inside a pool, observers route a prefix that nobody registered and no device holds."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, healthy, key_of, names, of, prefixes, roots, trio

IDENT = "unregistered-allowed-ips"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def given(mesh: Mesh, name: str, *addresses: str) -> Mesh:
    """The fleet in which all other nodes route these addresses to the node as well."""
    for observer in mesh.machines:
        if observer.name != name:
            mesh.edit(
                observer,
                lambda peers: [
                    (key, (*allowed, *(prefixes(addresses) if key == key_of(name) else ())))
                    for key, allowed in peers
                ],
            )
    return mesh


def test_an_address_that_observers_give_a_node_and_nobody_registered_is_one_warning() -> None:
    """With the observers, the node and the key."""
    report = judge(given(healthy(), "edge-fra-1", "10.0.7.7").snapshot())
    (finding,) = report.findings
    assert (finding.check, finding.severity) == (IDENT, Severity.WARNING)
    assert finding.subject == "10.0.7.7 of edge-fra-1"
    assert finding.evidence.observers == 5
    assert len(finding.evidence.sample) == 3
    assert names(finding.nodes) == ["edge-fra-1"]
    assert ("key", key_of("edge-fra-1")) in finding.evidence.facts
    assert finding.from_absence


@pytest.mark.parametrize("address", ["fd00::77", "10.0.7.0/28"])
def test_ipv6_and_networks_are_found_as_well(address: str) -> None:
    """What is inside a pool."""
    assert [item.address for item in found(given(healthy(), "edge-fra-1", address))] == list(
        prefixes([address])
    )


def test_one_observer_in_a_partial_topology_is_enough() -> None:
    """Some peers may be absent there, but no address may be made up."""
    mesh = trio(topology="partial").peers_with("edge-sin-1", "edge-fra-1", "10.0.0.2", "10.0.7.7")
    assert "1 observer routes 10.0.7.7 to edge-fra-1" in found(mesh)[0].summary


@pytest.mark.parametrize(
    "mesh",
    [
        given(healthy(), "edge-fra-1", "192.168.5.0/24", "0.0.0.0/0", "198.51.100.1"),
        given(healthy(), "gate-ams-2", "10.9.0.7", "10.9.0.0/25"),
        given(healthy().holds("edge-fra-1", "10.0.0.2", "10.0.7.7"), "edge-fra-1", "10.0.7.7"),
        given(healthy().holds("edge-sin-1", "10.0.0.3", "10.0.7.7"), "edge-fra-1", "10.0.7.7"),
        given(healthy(), "edge-fra-1", "10.0.0.3"),
        given(healthy().unread("edge-fra-1", "addresses"), "edge-fra-1", "10.0.7.7"),
        given(healthy().flying("edge-fra-1"), "edge-fra-1", "10.0.7.7"),
        given(healthy().flying("edge-sin-1", addresses=prefixes(["10.0.7.7"])), "edge-fra-1", "10.0.7.7"),
        healthy().peers_with("edge-fra-1", "ghost", "10.0.7.7"),
    ],
    ids=[
        "outside all pools",
        "behind the node's registered network",
        "held by its own device",
        "held by another device",
        "registered for another node",
        "of a registration whose address cannot be read",
        "of a key in flight",
        "of a registration in flight",
        "of a key that no registration knows",
    ],
)
def test_what_something_else_explains_is_none(mesh: Mesh) -> None:
    """It is drift, displacement, a ghost, or no address of the mesh."""
    assert found(mesh) == []


def test_an_old_address_on_an_observer_follows_from_the_displacement_of_the_new_one() -> None:
    """One cause, one page: the observer's peer was not written anew."""
    mesh = trio().empties("edge-ams-1", "edge-fra-1").peers_with("edge-ams-1", "edge-fra-1", "10.0.0.99")
    report = judge(mesh.snapshot())
    assert len(of(report, IDENT)) == 1
    assert roots(report) == [("displaced-allowed-ips", "10.0.0.2 of edge-fra-1")]


def test_a_network_that_takes_registered_addresses_follows_from_the_overlap() -> None:
    """The overlap says more, and where traffic goes astray leads both."""
    mesh = trio().lacks("edge-ams-1", "edge-sin-1")
    report = judge(mesh.peers_with("edge-ams-1", "edge-fra-1", "10.0.0.2", "10.0.0.0/24").snapshot())
    assert len(of(report, IDENT)) == len(of(report, "overlapping-allowed-ips")) == 1
    assert roots(report) == [("split-routing", "10.0.0.3")]


def test_two_keys_that_are_given_one_address_are_a_split_that_leads_both() -> None:
    """Observers disagree on whose it is, and nobody registered it."""
    mesh = trio().peers_with("edge-ams-1", "edge-fra-1", "10.0.0.2", "10.0.7.7")
    report = judge(mesh.peers_with("edge-fra-1", "edge-sin-1", "10.0.0.3", "10.0.7.7").snapshot())
    assert len(of(report, IDENT)) == 2
    assert roots(report) == [("split-routing", "10.0.7.7")]
