"""The demo's check of its own audit: it must pass for the right report and for no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.demo.demo_fleet import FEWEST_NODES, DemoFleet, PlantedIncident, build_fleet
from auditor.demo.planted import compare
from auditor.errors import GapReason
from auditor.judge import judge
from auditor.values.findings import Evidence, Finding, GuessedCause, Severity
from auditor.values.models import Gap
from auditor.values.report import Report, Verdict
from tests.demo.snapshots import snapshot_of

FLEET: DemoFleet = build_fleet(20)
REPORT: Report = judge(snapshot_of(FLEET))


def incident() -> PlantedIncident:
    assert FLEET.incident is not None
    return FLEET.incident


def left() -> str:
    """The address that the drifted node left."""
    return FLEET.node(incident().drifted).registered_address.removesuffix("/32")


@given(st.integers(FEWEST_NODES, 60), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_the_checks_find_all_that_is_planted_and_nothing_else_in_any_fleet(size: int, seed: int) -> None:
    """Size and seed decide who has which fault; the checks must tell them apart every time."""
    fleet = build_fleet(size, seed)
    comparison = compare(fleet, judge(snapshot_of(fleet)))
    assert comparison.complete, comparison
    assert len(comparison.planted) == 7


def test_a_healthy_fleet_is_clean() -> None:
    fleet = build_fleet(20, incident=False)
    report = judge(snapshot_of(fleet))
    assert report.verdict is Verdict.CLEAN
    assert compare(fleet, report).complete


PLACES: dict[str, Callable[[], tuple[str, str]]] = {
    "pair": lambda: ("duplicate-address", "10.0.0.1"),
    "first address": lambda: ("fallback-address", "10.0.0.1"),
    "triple": lambda: ("duplicate-address", incident().triple.address.removesuffix("/32")),
    "misplaced": lambda: ("region-mismatch", incident().misplaced),
    "drifted": lambda: ("address-drift", incident().drifted),
    "stand-in": lambda: ("answered-by-other", left()),
}


@pytest.mark.parametrize("fault", PLACES)
def test_a_finding_that_the_report_lacks_is_named(fault: str) -> None:
    check, subject = PLACES[fault]()
    kept = tuple(item for item in REPORT.findings if (item.check, item.subject) != (check, subject))
    assert len(kept) == len(REPORT.findings) - 1
    comparison = compare(FLEET, replace(REPORT, findings=kept))
    assert [item.missing for item in comparison.planted if item.missing] == [f"no {check} for {subject}"]
    assert not comparison.complete


def test_the_registrys_indexes_tell_of_the_parallel_writers() -> None:
    (triple,) = [item for item in REPORT.findings if (item.check, item.subject) == PLACES["triple"]()]
    assert triple.probable_cause is GuessedCause.PARALLEL_WRITERS
    silent = replace(
        REPORT,
        findings=tuple(replace(item, guess=None) if item is triple else item for item in REPORT.findings),
    )
    missing = [item.missing for item in compare(FLEET, silent).planted if item.missing]
    assert missing == ["no guess at parallel-writers"]


def test_an_unreachable_node_without_its_gap_is_named() -> None:
    comparison = compare(FLEET, replace(REPORT, gaps=()))
    missing = [item.missing for item in comparison.planted if item.missing]
    assert missing == [f"no gap connect-refused for {incident().unreachable}"]


def test_a_gap_for_another_reason_is_not_the_planted_one() -> None:
    gap = Gap("ssh", GapReason.HOST_KEY, "", incident().unreachable)
    assert not compare(FLEET, replace(REPORT, gaps=(gap,))).complete


def _changed(change: Callable[[Finding], Finding]) -> Report:
    return replace(
        REPORT,
        findings=tuple(
            change(item) if (item.check, item.subject) == ("duplicate-address", "10.0.0.1") else item
            for item in REPORT.findings
        ),
    )


def test_a_claimant_left_out_is_missing() -> None:
    comparison = compare(FLEET, _changed(lambda item: replace(item, nodes=item.nodes[:1])))
    assert [item.missing for item in comparison.planted if item.missing] == [
        f"nodes {incident().pair.claimants[0]}"
    ]


def test_routing_counts_that_differ_from_the_kernels_are_missing() -> None:
    """The picks must be those that the model's kernels made, region by region."""

    def fewer(item: Finding) -> Finding:
        picks = item.evidence.routing
        return replace(item, evidence=replace(item.evidence, routing=picks[:-1]))

    comparison = compare(FLEET, _changed(fewer))
    missing = [item.missing for item in comparison.planted if item.missing]
    assert len(missing) == 1
    assert missing[0].startswith("routing ")


def test_an_answer_that_no_kernel_sends_there_is_missing() -> None:
    """Who is met must be whom the observers' own routes lead to."""

    def swapped(item: Finding) -> Finding:
        first, second = item.evidence.answers
        answers = (replace(first, node=second.node), replace(second, node=first.node))
        return replace(item, evidence=replace(item.evidence, answers=answers))

    for change, words in (
        (swapped, " was due"),
        (lambda item: replace(item, evidence=replace(item.evidence, answers=())), "nobody was met there"),
    ):
        missing = [item.missing for item in compare(FLEET, _changed(change)).planted if item.missing]
        assert len(missing) == 1
        assert missing[0].endswith(words)


def test_a_question_that_timed_out_is_no_fault_of_the_audit() -> None:
    """Answers to a node whose own address is not what is registered get lost, as on a real mesh."""
    lost = Gap("witness", GapReason.NO_ANSWER, "10.0.0.1 (NATS): Connection timed out")
    refused = replace(lost, reason=GapReason.FORWARDING_REFUSED)
    assert compare(FLEET, replace(REPORT, gaps=(*REPORT.gaps, lost))).complete
    assert not compare(FLEET, replace(REPORT, gaps=(*REPORT.gaps, refused))).complete


def test_a_finding_about_nothing_planted_is_unexpected() -> None:
    stray = Finding("missing-peer", Severity.WARNING, "edge-sin-1", "Not there.", evidence=Evidence())
    comparison = compare(FLEET, replace(REPORT, findings=(*REPORT.findings, stray)))
    assert comparison.unexpected == ("missing-peer edge-sin-1: Not there.",)
    assert not comparison.complete


def test_a_finding_that_follows_from_a_planted_one_is_expected() -> None:
    pair = next(item for item in REPORT.findings if item.subject == "10.0.0.1")
    follower = Finding("missing-peer", Severity.WARNING, "x", "", caused_by=pair.fingerprint)
    second = Finding("missing-peer", Severity.WARNING, "y", "", caused_by=follower.fingerprint)
    assert compare(FLEET, replace(REPORT, findings=(*REPORT.findings, follower, second))).complete


def test_findings_that_cause_each_other_are_unexpected() -> None:
    """A circle has no planted cause; walking it must end."""
    one = Finding("missing-peer", Severity.WARNING, "x", "")
    other = Finding("missing-peer", Severity.WARNING, "y", "", caused_by=one.fingerprint)
    one = replace(one, caused_by=other.fingerprint)
    comparison = compare(FLEET, replace(REPORT, findings=(*REPORT.findings, one, other)))
    assert len(comparison.unexpected) == 2


def test_a_gap_that_was_not_planted_is_unexpected() -> None:
    stray = Gap("ssh", GapReason.COMMAND_TIMEOUT, "after 20 s", "edge-sin-1")
    comparison = compare(FLEET, replace(REPORT, gaps=(*REPORT.gaps, stray)))
    assert comparison.unexpected == ("gap edge-sin-1: command-timeout: after 20 s",)


def test_the_wrong_verdict_is_unexpected() -> None:
    comparison = compare(FLEET, replace(REPORT, verdict=Verdict.CLEAN))
    assert comparison.unexpected == ("verdict clean, where findings was due",)
