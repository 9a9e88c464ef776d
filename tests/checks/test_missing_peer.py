"""missing-peer: a registered node that is no peer on an observer's device."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, healthy, names, of, roots, trio

IDENT = "missing-peer"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_node_that_observers_lack_is_one_warning_with_their_names() -> None:
    """One finding a node, over all its observers."""
    (finding,) = found(healthy().lacks("edge-fra-1", "edge-sin-1").lacks("core-fra-2", "edge-sin-1"))
    assert finding.severity is Severity.WARNING
    assert finding.subject == "edge-sin-1"
    assert finding.evidence.observers == 2
    assert names(finding.evidence.sample) == ["core-fra-2", "edge-fra-1"]


def test_a_partial_topology_lacks_peers_by_design() -> None:
    """There, a peer that is not there is no finding."""
    assert found(trio(topology="partial").lacks("edge-fra-1", "edge-sin-1")) == []


def test_an_observer_that_lacks_most_peers_is_one_finding_of_its_own() -> None:
    """Its own list is old: not one finding for each of the others."""
    others = ("edge-sin-1", "edge-ams-1", "core-fra-2", "core-sin-2")
    (finding,) = found(healthy().lacks("edge-fra-1", *others))
    assert finding.subject == "peers of edge-fra-1"
    assert "lacks 4 of the 5 peers" in finding.summary


def test_an_observer_that_lacks_half_of_its_peers_is_told_for_each() -> None:
    """Half is not yet most."""
    mesh = Mesh()
    for number in range(2, 7):
        mesh.node(f"n{number}", f"10.0.0.{number}")
    assert [finding.subject for finding in found(mesh.lacks("n2", "n3", "n4"))] == ["n3", "n4"]


def test_two_nodes_that_do_not_know_each_other_are_two_findings() -> None:
    """The smallest mesh."""
    mesh = Mesh().node("a", "10.0.0.2").node("b", "10.0.0.3").lacks("a", "b").lacks("b", "a")
    assert [finding.subject for finding in found(mesh)] == ["a", "b"]


def test_a_node_is_not_missing_on_its_own_device() -> None:
    """Under the key that it has, and under the one that is registered for it."""
    assert found(trio().rekeyed("edge-sin-1", "new").holds("edge-sin-1")) == []


def test_a_peer_with_nothing_is_there_all_the_same() -> None:
    """That is displaced."""
    assert found(trio().empties("edge-fra-1", "edge-sin-1")) == []


def test_what_an_observer_in_flight_lacks_counts() -> None:
    """Its table is live, whatever becomes of its registration."""
    (finding,) = found(healthy().lacks("edge-fra-1", "edge-sin-1").flying("edge-fra-1"))
    assert finding.subject == "edge-sin-1"


def test_observers_that_already_have_the_new_key_follow_from_the_drift() -> None:
    """One incident: the registry is behind."""
    mesh = trio().rekeyed("edge-sin-1", "new")
    for observer in ("edge-fra-1", "edge-ams-1"):
        mesh.lacks(observer, "edge-sin-1").peers_with(observer, "new", "10.0.0.3")
    report = judge(mesh.snapshot())
    assert of(report, IDENT)
    assert roots(report) == [("key-drift", "edge-sin-1")]
