"""overlapping-allowed-ips: prefixes of different keys overlap, and the longest one wins."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.models import Finding, Severity
from tests.fleets import Mesh, healthy, key_of, of, roots, trio

IDENT = "overlapping-allowed-ips"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_registered_network_over_anothers_address_is_an_error() -> None:
    """With what it covers."""
    (finding,) = found(healthy().node("inside", "10.9.0.7"))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "10.9.0.0/24 of gate-ams-2"
    assert ("covers", "10.9.0.7") in finding.evidence.facts


def test_a_wide_prefix_on_a_device_alone_is_found_with_its_observers() -> None:
    """The registry knows nothing of it."""
    (finding,) = found(trio().peers_with("edge-ams-1", "edge-fra-1", "10.0.0.0/16"))
    assert finding.subject == "10.0.0.0/16 of edge-fra-1"
    assert finding.evidence.observers == 1


def test_a_network_over_a_network_is_found() -> None:
    """The longer one is inside."""
    mesh = Mesh().node("x", "10.0.0.2", "10.8.0.0/16").node("y", "10.0.0.3", "10.8.4.0/24")
    (finding,) = found(mesh)
    assert finding.subject == "10.8.0.0/16 of x"


def test_of_two_networks_with_one_first_address_the_wider_one_covers_the_other() -> None:
    """Not the other way round as well."""
    mesh = Mesh().node("x", "10.0.0.2", "10.8.0.0/16").node("y", "10.0.0.3", "10.8.0.0/24")
    assert [finding.subject for finding in found(mesh)] == ["10.8.0.0/16 of x"]


def test_ipv6_overlaps_like_ipv4() -> None:
    """And the families do not mix."""
    mesh = (
        Mesh().node("x", "fd00::2", "fd00:1::/32").node("y", "fd00:1::5", "10.0.0.2").node("z", "0.0.0.0/1")
    )
    assert sorted(finding.subject for finding in found(mesh)) == ["0.0.0.0/1 of z", "fd00:1::/32 of x"]


def test_a_nodes_own_addresses_inside_its_network_do_not_overlap() -> None:
    """One key."""
    assert found(Mesh().node("x", "10.8.0.1", "10.8.0.0/24").node("y", "10.0.0.2")) == []


def test_neighbouring_networks_do_not_overlap() -> None:
    """Up to the last address of one and from the first of the other."""
    mesh = Mesh().node("x", "10.0.0.2", "10.8.0.0/24").node("y", "10.8.1.0").node("z", "10.7.255.255")
    assert found(mesh) == []


def test_a_ghost_with_a_wide_prefix_is_one_incident() -> None:
    """The unregistered peer follows from the overlap."""
    mesh = (
        trio()
        .peers_with("edge-fra-1", "ghost", "10.0.0.0/16")
        .peers_with("edge-sin-1", "ghost", "10.0.0.0/16")
    )
    report = judge(mesh.snapshot())
    assert len(report.findings) == 2
    assert roots(report) == [(IDENT, f"10.0.0.0/16 of unregistered key {key_of('ghost')[:8]}…")]
