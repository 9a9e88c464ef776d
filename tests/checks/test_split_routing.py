"""split-routing: observers send one address to different keys."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, contested, healthy, key_of, of, roots, trio

IDENT = "split-routing"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_two_picks_of_a_contested_address_are_critical_and_follow_from_it() -> None:
    """One cause, one page."""
    report = judge(contested().snapshot())
    (finding,) = of(report, IDENT)
    assert finding.severity is Severity.CRITICAL
    assert (finding.subject, finding.evidence.observers) == ("10.0.0.9", 3)
    assert roots(report) == [("duplicate-address", "10.0.0.9")]


def test_a_contested_address_that_all_observers_send_to_one_key_is_not_split() -> None:
    """The claimants themselves do not count."""
    assert found(contested().picks("watch-c", "twin-sin")) == []


def test_nobody_is_not_a_second_key() -> None:
    """Dropped traffic is not split traffic."""
    assert found(contested().lacks("watch-c", "twin-fra", "twin-sin")) == []


def test_a_ghost_with_a_registered_address_on_some_observers_splits_it() -> None:
    """It leads the incident: the displaced node and the unregistered peer follow."""
    report = judge(trio().peers_with("edge-ams-1", "ghost", "10.0.0.3").snapshot())
    (finding,) = of(report, IDENT)
    routed = {pick.public_key: pick.observers for pick in finding.evidence.routing}
    assert routed == {key_of("edge-sin-1"): 1, key_of("ghost"): 1}
    assert roots(report) == [(IDENT, "10.0.0.3")]


def test_a_peer_without_its_address_falls_to_the_covering_network_of_another_key() -> None:
    """Where the longer prefix is missing, the shorter one takes the traffic: a split in a full mesh."""
    mesh = healthy().node("inside", "10.9.0.7").empties("edge-fra-1", "inside")
    (finding,) = found(mesh)
    assert finding.subject == "10.9.0.7"
    assert {pick.public_key: pick.observers for pick in finding.evidence.routing} == {
        key_of("inside"): 5,
        key_of("gate-ams-2"): 1,
    }


def test_transit_through_a_hub_of_a_partial_topology_is_not_split() -> None:
    """Spokes reach each other through the hub's wide prefix; the hub reaches them directly."""
    mesh = Mesh(topology="partial").node("hub", "10.0.0.2", "10.0.0.0/16")
    for number in (3, 4, 5):
        mesh.node(f"spoke-{number}", f"10.0.0.{number}")
    for number in (3, 4, 5):
        mesh.lacks(f"spoke-{number}", *(f"spoke-{other}" for other in (3, 4, 5) if other != number))
    assert found(mesh) == []


def test_a_route_to_a_key_in_flight_does_not_split() -> None:
    """Observers learn of a change one after the other."""
    mesh = trio().node("new", "10.0.0.9").flying("new").peers_with("edge-fra-1", "old", "10.0.0.9")
    assert found(mesh) == []


def test_a_contested_address_between_one_settled_key_and_one_in_flight_is_not_split() -> None:
    """The other settled claimant is routed nowhere."""
    mesh = contested().node("twin-ams", "10.0.0.9").flying("twin-ams")
    mesh.picks("watch-a", "twin-ams").picks("watch-b", "twin-ams").picks("watch-c", "twin-sin")
    assert found(mesh) == []


def test_a_third_claimant_in_flight_does_not_hide_a_split() -> None:
    """The two others are as split as before."""
    mesh = contested().node("twin-ams", "10.0.0.9").flying("twin-ams").picks("watch-a", "twin-ams")
    (finding,) = found(mesh)
    assert len(finding.evidence.routing) == 3


def test_keys_of_one_node_are_told_apart_in_the_summary() -> None:
    """Its old and its new one."""
    mesh = trio().rekeyed("edge-sin-1", "new").peers_with("edge-fra-1", "new", "10.0.0.3")
    (finding,) = found(mesh)
    assert key_of("new")[:8] in finding.summary
    assert key_of("edge-sin-1")[:8] in finding.summary
