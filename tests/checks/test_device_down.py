"""device-down: the device is there, and its link is down."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, healthy, of, trio

IDENT = "device-down"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_device_whose_link_is_down_is_an_error_that_names_the_node() -> None:
    (finding,) = found(trio().link_down("edge-sin-1"))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "edge-sin-1"
    assert "wg0 is there, but its link is down" in finding.summary


def test_a_probe_that_does_not_tell_the_link_is_no_finding() -> None:
    """One that was installed before it did."""
    assert trio().machines[trio().find("edge-sin-1")].link_up is None
    assert found(trio()) == []


def test_the_ipv6_address_that_went_with_the_link_follows_from_it() -> None:
    """The kernel drops it; that of IPv4 stays."""
    report = judge(healthy().holds("core-fra-2", "10.0.1.2").link_down("core-fra-2").snapshot())
    (down,) = of(report, IDENT)
    (drift,) = of(report, "address-drift")
    assert drift.caused_by == down.fingerprint


def test_another_address_than_registered_does_not_follow_from_it() -> None:
    report = judge(trio().holds("edge-sin-1", "10.0.0.99").link_down("edge-sin-1").snapshot())
    (drift,) = of(report, "address-drift")
    assert drift.caused_by is None
