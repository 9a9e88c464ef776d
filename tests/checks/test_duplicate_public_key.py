"""duplicate-public-key: one key on two or more nodes, in the registry or on devices."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.findings import Finding, GuessedCause, Severity, Sureness
from tests.fleets import Mesh, key_of, names, of, roots, trio

IDENT = "duplicate-public-key"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_two_registrations_with_one_key_are_critical() -> None:
    """Even if neither was seen."""
    mesh = (
        trio()
        .node("clone", "10.0.0.9", key="edge-fra-1", region="nrt")
        .not_seen("clone")
        .not_seen("edge-fra-1")
    )
    (finding,) = found(mesh)
    assert finding.severity is Severity.CRITICAL
    assert finding.subject == key_of("edge-fra-1")
    assert names(finding.nodes) == ["clone", "edge-fra-1"]
    assert finding.regions == ("fra", "nrt")


def test_two_devices_with_one_key_are_critical() -> None:
    """Although their registrations differ."""
    (finding,) = found(trio().rekeyed("edge-sin-1", "edge-fra-1"))
    assert names(finding.nodes) == ["edge-fra-1", "edge-sin-1"]
    assert "registered for 1, seen on 2 devices" in finding.summary


def test_a_key_on_three_nodes_is_one_finding() -> None:
    """Groups of two and more."""
    mesh = trio().node("c1", "10.0.0.8", key="edge-fra-1").node("c2", "10.0.0.9", key="edge-fra-1")
    (finding,) = found(mesh)
    assert len(finding.nodes) == 3


def test_a_clone_with_everything_is_one_incident() -> None:
    """Key drift, address drift and the contested address follow from the cloned key."""
    report = judge(trio().rekeyed("edge-sin-1", "edge-fra-1").holds("edge-sin-1", "10.0.0.2").snapshot())
    assert roots(report) == [(IDENT, key_of("edge-fra-1"))]


def test_a_registered_clone_on_one_address_is_one_incident() -> None:
    """The address is contested under one key only."""
    report = judge(trio().node("clone", "10.0.0.2", key="edge-fra-1").snapshot())
    assert roots(report) == [(IDENT, key_of("edge-fra-1"))]


def test_a_mirrored_node_is_no_clone() -> None:
    """One name in two datacenters: duplicate-node-name tells that."""
    assert found(trio().node("edge-fra-1", "10.0.0.2", dc="dc2")) == []


def test_a_clone_that_has_the_originals_name_in_another_datacenter_is_found() -> None:
    """It is registered with a key of its own, and its device has the other one's."""
    mesh = trio().node("edge-fra-1", "10.0.0.9", dc="dc2", key="own").rekeyed("edge-fra-1@dc2", "edge-fra-1")
    (finding,) = found(mesh)
    assert [node.datacenter for node in finding.nodes] == ["dc1", "dc2"]


def test_the_key_on_the_device_of_a_node_in_flight_counts() -> None:
    """It is live, whatever becomes of the registration."""
    (finding,) = found(
        trio().rekeyed("edge-sin-1", "edge-fra-1").flying("edge-sin-1", public_key=key_of("edge-fra-1"))
    )
    assert names(finding.nodes) == ["edge-fra-1", "edge-sin-1"]


# -- the guess


def guessed(mesh: Mesh) -> tuple[GuessedCause, Sureness]:
    """Cause and sureness of the only finding."""
    (finding,) = found(mesh)
    assert finding.guess is not None
    return finding.guess.cause, finding.guess.sureness


def aliased(*, host: str = "underlay.edge-fra-1") -> Mesh:
    """One server that is registered under two names, by the second of them at this SSH host."""
    mesh = trio().node("alias", "10.0.0.2", key="edge-fra-1").cloned_host_key("alias", "edge-fra-1")
    return mesh.reached_at("alias", ssh_host=host, endpoint=None)


def test_two_devices_with_addresses_of_their_own_are_possibly_clones() -> None:
    """Two servers; but the key alone may have been copied, too."""
    assert guessed(trio().rekeyed("edge-sin-1", "edge-fra-1")) == ("cloned-image", Sureness.POSSIBLE)


def test_a_clone_is_probable_where_the_ssh_host_key_came_along() -> None:
    """Two servers that have both keys in common have their disk in common."""
    mesh = trio().rekeyed("edge-sin-1", "edge-fra-1").cloned_host_key("edge-sin-1", "edge-fra-1")
    assert guessed(mesh) == ("cloned-image", Sureness.PROBABLE)


def test_one_server_under_two_names_is_no_clone() -> None:
    """It is reached at one host, and proves one host key and one device each time."""
    assert guessed(aliased()) == ("registered-twice", Sureness.PROBABLE)


def test_one_server_at_two_hosts_of_its_own_is_only_possibly_one() -> None:
    """A copy of the whole disk would show the same."""
    assert guessed(aliased(host="198.51.100.7")) == ("registered-twice", Sureness.POSSIBLE)


def test_one_address_at_two_hosts_with_host_keys_of_their_own_is_possibly_a_clone() -> None:
    """Two servers."""
    mesh = trio().node("alias", "10.0.0.2", key="edge-fra-1").reached_at("alias", "198.51.100.7", None)
    assert guessed(mesh) == ("cloned-image", Sureness.POSSIBLE)


def test_a_registration_with_anothers_key_beside_a_server_that_has_its_own_is_probably_copied() -> None:
    """Both were seen, and one of them has the key."""
    mesh = trio().node("new", "10.0.0.9", key="edge-fra-1").rekeyed("new", "own")
    assert guessed(mesh) == ("copied-registration", Sureness.PROBABLE)


@pytest.mark.parametrize(
    ("address", "host", "cause"),
    [
        ("10.0.0.2", "198.51.100.7", "registered-twice"),
        ("10.0.0.9", "underlay.edge-fra-1", "registered-twice"),
        ("10.0.0.9", "198.51.100.7", "copied-registration"),
    ],
)
def test_of_two_registrations_alone_each_cause_is_only_possible(address: str, host: str, cause: str) -> None:
    """No second device was seen."""
    mesh = trio().node("new", address, key="edge-fra-1").reached_at("new", host, None)
    assert guessed(mesh.not_seen("new")) == (cause, Sureness.POSSIBLE)
