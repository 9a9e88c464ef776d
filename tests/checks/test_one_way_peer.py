"""one-way-peer: a node sends to a peer whose handshakes succeed, and nothing comes back."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.findings import Finding, Severity
from auditor.values.peer_transfers import PeerTransfer
from tests.fleets import Mesh, check_causes, key_of, names, of, trio

IDENT = "one-way-peer"
FRA, SIN, AMS = "edge-fra-1", "edge-sin-1", "edge-ams-1"


def in_vain(peer: str) -> PeerTransfer:
    """Data goes out to it, and nothing but handshakes comes in."""
    return PeerTransfer(key_of(peer), 46_116, 184, 20)


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    report = judge(mesh.snapshot())
    check_causes(report)
    return of(report, IDENT)


def asked() -> Mesh:
    """Three nodes, all of which were asked and miss nothing."""
    mesh = trio()
    for name in (FRA, SIN, AMS):
        mesh.one_way(name)
    return mesh


def test_a_pair_is_named_with_the_direction_the_bytes_and_what_to_try() -> None:
    (finding,) = found(asked().one_way(FRA, in_vain(SIN)))
    assert finding.severity is Severity.ERROR
    assert finding.subject == f"{FRA} and {SIN}"
    assert names(finding.nodes) == [FRA, SIN]
    assert (
        f"{FRA} sends to {SIN} and nothing comes back: 46,116 bytes out and 184 in within 20 s"
        in finding.summary
    )
    assert f"{SIN} was asked too: it sends nothing to {FRA} in vain" in finding.summary
    assert "Both route tables are right, so no address is contested here" in finding.summary
    assert "Take wg0 down and up" in finding.summary


def test_two_that_say_the_same_of_each_other_are_one_finding_with_one_fingerprint() -> None:
    (alone,) = found(asked().one_way(FRA, in_vain(SIN)))
    (both,) = found(asked().one_way(FRA, in_vain(SIN)).one_way(SIN, in_vain(FRA)))
    (other,) = found(asked().one_way(SIN, in_vain(FRA)))
    assert alone.fingerprint == both.fingerprint == other.fingerprint
    assert f"{SIN} says the same of {FRA}" in both.summary
    assert both.evidence.observers == 2


@pytest.mark.parametrize(
    ("received", "says"),
    [(50_000, "receives it: what it answers is lost on the way"), (200, "receives nothing of it")],
)
def test_the_other_side_says_in_which_direction_it_is_lost(received: int, says: str) -> None:
    there = PeerTransfer(key_of(FRA), 200 if received == 200 else 40_000, received, 20)
    (finding,) = found(asked().one_way(FRA, in_vain(SIN)).one_way(SIN, there))
    assert f"{SIN} {says}" in finding.summary


def test_where_one_side_alone_was_asked_the_claim_is_a_warning() -> None:
    (finding,) = found(trio().one_way(FRA, in_vain(SIN)))
    assert finding.severity is Severity.WARNING
    assert f"How {SIN} sees it is not known" in finding.summary
    (finding,) = found(asked().one_way(FRA, in_vain(SIN)).not_seen(SIN))
    assert finding.severity is Severity.WARNING
    assert f"The route table of {FRA} is right" in finding.summary


def test_handshakes_that_come_often_are_none_of_themselves() -> None:
    answered = PeerTransfer(key_of(SIN), 40_000, 50_000, 20)
    little = PeerTransfer(key_of(SIN), 500, 200, 20)
    assert found(asked().one_way(FRA, answered)) == []
    assert found(asked().one_way(FRA, little)) == []


def test_a_peer_that_nobody_registered_is_another_checks() -> None:
    assert found(asked().one_way(FRA, in_vain("ghost"))) == []


def test_an_address_that_is_contested_leads_and_resetting_is_not_what_helps() -> None:
    """The two incidents look alike from the outside; on-call must be told which of them it is."""
    mesh = asked().one_way(FRA, in_vain(SIN))
    address = mesh.registrations[mesh.find(SIN)].addresses[0].removesuffix("/32")
    mesh.node("edge-nrt-1", address).one_way("edge-nrt-1")
    report = judge(mesh.snapshot())
    (finding,) = of(report, IDENT)
    (duplicate,) = of(report, "duplicate-address")
    assert finding.caused_by == duplicate.fingerprint
    assert "repair that first; resetting wg0 does not help there" in finding.summary
    assert "no address is contested" not in finding.summary


def test_a_pair_that_is_well_again_on_the_second_look_does_not_count() -> None:
    stuck = asked().one_way(FRA, in_vain(SIN))
    (finding,) = of(judge(stuck.snapshot(again=asked())), IDENT)
    assert finding.confirmed is False
    (finding,) = of(
        judge(stuck.snapshot(again=asked().one_way(FRA, PeerTransfer(key_of(SIN), 9_999, 92, 20)))), IDENT
    )
    assert finding.confirmed is True
