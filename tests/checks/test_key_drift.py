"""key-drift: the key on a node's device is not the one that is registered for it."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Severity
from tests.fleets import idents, key_of, names, of, roots, trio

IDENT = "key-drift"


def test_a_new_key_on_the_device_is_an_error_that_shows_both_keys() -> None:
    """Registered and live."""
    (finding,) = of(judge(trio().rekeyed("edge-sin-1", "new").snapshot()), IDENT)
    assert finding.severity is Severity.ERROR
    assert names(finding.nodes) == ["edge-sin-1"]
    assert dict(finding.evidence.facts) == {
        "registered key": key_of("edge-sin-1"),
        "device key": key_of("new"),
    }


def test_each_claim_stands_in_the_evidence_once() -> None:
    """The address is both registered and held."""
    (finding,) = of(judge(trio().rekeyed("edge-sin-1", "new").snapshot()), IDENT)
    assert len(finding.evidence.claims) == len(set(finding.evidence.claims)) == 2


def test_a_drift_that_all_observers_followed_is_one_incident() -> None:
    """The old peer is missing and the new one unregistered, because the key drifted."""
    mesh = trio().rekeyed("edge-sin-1", "new")
    for observer in ("edge-fra-1", "edge-ams-1"):
        mesh.lacks(observer, "edge-sin-1").peers_with(observer, "new", "10.0.0.3")
    report = judge(mesh.snapshot())
    assert idents(report) == [IDENT, "missing-peer", "unregistered-peer"]
    assert roots(report) == [(IDENT, "edge-sin-1")]


def test_a_drift_that_some_observers_followed_is_one_incident() -> None:
    """It splits the routes, which is more severe and leads."""
    mesh = trio().rekeyed("edge-sin-1", "new").peers_with("edge-fra-1", "new", "10.0.0.3")
    report = judge(mesh.snapshot())
    assert roots(report) == [("split-routing", "10.0.0.3")]
    assert IDENT in idents(report)


def test_swapped_keys_are_told_with_the_owner_of_each() -> None:
    """Two nodes, each with the other one's key."""
    mesh = trio().rekeyed("edge-sin-1", "edge-fra-1").rekeyed("edge-fra-1", "edge-sin-1")
    findings = of(judge(mesh.snapshot()), IDENT)
    assert [finding.subject for finding in findings] == ["edge-fra-1", "edge-sin-1"]
    assert "registered for edge-sin-1" in findings[0].summary


def test_a_node_in_flight_has_not_drifted() -> None:
    """Its registration changed during the sweep."""
    assert judge(trio().rekeyed("edge-sin-1", "new").flying("edge-sin-1").snapshot()).findings == ()


def test_a_node_that_was_not_seen_has_not_drifted() -> None:
    """That is a gap."""
    assert judge(trio().rekeyed("edge-sin-1", "new").not_seen("edge-sin-1").snapshot()).findings == ()
