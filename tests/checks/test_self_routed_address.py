"""self-routed-address: a node's own mesh address stands in one of its peers' allowed-ips."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, contested, healthy, of, roots, trio

IDENT = "self-routed-address"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_an_own_address_on_a_peer_is_an_error_that_names_the_peer() -> None:
    """Each node and address once."""
    (finding,) = found(trio().peers_with("edge-fra-1", "edge-sin-1", "10.0.0.2", "10.0.0.3"))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "10.0.0.2 on edge-fra-1"
    assert "its peer edge-sin-1" in finding.summary


def test_ipv6_is_self_routed_like_ipv4() -> None:
    """Of a dual-stack node, only the address that is."""
    assert [item.subject for item in found(healthy().peers_with("core-fra-2", "ghost", "fd00::2"))] == [
        "fd00::2 on core-fra-2"
    ]


def test_both_claimants_of_a_contested_address_route_it_to_each_other() -> None:
    """And that follows from the contest."""
    report = judge(contested().snapshot())
    assert [finding.subject for finding in of(report, IDENT)] == [
        "10.0.0.9 on twin-fra",
        "10.0.0.9 on twin-sin",
    ]
    assert roots(report) == [("duplicate-address", "10.0.0.9")]


def test_an_own_address_on_a_peer_in_flight_is_set_aside() -> None:
    """That peer's addresses just changed."""
    mesh = trio().node("new", "10.0.0.9").flying("new").peers_with("edge-fra-1", "new", "10.0.0.2")
    assert found(mesh) == []
