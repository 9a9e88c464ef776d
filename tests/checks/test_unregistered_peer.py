"""unregistered-peer: a peer on observers' devices that the registry does not list."""

from __future__ import annotations

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from tests.fleets import Mesh, healthy, key_of, names, of, trio

IDENT = "unregistered-peer"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_ghost_is_one_warning_with_its_addresses_and_observers() -> None:
    """A server that the registry has forgotten."""
    mesh = trio().node("ghost", "10.0.0.66", "fd00::66").unregistered("ghost")
    (finding,) = found(mesh)
    assert finding.severity is Severity.WARNING
    assert finding.subject == key_of("ghost")
    assert finding.evidence.observers == 3
    assert names(finding.evidence.sample) == ["edge-ams-1", "edge-fra-1", "edge-sin-1"]
    assert "10.0.0.66 and fd00::66" in finding.summary
    assert "a ghost server, or our view of the registry is filtered" in finding.summary


def test_a_ghost_without_an_address_is_a_ghost() -> None:
    """It shows `(none)`."""
    (finding,) = found(trio().peers_with("edge-fra-1", "ghost"))
    assert "with no address" in finding.summary


def test_a_ghost_is_found_in_a_partial_topology() -> None:
    """Some peers may be absent, but none may be unknown."""
    assert len(found(trio(topology="partial").peers_with("edge-fra-1", "ghost", "10.0.0.66"))) == 1


def test_a_devices_own_key_is_no_peer() -> None:
    """Its own lines stand in its table, registered or not."""
    assert found(trio().rekeyed("edge-fra-1", "new")) == []


def test_a_peer_whose_registration_cannot_be_read_is_not_unregistered() -> None:
    """The registry knows it halfway."""
    mesh = trio().node("half", "10.0.0.66").unread("half", "addresses")
    assert found(mesh.peers_with("edge-fra-1", "half", "10.0.0.66")) == []


def test_a_peer_whose_registration_went_during_the_sweep_is_not_unregistered() -> None:
    """It is in flight."""
    mesh = trio().node("gone", "10.0.0.66").flying("gone").unregistered("gone")
    assert found(mesh) == []


def test_many_ghosts_make_our_own_view_suspect() -> None:
    """Half of the peers unknown: perhaps the token sees half of the registry. Never clean."""
    mesh = healthy()
    for name in ("core-fra-2", "core-sin-2", "gate-ams-2"):
        mesh.unregistered(name)
    (gap,) = judge(mesh.snapshot()).gaps
    assert gap.reason is GapReason.REGISTRY_SUSPECT
    assert "3 of 6 keys" in gap.detail


def test_a_drifted_key_does_not_make_our_view_suspect() -> None:
    """It belongs to a node that we know."""
    mesh = trio().rekeyed("edge-sin-1", "new").peers_with("edge-fra-1", "new", "10.0.0.3")
    assert judge(mesh.snapshot()).gaps == ()
