"""wrong-host: the server that answered is not the node that we asked for."""

from __future__ import annotations

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.findings import Severity
from tests.fleets import names, of, roots, trio

IDENT = "wrong-host"


def test_another_nodes_server_is_critical_and_named() -> None:
    """With the way that led there."""
    (finding,) = of(judge(trio().answers_as("edge-sin-1", "edge-fra-1").snapshot()), IDENT)
    assert finding.severity is Severity.CRITICAL
    assert finding.subject == "edge-sin-1"
    assert names(finding.nodes) == ["edge-sin-1", "edge-fra-1"]
    assert "underlay.edge-sin-1" in finding.summary


def test_the_asked_node_counts_as_not_seen() -> None:
    """It is a gap, and coverage falls."""
    report = judge(trio().answers_as("edge-sin-1", "edge-fra-1").snapshot())
    assert report.coverage.observed == 2
    assert [(gap.node, gap.reason) for gap in report.gaps] == [("edge-sin-1", GapReason.WRONG_HOST)]


def test_nothing_else_is_said_of_the_asked_node() -> None:
    """Neither drift nor a cloned key: its device was not seen."""
    report = judge(trio().answers_as("edge-sin-1", "edge-fra-1").snapshot())
    assert roots(report) == [(IDENT, "edge-sin-1")]
    assert len(report.findings) == 1


def test_a_clone_is_not_called_a_wrong_host() -> None:
    """It is the asked machine, with another one's key."""
    assert of(judge(trio().rekeyed("edge-sin-1", "edge-fra-1").snapshot()), IDENT) == []
