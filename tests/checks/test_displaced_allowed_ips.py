"""displaced-allowed-ips: a registered peer is there, but without its address."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, contested, healthy, names, of, roots, trio

IDENT = "displaced-allowed-ips"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_peer_that_shows_none_is_an_error_with_its_observers() -> None:
    """Nobody else has the address there."""
    (finding,) = found(trio().empties("edge-fra-1", "edge-sin-1"))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "10.0.0.3 of edge-sin-1"
    assert finding.evidence.observers == 1
    assert names(finding.evidence.sample) == ["edge-fra-1"]
    assert "on no peer there" in finding.summary


def test_a_loser_that_keeps_its_other_addresses_is_displaced_too() -> None:
    """It shows no `(none)`, but what is sent to the lost address does not reach it."""
    mesh = healthy().peers_with("edge-fra-1", "edge-sin-1", "fd00::2")
    assert [finding.subject for finding in found(mesh)] == ["fd00::2 of core-fra-2"]


def test_the_losers_of_a_contested_address_follow_from_it() -> None:
    """Each claimant is displaced where the other was picked."""
    report = judge(contested().snapshot())
    assert {(finding.subject, finding.evidence.observers) for finding in of(report, IDENT)} == {
        ("10.0.0.9 of twin-fra", 2),
        ("10.0.0.9 of twin-sin", 1),
    }
    assert roots(report) == [("duplicate-address", "10.0.0.9")]


def test_it_says_to_whom_the_address_went() -> None:
    """A ghost by its key, a node by its name."""
    (finding,) = found(contested().picks("watch-c", "twin-sin"))
    assert "routed to twin-sin instead" in finding.summary
    (finding,) = found(trio().peers_with("edge-fra-1", "ghost", "10.0.0.3"))
    assert "routed to unregistered key" in finding.summary


def test_a_ghost_on_all_observers_is_one_incident() -> None:
    """The displaced node leads; the ghost and the node's own odd route follow."""
    mesh = trio()
    for observer in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.peers_with(observer, "ghost", "10.0.0.3")
    report = judge(mesh.snapshot())
    assert {finding.check for finding in report.findings} == {
        IDENT,
        "unregistered-peer",
        "self-routed-address",
    }
    assert roots(report) == [(IDENT, "10.0.0.3 of edge-sin-1")]


def test_a_peer_that_is_not_there_at_all_is_not_displaced() -> None:
    """That is missing-peer, or nothing in a partial topology."""
    assert found(trio().lacks("edge-fra-1", "edge-sin-1")) == []


def test_it_is_found_in_a_partial_topology() -> None:
    """The peer is there, so its address should be."""
    assert len(found(trio(topology="partial").empties("edge-fra-1", "edge-sin-1"))) == 1


def test_a_gateway_does_not_displace_its_own_network() -> None:
    """Its own table never routes it."""
    assert found(Mesh().node("x", "10.0.0.2", "10.8.0.0/24").node("y", "10.0.0.3")) == []


def test_of_two_nodes_with_one_key_the_one_with_the_address_is_named() -> None:
    """Not the first that is registered under the key."""
    mesh = (
        trio()
        .node("a-clone", "10.0.0.9", key="edge-sin-1")
        .edit(
            "edge-fra-1",
            lambda peers: [(key, tuple(p for p in some if p != "10.0.0.3/32")) for key, some in peers],
        )
    )
    mesh.peers_with("edge-fra-1", "edge-sin-1", "10.0.0.9")
    assert [finding.subject for finding in found(mesh)] == ["10.0.0.3 of edge-sin-1"]


def test_a_displaced_peer_in_flight_is_not_reported() -> None:
    """Its address may have changed during the sweep."""
    assert found(trio().empties("edge-fra-1", "edge-sin-1").flying("edge-sin-1")) == []
