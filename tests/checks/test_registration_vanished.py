"""registration-vanished: a node was registered when the registry was last read, and its key is live without it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from auditor.values.models import LostNodeLook, LostRegistration, Memory
from auditor.values.report import Verdict
from tests.fleets import STARTED, Mesh, key_of, of, roots, trio

IDENT = "registration-vanished"
RECORD = '{"public_key": "…", "ip": "10.0.0.9"}'


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def deleted(name: str = "edge-10", *, released: bool | None = False) -> Mesh:
    """A node that was registered a minute ago, and that all others still have as a peer."""
    mesh = trio().node(name, "10.0.0.9", region="sin")
    registration = mesh.registrations[mesh.find(name)]
    mesh.unregistered(name)
    lost = LostRegistration(registration, STARTED - timedelta(minutes=1), RECORD, released)
    mesh.memory = Memory(lost=(*mesh.memory.lost, lost))
    return mesh


def test_a_node_whose_registration_is_gone_and_whose_peers_have_it_is_an_error_with_the_lost_record() -> None:
    (finding,) = found(deleted())
    assert (finding.severity, finding.subject) == (Severity.ERROR, "edge-10")
    assert "registered with 10.0.0.9 when it was last read, 2026-03-01 02:59 UTC" in finding.summary
    assert "a peer with 10.0.0.9 on 3 observers" in finding.summary
    assert dict(finding.evidence.facts) == {
        "lost key": key_of("edge-10"),
        "where": "wireguard/nodes/edge-10",
        "datacenter": "dc1",
        "lost record": RECORD,
    }
    assert finding.regions == ("sin",)


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (LostNodeLook(key_of("edge-10"), (Prefix("10.0.0.9/32"),)), "its device still has 10.0.0.9"),
        (LostNodeLook(key_of("edge-10"), (Prefix("10.0.0.77/32"),)), "its device has 10.0.0.77"),
        (LostNodeLook(key_of("edge-10")), "its device has that key, and no address"),
        (LostNodeLook(key_of("new"), (Prefix("10.0.0.9/32"),)), "a device with another key answers"),
        (LostNodeLook(why_not="connect-refused: no"), "it does not answer: connect-refused: no"),
    ],
)
def test_what_the_node_itself_says_at_its_last_host_is_evidence(look: LostNodeLook, said: str) -> None:
    mesh = deleted()
    mesh.memory = Memory(lost=tuple(replace(lost, look=look) for lost in mesh.memory.lost))
    (finding,) = found(mesh)
    assert f" Asked at its last host, {said}." in finding.statement
    assert dict(finding.evidence.facts)["the node itself"] == said


def test_the_unregistered_peer_of_the_same_key_follows_from_it() -> None:
    assert roots(judge(deleted().snapshot())) == [(IDENT, "edge-10")]


def test_what_was_released_on_purpose_is_an_unregistered_peer_and_no_more() -> None:
    assert [check for check, _ in roots(judge(deleted(released=True).snapshot()))] == ["unregistered-peer"]


def test_where_claims_could_not_be_read_the_finding_says_so() -> None:
    (finding,) = found(deleted(released=None))
    assert finding.statement.endswith("Whether it was released on purpose could not be read.")


def test_a_node_that_nobody_has_any_more_was_taken_out_properly() -> None:
    mesh = trio().node("edge-10", "10.0.0.9")
    lost = LostRegistration(mesh.registrations[mesh.find("edge-10")], STARTED)
    mesh.unregistered("edge-10")
    mesh.memory = Memory(lost=(lost,))
    for observer in ("edge-fra-1", "edge-sin-1", "edge-ams-1"):
        mesh.edit(observer, lambda peers: [peer for peer in peers if peer[0] != key_of("edge-10")])
    assert judge(mesh.snapshot()).verdict is Verdict.CLEAN


def test_a_key_that_another_name_has_now_was_renamed_and_is_not_lost() -> None:
    mesh = deleted().node("edge-10b", "10.0.0.9", key="edge-10")
    mesh.peers_with("edge-10b", "edge-fra-1", "10.0.0.2")
    assert found(mesh) == []


def test_a_node_that_is_registered_again_with_a_new_key_is_not_lost() -> None:
    mesh = deleted().node("edge-10", "10.0.0.10", key="fresh")
    assert found(mesh) == []


def test_nothing_is_concluded_where_the_registry_was_not_read_whole() -> None:
    report = judge(deleted().gap(GapReason.CONSUL_TIMEOUT, dc="dc2").snapshot())
    assert of(report, IDENT) == []
    (finding,) = found(deleted())
    assert finding.fingerprint in report.withheld


def test_nothing_is_concluded_from_a_registry_that_looks_suspect() -> None:
    """So many live keys are in no registration that ours may be a part of it."""
    mesh = deleted()
    for name in ("edge-11", "edge-12"):
        mesh.peers_with("edge-fra-1", name)
    report = judge(mesh.snapshot())
    assert GapReason.REGISTRY_SUSPECT in {gap.reason for gap in report.gaps}
    assert of(report, IDENT) == []
    told = replace(mesh.memory, ghosts=frozenset({key_of("edge-11"), key_of("edge-12"), key_of("edge-10")}))
    mesh.memory = told
    assert len(found(mesh)) == 1, "those that were alerted make it suspect no more"


def test_a_lost_key_on_the_device_of_another_node_names_that_node() -> None:
    mesh = deleted().rekeyed("edge-sin-1", "edge-10")
    (finding,) = found(mesh)
    assert "the device's own on edge-sin-1" in finding.summary
