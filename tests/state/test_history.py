"""The history: each sweep, and each finding from when it was first seen to when it was over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from auditor.errors import GapReason, StateError, UsageError
from auditor.state import history
from auditor.state.database import open_state
from auditor.state.operations import begin_operation, end_operation
from auditor.values.findings import Finding, Severity
from auditor.values.models import Gap, NodeId
from auditor.values.past_sweeps import (
    FindingChange,
    OperationKind,
    PastFinding,
    PastOperation,
    PastSweep,
    content_of,
)
from auditor.values.report import Coverage, Report, Verdict

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
NODES = (NodeId("dc1", "b"), NodeId("dc1", "a"))

PAIR = Finding("duplicate-address", Severity.CRITICAL, "10.0.0.1", "a and b hold it.", nodes=NODES)
SPLIT = Finding("split-routing", Severity.CRITICAL, "10.0.0.1", "split", caused_by=PAIR.fingerprint)
DRIFT = Finding("address-drift", Severity.ERROR, "c", "c holds another address")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A fresh state database."""
    with closing(open_state(tmp_path / "wgaudit.db", {history.PART: history.MIGRATIONS})) as fresh:
        yield fresh


def at(number: int) -> datetime:
    """When a sweep ended."""
    return START + timedelta(minutes=number)


def record(
    connection: sqlite3.Connection,
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
    with connection:
        history.record(
            connection,
            report,
            standing=standing,
            resolved={item.fingerprint for item in resolved},
        )


def found(connection: sqlite3.Connection, finding: Finding) -> PastFinding:
    """What the history knows of a finding."""
    past = history.finding(connection, finding.fingerprint)
    assert past is not None
    return past


def test_a_sweep_is_remembered_with_its_verdict_and_counts(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR, SPLIT, DRIFT)
    assert history.sweeps(connection, 10) == (
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
    assert history.sweeps(connection, 10)[0].seconds == 7


def test_the_last_sweeps_come_first_and_no_more_than_asked_for(connection: sqlite3.Connection) -> None:
    for number in range(1, 5):
        record(connection, number)
    assert [sweep.number for sweep in history.sweeps(connection, 2)] == [4, 3]


def test_a_finding_keeps_when_it_was_first_seen(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR)
    record(connection, 2, replace(PAIR, statement="a, b and c hold it.", severity=Severity.ERROR))
    assert found(connection, PAIR) == PastFinding(
        fingerprint=PAIR.fingerprint,
        check="duplicate-address",
        severity=Severity.ERROR,
        subject="10.0.0.1",
        summary="a, b and c hold it.",
        nodes=("a", "b"),
        first_seen=at(1),
        last_seen=at(2),
    )


def test_times_are_kept_in_utc_whatever_zone_they_came_in(connection: sqlite3.Connection) -> None:
    """Texts of different zones would not sort as the times do."""
    record(connection, 1, PAIR, finished_at=at(1).astimezone(timezone(timedelta(hours=9))))
    assert found(connection, PAIR).last_seen.utcoffset() == timedelta(0)
    (text,) = connection.execute("SELECT last_seen FROM history_findings").fetchone()
    assert text == "2026-03-01T03:01:00.000000+00:00"


def test_a_finding_that_a_gap_hides_is_not_resolved(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR)
    record(connection, 2, hidden=(PAIR,))
    assert (found(connection, PAIR).resolved_at, found(connection, PAIR).last_seen) == (None, at(1))


def test_a_resolved_finding_says_since_when(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR)
    record(connection, 2, resolved=(PAIR,))
    record(connection, 3)
    assert found(connection, PAIR).resolved_at == at(2)


def test_what_follows_from_a_finding_is_resolved_with_it(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR, SPLIT)
    record(connection, 2, resolved=(PAIR,))
    assert found(connection, SPLIT).resolved_at == at(2)


def test_what_follows_from_a_hidden_finding_is_not_resolved(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR, SPLIT)
    record(connection, 2, hidden=(PAIR,))
    record(connection, 3, PAIR)
    assert found(connection, SPLIT).resolved_at is None


def test_what_followed_from_a_resolved_finding_and_is_still_there_stands_on_its_own(
    connection: sqlite3.Connection,
) -> None:
    record(connection, 1, PAIR, SPLIT)
    record(connection, 2, replace(SPLIT, caused_by=None), resolved=(PAIR,))
    assert found(connection, SPLIT).resolved_at is None
    assert found(connection, SPLIT).caused_by is None


def test_a_finding_that_now_follows_from_another_is_not_resolved(connection: sqlite3.Connection) -> None:
    """It stopped being an incident of its own; it did not stop."""
    record(connection, 1, replace(SPLIT, caused_by=None))
    record(connection, 2, PAIR, SPLIT, resolved=(SPLIT,))
    assert found(connection, SPLIT).resolved_at is None
    record(connection, 3, resolved=(PAIR,))
    assert found(connection, SPLIT).resolved_at == at(3)


def test_a_finding_that_comes_back_stands_again_and_keeps_its_first_time(
    connection: sqlite3.Connection,
) -> None:
    record(connection, 1, PAIR)
    record(connection, 2, resolved=(PAIR,))
    record(connection, 3, PAIR)
    past = found(connection, PAIR)
    assert (past.first_seen, past.last_seen, past.resolved_at) == (at(1), at(3), None)


def test_what_was_gone_on_the_second_look_or_is_agreed_on_is_not_recorded(
    connection: sqlite3.Connection,
) -> None:
    record(connection, 1, replace(PAIR, confirmed=False), replace(DRIFT, agreed="anycast until June"))
    assert history.findings(connection, 10) == ()
    assert history.sweeps(connection, 1)[0].findings == {}


def test_findings_that_stand_come_first_then_the_last_seen(connection: sqlite3.Connection) -> None:
    record(connection, 1, DRIFT)
    record(connection, 2, PAIR, hidden=(DRIFT,))
    other = replace(DRIFT, subject="d")
    record(connection, 3, other, hidden=(DRIFT,), resolved=(PAIR,))
    assert [item.subject for item in history.findings(connection, 10)] == ["d", "c", "10.0.0.1"]
    assert [item.subject for item in history.findings(connection, 10, standing_only=True)] == ["d", "c"]
    assert [item.subject for item in history.findings(connection, 1)] == ["d"]


def test_of_findings_seen_at_one_time_the_worst_comes_first(connection: sqlite3.Connection) -> None:
    mild = [replace(DRIFT, severity=severity) for severity in (Severity.INFO, Severity.WARNING)]
    named = [replace(item, subject=item.severity.value) for item in (*mild, DRIFT, PAIR)]
    record(connection, 1, *named)
    listed = [item.severity for item in history.findings(connection, 10)]
    assert listed == list(Severity)


def test_a_finding_is_found_by_the_beginning_of_its_fingerprint(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR, DRIFT)
    beginning = PAIR.fingerprint[:6]
    assert history.finding(connection, beginning.upper()) == found(connection, PAIR)
    assert history.finding(connection, "0" * 20) is None


def test_a_beginning_of_several_fingerprints_is_told(connection: sqlite3.Connection) -> None:
    findings = [replace(DRIFT, subject=str(number)) for number in range(17)]
    record(connection, 1, *findings)
    marks = [item.fingerprint[0] for item in findings]
    twice = next(digit for digit in marks if marks.count(digit) > 1)
    with pytest.raises(UsageError, match=f"{marks.count(twice)} findings begin with {twice}"):
        history.finding(connection, twice)


@pytest.mark.parametrize("text", ["", "*", "%", "g", "a'--", "a" * 21, "?[a-f]"])
def test_what_is_no_beginning_of_a_fingerprint_is_refused(connection: sqlite3.Connection, text: str) -> None:
    record(connection, 1, PAIR)
    with pytest.raises(UsageError, match="is no fingerprint"):
        history.finding(connection, text)


def test_text_that_no_database_takes_is_kept_as_visible_escapes(connection: sqlite3.Connection) -> None:
    """Consul's JSON can spell a lone surrogate; a history that breaks over it would break the sweep."""
    odd = replace(PAIR, subject="n\udc80", statement="\ud800!", nodes=(NodeId("", "x\udc80"),))
    record(connection, 1, odd)
    past = found(connection, odd)
    assert (past.subject, past.summary, past.nodes) == ("n\\udc80", "\\ud800!", ("x\udc80",))


def test_pruning_forgets_old_sweeps_and_resolved_findings_but_nothing_that_stands(
    connection: sqlite3.Connection,
) -> None:
    record(connection, 1, PAIR, SPLIT, DRIFT)
    record(connection, 2, hidden=(DRIFT,), resolved=(PAIR,))
    record(connection, 9, hidden=(DRIFT,))
    with connection:
        history.prune(connection, at(5))
    assert [sweep.finished_at for sweep in history.sweeps(connection, 10)] == [at(9)]
    assert [item.subject for item in history.findings(connection, 10)] == ["c"]


def test_a_sweep_that_was_not_committed_is_not_in_the_history(connection: sqlite3.Connection) -> None:
    """Recording leaves the commit to the caller, who keeps the alerts' memory in the same transaction."""
    report = Report(Verdict.CLEAN, at(1), at(1), Coverage(1, 1), (), ())
    history.record(connection, report, standing=(), resolved=())
    connection.rollback()
    assert history.sweeps(connection, 1) == ()


# The identity of a sweep


def test_a_number_is_never_given_twice_even_if_its_sweep_was_forgotten(
    connection: sqlite3.Connection,
) -> None:
    record(connection, 1)
    record(connection, 2)
    with connection:
        history.prune(connection, at(5))
    record(connection, 6)
    assert [sweep.number for sweep in history.sweeps(connection, 10)] == [3]


def test_a_history_whose_numbers_were_the_alerts_own_keeps_them_and_goes_on_from_there(
    tmp_path: Path,
) -> None:
    """The alerts' number may start anew (their memory was moved away); the history's own does not."""
    path = tmp_path / "wgaudit.db"
    with closing(open_state(path, {history.PART: history.MIGRATIONS[:1]})) as old, old:
        for number in (7, 9):
            old.execute(
                "INSERT INTO history_sweeps VALUES (?, ?, ?, 'clean', 9, 9, '{}', 0, NULL)",
                (
                    number,
                    at(number).isoformat("T", "microseconds"),
                    at(number).isoformat("T", "microseconds"),
                ),
            )
    with closing(open_state(path, {history.PART: history.MIGRATIONS})) as connection:
        record(connection, 10, PAIR)
        kept = history.sweeps(connection, 10)
    assert [(sweep.number, sweep.finished_at) for sweep in kept] == [(10, at(10)), (9, at(9)), (7, at(7))]


# A database that fails


def test_what_sqlite_complains_of_is_a_state_error_wherever_it_comes(connection: sqlite3.Connection) -> None:
    report = Report(Verdict.CLEAN, at(1), at(1), Coverage(1, 1), (), ())
    connection.close()
    with pytest.raises(StateError, match="cannot use the state database"):
        history.sweeps(connection, 1)
    with pytest.raises(StateError):
        history.findings(connection, 1)
    with pytest.raises(StateError):
        history.finding(connection, "a")
    with pytest.raises(StateError):
        history.prune(connection, at(1))
    with pytest.raises(StateError):
        history.record(connection, report, standing=(), resolved=())


@pytest.mark.parametrize(
    "harm", ["verdict = 'well'", "findings = '{'", "findings = '[]'", "started_at = 'noon'"]
)
def test_a_record_that_no_version_of_ours_wrote_is_a_state_error(
    connection: sqlite3.Connection, harm: str
) -> None:
    record(connection, 1, PAIR)
    connection.execute(f"UPDATE history_sweeps SET {harm}")  # noqa: S608  (this test's own text)
    with pytest.raises(StateError, match="a record that cannot be read"):
        history.sweeps(connection, 1)


def changes_of(connection: sqlite3.Connection, finding: Finding) -> list[FindingChange]:
    """What became of a finding, in order."""
    return [item.change for item in history.changes(connection) if item.fingerprint == finding.fingerprint]


def test_each_change_of_a_finding_is_kept_with_its_sweep(connection: sqlite3.Connection) -> None:
    third = replace(PAIR, nodes=(*NODES, NodeId("dc1", "c")))
    for number, found_then in enumerate(((PAIR,), (PAIR,), (third,), ()), 1):
        record(connection, number, *found_then, resolved=() if found_then else (PAIR,))
    record(connection, 5, PAIR)
    assert changes_of(connection, PAIR) == [
        FindingChange.FIRST_SEEN,
        FindingChange.CHANGED,
        FindingChange.RESOLVED,
        FindingChange.CAME_BACK,
    ]
    first, more, *_ = history.changes(connection)
    assert (first.sweep, first.at, first.nodes) == (1, at(1), ("a", "b"))
    assert (more.sweep, more.nodes) == (3, ("a", "b", "c"))


def test_a_finding_that_a_gap_hides_is_noted_once_however_many_sweeps(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR)
    record(connection, 2, hidden=(PAIR,))
    record(connection, 3, hidden=(PAIR,))
    record(connection, 4, PAIR)
    assert changes_of(connection, PAIR) == [
        FindingChange.FIRST_SEEN,
        FindingChange.NOT_SEEN,
        FindingChange.SEEN_AGAIN,
    ]


def test_what_a_sweep_saw_is_read_back_and_alike_sweeps_share_it(connection: sqlite3.Connection) -> None:
    odd = replace(PAIR, subject="\udc80", confirmed=True)
    for number in (1, 2):
        record(connection, number, odd)
    record(connection, 3)
    gap = Gap("ssh", GapReason.CONNECT_REFUSED, "in other words", node="z", datacenter="dc1")
    report = Report(Verdict.FINDINGS, at(1), at(1), Coverage(9, 8), (odd,), (gap,))
    assert history.content(connection, 1) == history.content(connection, 2) == content_of(report)
    assert connection.execute("SELECT count(*) FROM history_contents").fetchone()[0] == 2


def test_what_forgotten_sweeps_saw_is_forgotten_with_them(connection: sqlite3.Connection) -> None:
    record(connection, 1, PAIR)
    record(connection, 2, resolved=(PAIR,))
    record(connection, 30, DRIFT)
    with connection:
        history.prune(connection, at(20))
    assert connection.execute("SELECT count(*) FROM history_contents").fetchone()[0] == 1
    assert [item.fingerprint for item in history.changes(connection)] == [DRIFT.fingerprint]


def test_a_state_of_an_older_version_tells_what_it_knows_of_findings(tmp_path: Path) -> None:
    path = tmp_path / "wgaudit.db"
    with closing(open_state(path, {history.PART: history.MIGRATIONS[:2]})) as old, old:
        old.execute(
            "INSERT INTO history_sweeps VALUES (7, ?, ?, 'clean', 9, 9, '{}', 0, NULL)",
            (at(0).isoformat(), at(0).isoformat()),
        )
        old.execute(
            "INSERT INTO history_findings VALUES ('ab', 'key-drift', 'error', 'c', 'c differs', '[]', NULL, ?, ?, ?)",
            (at(0).isoformat(), at(5).isoformat(), at(10).isoformat()),
        )
    with closing(open_state(path, {history.PART: history.MIGRATIONS})) as state:
        assert history.content(state, 7) is None
        assert [item.number for item in history.sweeps(state, 9)] == [7]
        assert [(item.change, item.at, item.sweep) for item in history.changes(state)] == [
            (FindingChange.FIRST_SEEN, at(0), None),
            (FindingChange.RESOLVED, at(10), None),
        ]


def test_an_operation_is_read_back_with_its_end_and_forgotten_when_it_is_old(
    connection: sqlite3.Connection,
) -> None:
    operation = PastOperation(
        OperationKind.APPLY, at(1), "root", "0a1b2c3d4e", "/root/plan.json.journal", ("10.0.0.1/32",), ("a",)
    )
    with connection:
        number = begin_operation(connection, operation)
    assert history.operations(connection) == (operation,)
    with connection:
        end_operation(connection, number, at(2), "done")
    assert history.operations(connection) == (replace(operation, ended_at=at(2), outcome="done"),)
    with connection:
        history.prune(connection, at(3))
    assert history.operations(connection) == ()


def test_the_last_clean_sweep_is_remembered_behind_others(connection: sqlite3.Connection) -> None:
    assert history.last_clean(connection) is None
    record(connection, 1)
    record(connection, 2)
    record(connection, 3, PAIR)
    assert history.last_clean(connection) == at(2)
