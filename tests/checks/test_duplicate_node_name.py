"""duplicate-node-name: one node name in two or more datacenters."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, of, trio

IDENT = "duplicate-node-name"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_two_servers_of_one_name_are_a_warning() -> None:
    """Different keys."""
    (finding,) = found(trio().node("x", "10.0.0.8").node("x", "10.0.0.9", dc="dc2", key="y"))
    assert finding.severity is Severity.WARNING
    assert "dc1 and dc2, with different keys: different servers" in finding.summary


def test_a_mirrored_node_is_a_warning_that_says_so() -> None:
    """One key, one address: nothing else is found."""
    report = judge(trio().node("x", "10.0.0.8").node("x", "10.0.0.8", dc="dc2").snapshot())
    assert [finding.check for finding in report.findings] == [IDENT]
    assert "one node, mirrored" in report.findings[0].summary


def test_an_unreadable_namesake_is_not_called_a_mirror() -> None:
    """Its key is not known."""
    (finding,) = found(trio().node("x", "10.0.0.8").broken("x", dc="dc2"))
    assert "mirrored" not in finding.summary


def test_names_that_stand_in_one_datacenter_each_are_fine() -> None:
    """However many datacenters there are."""
    assert found(Mesh().node("x", "10.0.0.2").node("y", "10.0.0.3", dc="dc2")) == []
