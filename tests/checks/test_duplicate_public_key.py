"""duplicate-public-key: one key on two or more nodes, in the registry or on devices."""

from __future__ import annotations

from auditor.judge import judge
from auditor.values.models import Finding, Severity
from tests.fleets import Mesh, key_of, names, of, roots, trio

IDENT = "duplicate-public-key"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_two_registrations_with_one_key_are_critical() -> None:
    """Even if neither was seen."""
    mesh = (
        trio()
        .node("clone", "10.0.0.9", key="edge-fra-1", region="nrt")
        .not_seen("clone")
        .not_seen("edge-fra-1")
    )
    (finding,) = found(mesh)
    assert finding.severity is Severity.CRITICAL
    assert finding.subject == key_of("edge-fra-1")
    assert names(finding.nodes) == ["clone", "edge-fra-1"]
    assert finding.regions == ("fra", "nrt")


def test_two_devices_with_one_key_are_critical() -> None:
    """Although their registrations differ."""
    (finding,) = found(trio().rekeyed("edge-sin-1", "edge-fra-1"))
    assert names(finding.nodes) == ["edge-fra-1", "edge-sin-1"]
    assert "registered for 1, seen on 2 devices" in finding.summary


def test_a_key_on_three_nodes_is_one_finding() -> None:
    """Groups of two and more."""
    mesh = trio().node("c1", "10.0.0.8", key="edge-fra-1").node("c2", "10.0.0.9", key="edge-fra-1")
    (finding,) = found(mesh)
    assert len(finding.nodes) == 3


def test_a_clone_with_everything_is_one_incident() -> None:
    """Key drift, address drift and the contested address follow from the cloned key."""
    report = judge(trio().rekeyed("edge-sin-1", "edge-fra-1").holds("edge-sin-1", "10.0.0.2").snapshot())
    assert roots(report) == [(IDENT, key_of("edge-fra-1"))]


def test_a_registered_clone_on_one_address_is_one_incident() -> None:
    """The address is contested under one key only."""
    report = judge(trio().node("clone", "10.0.0.2", key="edge-fra-1").snapshot())
    assert roots(report) == [(IDENT, key_of("edge-fra-1"))]


def test_a_mirrored_node_is_no_clone() -> None:
    """One name in two datacenters: duplicate-node-name tells that."""
    assert found(trio().node("edge-fra-1", "10.0.0.2", dc="dc2")) == []


def test_a_clone_that_has_the_originals_name_in_another_datacenter_is_found() -> None:
    """It is registered with a key of its own, and its device has the other one's."""
    mesh = trio().node("edge-fra-1", "10.0.0.9", dc="dc2", key="own").rekeyed("edge-fra-1@dc2", "edge-fra-1")
    (finding,) = found(mesh)
    assert [node.datacenter for node in finding.nodes] == ["dc1", "dc2"]


def test_the_key_on_the_device_of_a_node_in_flight_counts() -> None:
    """It is live, whatever becomes of the registration."""
    (finding,) = found(
        trio().rekeyed("edge-sin-1", "edge-fra-1").flying("edge-sin-1", public_key=key_of("edge-fra-1"))
    )
    assert names(finding.nodes) == ["edge-fra-1", "edge-sin-1"]
