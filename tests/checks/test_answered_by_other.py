"""answered-by-other, and what else answers say: the region of a node's own server, and what routes do not explain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.incidents import groups
from auditor.checks import idents as spelled
from auditor.errors import GapReason, GapScope
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from auditor.values.models import Memory, NodeId
from auditor.values.report import Verdict
from auditor.values.witness_answers import AnswerSource
from tests.fleets import Mesh, contested, healthy, idents, names, of, roots, trio

IDENT = "answered-by-other"
FRA = "10.0.0.2"


def found(mesh: Mesh) -> list[Finding]:
    """The findings of this check."""
    return of(judge(mesh.snapshot()), IDENT)


def test_a_server_that_is_not_registered_at_the_address_is_critical() -> None:
    """All route tables are right, so the answers alone tell, and say that the routes do not explain it."""
    (finding,) = found(trio().asks("edge-ams-1", FRA, "edge-sin-1").asks("edge-sin-1", FRA, "edge-fra-1"))
    assert (finding.severity, finding.subject, names(finding.nodes)) == (
        Severity.CRITICAL,
        FRA,
        ["edge-fra-1", "edge-sin-1"],
    )
    assert finding.statement == (
        "1 observer that asks there over the mesh meets edge-sin-1 (NATS), and it is registered for edge-fra-1 (fra)."
    )
    assert finding.disagreement == (
        "edge-ams-1 routes it to edge-fra-1, and edge-sin-1 answers: something beside WireGuard decides there, such as "
        "a rule, a NAT, or a connection older than the change."
    )
    assert [(item.said, item.observers) for item in finding.evidence.answers] == [
        ("edge-fra-1", 1),
        ("edge-sin-1", 1),
    ]
    assert names(finding.evidence.sample) == ["edge-ams-1"]


def test_the_registered_server_is_no_finding() -> None:
    report = judge(healthy().asks("edge-ams-1", FRA, "edge-fra-1").snapshot())
    assert (report.verdict, report.gaps) == (Verdict.CLEAN, ())


def test_two_that_claim_one_address_are_one_incident() -> None:
    """Both are registered for it: the contest shows who is met where."""
    mesh = contested().asks("watch-a", "10.0.0.9", "twin-sin").asks("watch-c", "10.0.0.9", "twin-fra")
    report = judge(mesh.snapshot())
    assert IDENT not in idents(report)
    assert roots(report) == [("duplicate-address", "10.0.0.9")]
    (finding,) = of(report, "duplicate-address")
    assert finding.answers_statement == "Of 2 asked, 1 reached twin-fra, 1 twin-sin."
    assert finding.disagreement == ""
    (split,) = of(report, "split-routing")
    assert split.evidence.answers == finding.evidence.answers


def test_a_device_with_anothers_address_explains_who_answers() -> None:
    """One cause, one page."""
    mesh = trio().holds("edge-sin-1", "10.0.0.3", FRA).asks("edge-ams-1", FRA, "edge-sin-1")
    report = judge(mesh.snapshot())
    (finding,) = of(report, IDENT)
    (cause,) = of(report, "duplicate-address")
    assert finding.caused_by == cause.fingerprint


def test_a_table_that_says_otherwise_than_the_answer_is_told_with_the_contest() -> None:
    mesh = contested().asks("watch-a", "10.0.0.9", "twin-fra").asks("watch-c", "10.0.0.9", "twin-fra")
    (finding,) = of(judge(mesh.snapshot()), "duplicate-address")
    assert finding.disagreement.startswith("watch-a routes it to twin-sin, and twin-fra answers: ")


def test_a_server_of_unknown_name_shows_another_only_beside_the_registered_one() -> None:
    """A name that the template does not tie may be the node's own; two different names are two servers."""
    alone = trio().asks("edge-ams-1", FRA, said="NABC")
    assert found(alone) == []
    (finding,) = found(alone.asks("edge-sin-1", FRA, "edge-fra-1"))
    assert finding.statement.startswith('1 observer that asks there over the mesh meets "NABC" (NATS), and ')


def test_an_unknown_host_key_beside_a_known_nats_server_shows_nothing() -> None:
    """They are two kinds of servers, which call themselves otherwise anyway."""
    mesh = trio().asks("edge-ams-1", FRA, said="SHA256:x", source=AnswerSource.SSH_HOST_KEY)
    assert found(mesh.asks("edge-sin-1", FRA, "edge-fra-1")) == []


def test_an_address_that_nobody_registered_has_no_registered_server() -> None:
    assert found(trio().asks("edge-ams-1", "10.0.0.77", "edge-fra-1")) == []


def test_a_registration_that_moves_says_nothing_of_who_should_answer() -> None:
    mesh = trio().asks("edge-ams-1", FRA, "edge-sin-1")
    snapshot = mesh.snapshot()
    for name in ("edge-fra-1", "edge-sin-1"):
        moving = replace(snapshot, in_flight=(mesh.registrations[mesh.find(name)],))
        assert of(judge(moving), IDENT) == []


def test_it_stands_in_a_sweep_that_looked_twice() -> None:
    """The witnesses were asked last, and where it mattered twice."""
    mesh = trio().asks("edge-ams-1", FRA, "edge-sin-1")
    snapshot = mesh.snapshot(again=trio(), asked=["edge-ams-1"])
    assert snapshot.second_look is not None
    late = replace(snapshot, second_look=replace(snapshot.second_look, time_up=True, rounds=3))
    (finding,) = of(judge(late), IDENT)
    assert finding.confirmed is True


def test_a_displaced_address_follows_from_who_answers_there() -> None:
    mesh = trio()
    for observer in ("edge-ams-1", "edge-sin-1"):
        mesh.empties(observer, "edge-fra-1")
    report = judge(mesh.asks("edge-ams-1", FRA, "edge-sin-1").snapshot())
    (finding,) = of(report, "displaced-allowed-ips")
    assert finding.caused_by == of(report, IDENT)[0].fingerprint


def test_the_drift_of_a_node_at_whose_address_another_answers_is_the_same_incident() -> None:
    report = judge(trio().holds("edge-fra-1", "10.0.0.99").asks("edge-ams-1", FRA, "edge-sin-1").snapshot())
    (finding,) = of(report, "address-drift")
    assert finding.caused_by == of(report, IDENT)[0].fingerprint
    assert roots(report) == [(IDENT, FRA)]


# Questions without an answer


@pytest.mark.parametrize("reason", [GapReason.NO_ANSWER, GapReason.FORWARDING_REFUSED, GapReason.CUT_SHORT])
def test_a_question_without_an_answer_is_a_gap_that_changes_nothing_else(reason: GapReason) -> None:
    report = judge(healthy().asks("edge-ams-1", FRA, reason=reason).snapshot())
    (gap,) = report.gaps
    assert (gap.source, gap.scope, gap.reason, gap.node) == ("witness", GapScope.WITNESS, reason, None)
    assert report.verdict is Verdict.CLEAN
    assert report.coverage == judge(healthy().snapshot()).coverage
    assert (report.seen_enough, report.covered, report.findings) == (True, True, ())


def test_timeouts_at_one_address_are_one_gap_and_those_of_one_observer_another() -> None:
    mesh = trio().asks("edge-ams-1", FRA, reason=GapReason.NO_ANSWER)
    mesh.asks("edge-sin-1", FRA, reason=GapReason.NO_ANSWER)
    mesh.asks("edge-ams-1", "10.0.0.3", reason=GapReason.FORWARDING_REFUSED)
    mesh.asks("edge-ams-1", "127.0.0.1", reason=GapReason.FORWARDING_REFUSED)
    assert sorted(gap.detail for gap in judge(mesh.snapshot()).gaps) == [
        "10.0.0.2 (NATS), asked from edge-ams-1 and edge-sin-1: planted",
        "edge-ams-1, asked for 10.0.0.3 and its own monitoring (NATS): planted",
    ]


# The region that a node's own server names


def test_a_server_that_names_another_region_is_a_witness_of_its_nodes_region() -> None:
    report = judge(trio().asks("edge-ams-1", "10.0.0.3", "edge-sin-1", region="fra").snapshot())
    (finding,) = of(report, "region-mismatch")
    assert finding.subject == "NATS of edge-sin-1"
    assert finding.statement == (
        "NATS of edge-sin-1 says fra, and registration says sin: its own server was asked."
    )


def test_a_nodes_own_monitoring_speaks_for_the_node_whatever_its_name() -> None:
    mesh = trio().asks("edge-sin-1", "127.0.0.1", said="NABC", region="fra")
    (finding,) = of(judge(mesh.snapshot()), "region-mismatch")
    assert names(finding.nodes) == ["edge-sin-1"]


def test_a_server_that_names_its_nodes_region_checks_it() -> None:
    report = judge(trio().asks("edge-ams-1", "10.0.0.3", "edge-sin-1", region="sin").snapshot())
    assert report.verdict is Verdict.CLEAN
    (sin,) = [item for item in report.coverage.regions if item.region == "sin"]
    assert sin.sources == {"NATS": 1, "registration": 1}


def test_a_contradiction_that_every_sweep_sees_keeps_its_identity_beside_an_answer() -> None:
    plain = trio().says_region("edge-sin-1", "fra")
    (before,) = of(judge(plain.snapshot()), "region-mismatch")
    (after,) = of(
        judge(plain.asks("edge-ams-1", "10.0.0.3", "edge-sin-1", region="nrt").snapshot()), "region-mismatch"
    )
    assert before.fingerprint == after.fingerprint
    assert ("NATS says", "nrt") in after.evidence.facts


# What stood before


def standing(mesh: Mesh) -> frozenset[str]:
    """What a sweep withholds that remembers others at FRA, shown by edge-ams-1, and another region's NATS."""
    told = spelled.answered_by_other(Prefix("10.0.0.2/32")).fingerprint
    region = spelled.region_mismatch(NodeId("dc1", "edge-sin-1")).fingerprint
    shown = frozenset({NodeId("dc1", "edge-ams-1"), NodeId("dc1", "edge-fra-1")})
    mesh.memory = Memory(met={told: shown, region: shown})
    report = judge(mesh.snapshot())
    assert (report.verdict, list(groups(report))) == (Verdict.CLEAN, [])
    return frozenset(name for name, mark in (("met", told), ("region", region)) if mark in report.withheld)


def test_what_stood_is_over_only_where_the_same_place_answered_again() -> None:
    """Not asked, not answered, or answered to somebody else: it may still stand."""
    assert standing(trio()) == {"met", "region"}
    assert standing(trio().asks("edge-ams-1", FRA, reason=GapReason.NO_ANSWER)) == {"met", "region"}
    assert standing(trio().asks("edge-sin-1", FRA, "edge-fra-1")) == {"met", "region"}
    assert standing(trio().asks("edge-ams-1", FRA, "edge-fra-1")) == {"region"}
    assert standing(trio().asks("edge-ams-1", "10.0.0.3", "edge-sin-1", region="sin")) == {"met"}
