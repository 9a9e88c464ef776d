"""address-drift: the addresses on a node's device are not the ones that are registered for it."""

from __future__ import annotations

from dataclasses import replace

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, healthy, of, roots, trio

IDENT = "address-drift"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_another_address_on_the_device_is_an_error_that_shows_both() -> None:
    """Registered and held."""
    (finding,) = found(trio().holds("edge-sin-1", "10.0.0.99"))
    assert finding.severity is Severity.ERROR
    assert finding.subject == "edge-sin-1"
    assert "registered with 10.0.0.3" in finding.summary
    assert "wg0 holds 10.0.0.99" in finding.summary


def test_one_lost_family_of_a_dual_stack_node_is_drift() -> None:
    """All registered addresses must be there."""
    (finding,) = found(healthy().holds("core-fra-2", "10.0.1.2"))
    assert "fd00::2" in finding.summary


def test_one_address_too_many_is_drift() -> None:
    """Where it lies in a pool."""
    (finding,) = found(trio().holds("edge-sin-1", "10.0.0.3", "10.0.0.99"))
    assert "10.0.0.99" in finding.summary


def test_what_an_unreadable_entry_may_register_is_not_called_unregistered() -> None:
    """What could be read of the registration must still be on the device."""
    assert found(trio().unread("edge-sin-1", "addresses")) == []
    mesh = trio().holds("edge-sin-1", "10.0.0.99")
    node = mesh.find("edge-sin-1")
    mesh.registrations[node] = replace(mesh.registrations[node], all_addresses_read=False)
    (finding,) = found(mesh)
    assert "registered with 10.0.0.3" in finding.summary
    assert "10.0.0.99" not in finding.summary


def test_an_address_of_no_pool_is_the_nodes_own_affair() -> None:
    """It is not the mesh's."""
    assert found(trio().holds("edge-sin-1", "10.0.0.3", "192.168.0.1")) == []


def test_a_device_without_any_address_is_drift() -> None:
    """Said as such."""
    (finding,) = found(trio().holds("edge-sin-1"))
    assert "holds no address at all" in finding.summary


def test_a_registered_network_need_not_be_held() -> None:
    """It is routed through the node."""
    assert found(Mesh().node("x", "10.0.0.2", "10.8.0.0/24").node("y", "10.9.0.0/24")) == []


def test_an_address_inside_the_nodes_own_registered_network_is_no_drift() -> None:
    """A router usually holds the first one."""
    assert found(Mesh().node("x", "10.8.0.0/24").holds("x", "10.8.0.1")) == []


def test_an_address_inside_another_nodes_network_is_drift() -> None:
    """Only its own network explains it."""
    assert found(healthy().holds("edge-sin-1", "10.0.0.3", "10.9.0.1")) != []


def test_drift_onto_anothers_address_follows_from_the_contested_address() -> None:
    """One incident."""
    report = judge(trio().holds("edge-sin-1", "10.0.0.2").snapshot())
    assert of(report, IDENT)
    assert roots(report) == [("duplicate-address", "10.0.0.2")]


def test_a_node_in_flight_has_not_drifted() -> None:
    """It may not have taken its new address yet."""
    assert found(trio().holds("edge-sin-1", "10.0.0.99").flying("edge-sin-1")) == []
