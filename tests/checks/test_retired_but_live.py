"""retired-but-live: a retired node's key is in the mesh all the same."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from auditor.values.report import Verdict
from tests.fleets import Mesh, of, roots, trio

IDENT = "retired-but-live"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def old_peer() -> Mesh:
    """A retired node that all others still have as a peer."""
    return trio().node("edge-nrt-1", "10.0.0.9", region="nrt").retired("edge-nrt-1")


def removed(mesh: Mesh, name: str) -> Mesh:
    """The same with the node's peer removed everywhere."""
    for observer in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.lacks(observer, name)
    return mesh


def test_a_retired_nodes_peer_is_an_error_and_not_unregistered() -> None:
    report = judge(old_peer().snapshot())
    (finding,) = report.findings
    assert (finding.check, finding.severity, finding.subject) == (IDENT, Severity.ERROR, "edge-nrt-1")
    assert finding.evidence.observers == 3
    assert "retired (decommissioned)" in finding.summary
    assert "with 10.0.0.9 on 3 observers" in finding.summary


def test_a_retired_node_that_nobody_has_is_clean_and_not_counted() -> None:
    report = judge(removed(old_peer(), "edge-nrt-1").snapshot())
    assert (report.verdict, report.findings) == (Verdict.CLEAN, ())
    assert (report.coverage.registered, report.coverage.observed) == (3, 3)


def test_a_retired_nodes_address_is_free_for_another() -> None:
    mesh = removed(old_peer().node("edge-nrt-2", "10.0.0.9", region="nrt"), "edge-nrt-1").lacks(
        "edge-nrt-2", "edge-nrt-1"
    )
    assert judge(mesh.snapshot()).verdict is Verdict.CLEAN


def test_a_retired_key_on_a_device_is_live() -> None:
    mesh = removed(old_peer(), "edge-nrt-1").rekeyed("edge-sin-1", "edge-nrt-1")
    (finding,) = found(mesh)
    assert "the device's own on edge-sin-1" in finding.summary


def test_a_key_that_another_registration_has_is_not_retired() -> None:
    mesh = old_peer().node("edge-nrt-2", "10.0.0.9", region="nrt", key="edge-nrt-1")
    assert judge(mesh.snapshot()).findings == ()


def test_an_address_that_its_new_node_lost_to_a_retired_key_follows_from_it() -> None:
    mesh = old_peer().node("edge-nrt-2", "10.0.0.9", region="nrt")
    for observer in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.picks(observer, "edge-nrt-1")
    mesh.lacks("edge-nrt-2", "edge-nrt-1")
    assert (IDENT, "edge-nrt-1") in roots(judge(mesh.snapshot()))
    assert [check for check, _ in roots(judge(mesh.snapshot()))] == [IDENT]


def test_a_retired_address_is_live_where_a_device_holds_it_under_another_key() -> None:
    mesh = removed(old_peer(), "edge-nrt-1").holds("edge-sin-1", "10.0.0.3", "10.0.0.9")
    (finding,) = found(mesh)
    assert "its address 10.0.0.9 is on the device of edge-sin-1" in finding.summary
    assert [check for check, _ in roots(judge(mesh.snapshot()))] == ["address-drift"]


def test_a_retired_address_at_a_key_of_nobody_leads_that_unregistered_peer() -> None:
    mesh = removed(old_peer(), "edge-nrt-1")
    for observer in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.peers_with(observer, "new", "10.0.0.9")
    (finding,) = found(mesh)
    assert "its address 10.0.0.9 is routed to unregistered key" in finding.summary
    assert [check for check, _ in roots(judge(mesh.snapshot()))] == [IDENT]
