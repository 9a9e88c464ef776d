"""The history: each sweep, and each finding from when it was first seen to when it was over."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from auditor.errors import GapReason, StateError, UsageError
from auditor.state import history
from auditor.state.finding_changes import read_changes
from auditor.state.known_findings import read_standing_findings
from auditor.state.operations import begin_operation, end_operation, read_operations
from auditor.state.state_store import StateStore
from auditor.state.sweep_contents import FORM, read_content
from auditor.values.findings import Finding, Severity
from auditor.values.models import Gap, NodeId
from auditor.values.past_sweeps import (
    FindingChange,
    OperationKind,
    PastFinding,
    PastOperation,
    PastSweep,
    SeenFinding,
    SeenGap,
    SweepContent,
    content_of,
)
from auditor.values.report import Coverage, Report, Verdict

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
NODES = (NodeId("dc1", "b"), NodeId("dc1", "a"))

PAIR = Finding("duplicate-address", Severity.CRITICAL, "10.0.0.1", "a and b hold it.", nodes=NODES)
SPLIT = Finding("split-routing", Severity.CRITICAL, "10.0.0.1", "split", caused_by=PAIR.fingerprint)
DRIFT = Finding("address-drift", Severity.ERROR, "c", "c holds another address")


def at(number: int) -> datetime:
    """When a sweep ended."""
    return START + timedelta(minutes=number)


def record(
    store: StateStore,
    number: int,
    *findings: Finding,
    hidden: tuple[Finding, ...] = (),
    resolved: tuple[Finding, ...] = (),
    finished_at: datetime | None = None,
) -> None:
    """One sweep that showed these findings, while a gap hid others."""
    finished = finished_at or at(number)
    report = Report(
        verdict=Verdict.FINDINGS if findings else Verdict.CLEAN,
        started_at=finished - timedelta(seconds=7),
        finished_at=finished,
        coverage=Coverage(9, 8),
        findings=findings,
        gaps=(Gap("ssh", GapReason.CONNECT_REFUSED, "refused", node="z", datacenter="dc1"),),
    )
    standing = {item.fingerprint for item in (*findings, *hidden) if item.caused_by is None}
    with store.transaction():
        history.record(
            store,
            report,
            standing=standing,
            resolved={item.fingerprint for item in resolved},
        )


def found(store: StateStore, finding: Finding) -> PastFinding:
    """What the history knows of a finding."""
    past = history.finding(store, finding.fingerprint)
    assert past is not None
    return past


def test_a_sweep_is_remembered_with_its_verdict_and_counts(store: StateStore) -> None:
    record(store, 1, PAIR, SPLIT, DRIFT)
    assert history.sweeps(store, 10) == (
        PastSweep(
            number=1,
            started_at=at(1) - timedelta(seconds=7),
            finished_at=at(1),
            verdict=Verdict.FINDINGS,
            registered=9,
            observed=8,
            gaps=1,
            findings={Severity.CRITICAL: 2, Severity.ERROR: 1},
        ),
    )
    assert history.sweeps(store, 10)[0].seconds == 7


def test_the_last_sweeps_come_first_and_no_more_than_asked_for(store: StateStore) -> None:
    for number in range(1, 5):
        record(store, number)
    assert [sweep.number for sweep in history.sweeps(store, 2)] == [4, 3]


def test_a_finding_keeps_when_it_was_first_seen(store: StateStore) -> None:
    record(store, 1, PAIR)
    record(store, 2, replace(PAIR, statement="a, b and c hold it.", severity=Severity.ERROR))
    assert found(store, PAIR) == PastFinding(
        fingerprint=PAIR.fingerprint,
        check="duplicate-address",
        severity=Severity.ERROR,
        subject="10.0.0.1",
        summary="a, b and c hold it.",
        nodes=("a", "b"),
        first_seen=at(1),
        last_seen=at(2),
    )


def test_times_are_kept_in_utc_whatever_zone_they_came_in(store: StateStore) -> None:
    """Texts of different zones would not sort as the times do."""
    record(store, 1, PAIR, finished_at=at(1).astimezone(timezone(timedelta(hours=9))))
    assert found(store, PAIR).last_seen.utcoffset() == timedelta(0)
    (row,) = store.rows_of("history_findings")
    assert row["last_seen"] == "2026-03-01T03:01:00.000000+00:00"


def test_a_finding_that_a_gap_hides_is_not_resolved(store: StateStore) -> None:
    record(store, 1, PAIR)
    record(store, 2, hidden=(PAIR,))
    assert (found(store, PAIR).resolved_at, found(store, PAIR).last_seen) == (None, at(1))


def test_a_resolved_finding_says_since_when(store: StateStore) -> None:
    record(store, 1, PAIR)
    record(store, 2, resolved=(PAIR,))
    record(store, 3)
    assert found(store, PAIR).resolved_at == at(2)


def test_what_follows_from_a_finding_is_resolved_with_it(store: StateStore) -> None:
    record(store, 1, PAIR, SPLIT)
    record(store, 2, resolved=(PAIR,))
    assert found(store, SPLIT).resolved_at == at(2)


def test_what_follows_from_a_hidden_finding_is_not_resolved(store: StateStore) -> None:
    record(store, 1, PAIR, SPLIT)
    record(store, 2, hidden=(PAIR,))
    record(store, 3, PAIR)
    assert found(store, SPLIT).resolved_at is None


def test_what_followed_from_a_resolved_finding_and_is_still_there_stands_on_its_own(
    store: StateStore,
) -> None:
    record(store, 1, PAIR, SPLIT)
    record(store, 2, replace(SPLIT, caused_by=None), resolved=(PAIR,))
    assert found(store, SPLIT).resolved_at is None
    assert found(store, SPLIT).caused_by is None


def test_a_finding_that_now_follows_from_another_is_not_resolved(store: StateStore) -> None:
    """It stopped being an incident of its own; it did not stop."""
    record(store, 1, replace(SPLIT, caused_by=None))
    record(store, 2, PAIR, SPLIT, resolved=(SPLIT,))
    assert found(store, SPLIT).resolved_at is None
    record(store, 3, resolved=(PAIR,))
    assert found(store, SPLIT).resolved_at == at(3)


def test_a_finding_that_comes_back_stands_again_and_keeps_its_first_time(
    store: StateStore,
) -> None:
    record(store, 1, PAIR)
    record(store, 2, resolved=(PAIR,))
    record(store, 3, PAIR)
    past = found(store, PAIR)
    assert (past.first_seen, past.last_seen, past.resolved_at) == (at(1), at(3), None)


def test_what_was_gone_on_the_second_look_or_is_agreed_on_is_not_recorded(
    store: StateStore,
) -> None:
    record(store, 1, replace(PAIR, confirmed=False), replace(DRIFT, agreed="anycast until June"))
    assert history.findings(store, 10) == ()
    assert history.sweeps(store, 1)[0].findings == {}


def test_findings_that_stand_come_first_then_the_last_seen(store: StateStore) -> None:
    record(store, 1, DRIFT)
    record(store, 2, PAIR, hidden=(DRIFT,))
    other = replace(DRIFT, subject="d")
    record(store, 3, other, hidden=(DRIFT,), resolved=(PAIR,))
    assert [item.subject for item in history.findings(store, 10)] == ["d", "c", "10.0.0.1"]
    assert [item.subject for item in read_standing_findings(store, 10)] == ["d", "c"]
    assert [item.subject for item in history.findings(store, 1)] == ["d"]


def test_of_findings_seen_at_one_time_the_worst_comes_first(store: StateStore) -> None:
    mild = [replace(DRIFT, severity=severity) for severity in (Severity.INFO, Severity.WARNING)]
    named = [replace(item, subject=item.severity.value) for item in (*mild, DRIFT, PAIR)]
    record(store, 1, *named)
    listed = [item.severity for item in history.findings(store, 10)]
    assert listed == list(Severity)


def test_a_finding_is_found_by_the_beginning_of_its_fingerprint(store: StateStore) -> None:
    record(store, 1, PAIR, DRIFT)
    beginning = PAIR.fingerprint[:6]
    assert history.finding(store, beginning.upper()) == found(store, PAIR)
    assert history.finding(store, "0" * 20) is None


def test_a_beginning_of_several_fingerprints_is_told(store: StateStore) -> None:
    findings = [replace(DRIFT, subject=str(number)) for number in range(17)]
    record(store, 1, *findings)
    marks = [item.fingerprint[0] for item in findings]
    twice = next(digit for digit in marks if marks.count(digit) > 1)
    with pytest.raises(UsageError, match=f"{marks.count(twice)} findings begin with {twice}"):
        history.finding(store, twice)


@pytest.mark.parametrize("text", ["", "*", "%", "g", "a'--", "a" * 21, "?[a-f]"])
def test_what_is_no_beginning_of_a_fingerprint_is_refused(store: StateStore, text: str) -> None:
    record(store, 1, PAIR)
    with pytest.raises(UsageError, match="is no fingerprint"):
        history.finding(store, text)


def test_text_that_no_database_takes_is_kept_as_visible_escapes(store: StateStore) -> None:
    """Consul's JSON can spell a lone surrogate; a history that breaks over it would break the sweep."""
    odd = replace(PAIR, subject="n\udc80", statement="\ud800!", nodes=(NodeId("", "x\udc80"),))
    record(store, 1, odd)
    past = found(store, odd)
    assert (past.subject, past.summary, past.nodes) == ("n\\udc80", "\\ud800!", ("x\udc80",))


def test_pruning_forgets_old_sweeps_and_resolved_findings_but_nothing_that_stands(
    store: StateStore,
) -> None:
    record(store, 1, PAIR, SPLIT, DRIFT)
    record(store, 2, hidden=(DRIFT,), resolved=(PAIR,))
    record(store, 9, hidden=(DRIFT,))
    with store.transaction():
        history.prune(store, at(5))
    assert [sweep.finished_at for sweep in history.sweeps(store, 10)] == [at(9)]
    assert [item.subject for item in history.findings(store, 10)] == ["c"]


def test_a_sweep_that_was_not_committed_is_not_in_the_history(store: StateStore) -> None:
    """Recording is part of the caller's transaction, where the alerts' memory is kept, too."""
    report = Report(Verdict.CLEAN, at(1), at(1), Coverage(1, 1), (), ())

    def keep() -> None:
        with store.transaction():
            history.record(store, report, standing=(), resolved=())
            raise ValueError("the memory could not be kept")

    with pytest.raises(ValueError, match="the memory"):
        keep()
    assert history.sweeps(store, 1) == ()


# The identity of a sweep


def test_a_number_is_never_given_twice_even_if_its_sweep_was_forgotten(
    store: StateStore,
) -> None:
    record(store, 1)
    record(store, 2)
    with store.transaction():
        history.prune(store, at(5))
    record(store, 6)
    assert [sweep.number for sweep in history.sweeps(store, 10)] == [3]


# A database that fails


def test_what_a_database_complains_of_is_a_state_error_wherever_it_comes(store: StateStore) -> None:
    report = Report(Verdict.CLEAN, at(1), at(1), Coverage(1, 1), (), ())
    tables = ("history_sweeps", "history_findings")
    for table in tables:
        store.execute(text(f"ALTER TABLE {table} RENAME TO {table}_gone"))
    for use in (
        lambda: history.sweeps(store, 1),
        lambda: history.findings(store, 1),
        lambda: history.finding(store, "a"),
        lambda: history.prune(store, at(1)),
        lambda: history.record(store, report, standing=(), resolved=()),
    ):
        with pytest.raises(StateError, match=f"{re.escape(store.name)}: cannot use the state database"):
            use()
    for table in tables:
        store.execute(text(f"ALTER TABLE {table}_gone RENAME TO {table}"))


@pytest.mark.parametrize(
    "harm",
    [
        "verdict = 'well'",
        "findings = '{'",
        "findings = '[]'",
        "started_at = 'noon'",
        r"started_at = '9999-12-31T23\:59\:59.000000+00\:00'",
        r"started_at = '0001-01-01T00\:00\:00.000000+00\:00'",
    ],
)
def test_a_record_that_no_version_of_ours_wrote_is_a_state_error(store: StateStore, harm: str) -> None:
    record(store, 1, PAIR)
    store.execute(text(f"UPDATE history_sweeps SET {harm}"))  # noqa: S608  (this test's own text)
    with pytest.raises(StateError, match="a record that cannot be read"):
        history.sweeps(store, 1)


def test_an_end_of_a_finding_that_is_centuries_away_is_a_state_error(store: StateStore) -> None:
    """An hour after it is no time that can be reckoned with, and a timeline goes on so long."""
    record(store, 1, PAIR)
    store.execute(text(r"UPDATE history_findings SET resolved_at = '9999-12-31T23\:59\:59.000000+00\:00'"))
    with pytest.raises(StateError, match="a record that cannot be read"):
        history.finding(store, PAIR.fingerprint)


@pytest.mark.parametrize("harm", ["severity = 'grave'", "nodes = '{'", "nodes = 'null'"])
def test_a_sweep_beside_a_finding_that_no_version_of_ours_wrote_is_a_state_error(
    store: StateStore, harm: str
) -> None:
    """An internal error in its place would end `sweep --alert` before anybody is told."""
    record(store, 1, PAIR)
    store.execute(text(f"UPDATE history_findings SET {harm}"))  # noqa: S608  (this test's own text)
    with pytest.raises(StateError, match="a record that cannot be read"):
        record(store, 2)


def changes_of(store: StateStore, finding: Finding) -> list[FindingChange]:
    """What became of a finding, in order."""
    return [item.change for item in read_changes(store) if item.fingerprint == finding.fingerprint]


def test_each_change_of_a_finding_is_kept_with_its_sweep(store: StateStore) -> None:
    third = replace(PAIR, nodes=(*NODES, NodeId("dc1", "c")))
    for number, found_then in enumerate(((PAIR,), (PAIR,), (third,), ()), 1):
        record(store, number, *found_then, resolved=() if found_then else (PAIR,))
    record(store, 5, PAIR)
    assert changes_of(store, PAIR) == [
        FindingChange.FIRST_SEEN,
        FindingChange.CHANGED,
        FindingChange.RESOLVED,
        FindingChange.CAME_BACK,
    ]
    first, more, *_ = read_changes(store)
    assert (first.sweep, first.at, first.nodes) == (1, at(1), ("a", "b"))
    assert (more.sweep, more.nodes) == (3, ("a", "b", "c"))


def test_a_finding_that_a_gap_hides_is_noted_once_however_many_sweeps(store: StateStore) -> None:
    record(store, 1, PAIR)
    record(store, 2, hidden=(PAIR,))
    record(store, 3, hidden=(PAIR,))
    record(store, 4, PAIR)
    assert changes_of(store, PAIR) == [
        FindingChange.FIRST_SEEN,
        FindingChange.NOT_SEEN,
        FindingChange.SEEN_AGAIN,
    ]


def test_what_a_sweep_saw_is_read_back_and_alike_sweeps_share_it(store: StateStore) -> None:
    odd = replace(PAIR, subject="\udc80", confirmed=True)
    for number in (1, 2):
        record(store, number, odd)
    record(store, 3)
    gap = Gap("ssh", GapReason.CONNECT_REFUSED, "in other words", node="z", datacenter="dc1")
    report = Report(Verdict.FINDINGS, at(1), at(1), Coverage(9, 8), (odd,), (gap,))
    assert read_content(store, 1) == read_content(store, 2) == content_of(report)
    assert len(list(store.rows_of("history_contents"))) == 2


def test_what_forgotten_sweeps_saw_is_forgotten_with_them(store: StateStore) -> None:
    record(store, 1, PAIR)
    record(store, 2, resolved=(PAIR,))
    record(store, 30, DRIFT)
    with store.transaction():
        history.prune(store, at(20))
    assert len(list(store.rows_of("history_contents"))) == 1
    assert [item.fingerprint for item in read_changes(store)] == [DRIFT.fingerprint]


def test_an_operation_is_read_back_with_its_end_and_forgotten_when_it_is_old(
    store: StateStore,
) -> None:
    operation = PastOperation(
        OperationKind.APPLY, at(1), "root", "0a1b2c3d4e", "/root/plan.json.journal", ("10.0.0.1/32",), ("a",)
    )
    with store.transaction():
        number = begin_operation(store, operation)
    assert read_operations(store) == (operation,)
    with store.transaction():
        end_operation(store, number, at(2), "done")
    assert read_operations(store) == (replace(operation, ended_at=at(2), outcome="done"),)
    with store.transaction():
        history.prune(store, at(3))
    assert read_operations(store) == ()


def test_the_last_clean_sweep_is_remembered_behind_others(store: StateStore) -> None:
    assert history.last_clean(store) is None
    record(store, 1)
    record(store, 2)
    record(store, 3, PAIR)
    assert history.last_clean(store) == at(2)


def test_what_a_sweep_saw_is_written_in_the_form_that_databases_hold() -> None:
    """Its digest is its name in the database; the parts of a set are sorted."""
    seen = SeenFinding(
        fingerprint="f",
        check="c",
        severity=Severity.ERROR,
        subject="s",
        nodes=("a",),
        confirmed=None,
        agreed=True,
        caused_by=None,
        datacenters=frozenset({"b", "a"}),
        places=frozenset({NodeId("d", "n"), NodeId("d", "m")}),
        by_observers=False,
    )
    gap = SeenGap("ssh", GapReason.RESOLVE, None, "n")
    content = SweepContent((seen,), (gap,), frozenset("yx"), frozenset({""}), frozenset({NodeId("d", "n")}))
    assert FORM.write(content) == (
        '{"form": "wgaudit.sweep-content/1", "findings": [{"fingerprint": "f", "check": "c", "severity": "error", '
        '"subject": "s", "nodes": ["a"], "confirmed": null, "agreed": true, "caused_by": null, '
        '"datacenters": ["a", "b"], "places": [["d", "m"], ["d", "n"]], "by_observers": false}], '
        '"gaps": [{"source": "ssh", "reason": "resolve", "datacenter": null, "node": "n"}], '
        '"withheld": ["x", "y"], "unread": [""], "unseen": [["d", "n"]]}'
    )
    assert FORM.read(FORM.write(content)) == content
