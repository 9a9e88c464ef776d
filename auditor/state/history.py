"""History in the state database: earlier sweeps, and the life of each finding."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from auditor.errors import StateError, UsageError
from auditor.state import drained_nodes
from auditor.state.database import reported
from auditor.state.finding_changes import (
    changes_by_sweep,
    changes_of_shown,
    forget_changes,
    keep_changes,
    read_changes,
)
from auditor.state.known_registrations import (
    RememberedRegistrations,
    read_address_writes,
    read_journal_begin,
    read_known_registrations,
    read_latest_writes,
    read_registration_changes,
    read_remembered_registrations,
)
from auditor.state.operations import forget_operations, read_operations
from auditor.state.registration_journal import MIGRATION, forget_registrations, keep_registrations
from auditor.state.round_spans import SpanSizes, read_span_sizes
from auditor.state.sweep_contents import forget_unused_contents, keep_content, read_content
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity
from auditor.values.models import AddressWrite, NodeId, Snapshot
from auditor.values.past_sweeps import (
    PastChange,
    PastFinding,
    PastOperation,
    PastSweep,
    SweepContent,
    content_of,
)
from auditor.values.registration_changes import KnownRegistration, RegistrationChange
from auditor.values.report import Report, Verdict
from auditor.values.text import for_json, stored_time

ALL = -1
"""Limit that is none, as SQLite has it."""
PART = "history"
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE history_sweeps (
        number INTEGER PRIMARY KEY,
        started_at TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        verdict TEXT NOT NULL,
        registered INTEGER NOT NULL,
        observed INTEGER NOT NULL,
        findings TEXT NOT NULL,
        gaps INTEGER NOT NULL,
        cut_short TEXT
    ) STRICT;
    CREATE INDEX history_sweeps_by_time ON history_sweeps (finished_at);
    CREATE TABLE history_findings (
        fingerprint TEXT PRIMARY KEY,
        check_ident TEXT NOT NULL,
        severity TEXT NOT NULL,
        subject TEXT NOT NULL,
        summary TEXT NOT NULL,
        nodes TEXT NOT NULL,
        caused_by TEXT,
        first_seen TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        resolved_at TEXT
    ) STRICT;
    CREATE INDEX history_findings_by_time ON history_findings (last_seen);
    """,
    # The number was the alerts' own; from here on it is the history's, and is never given twice.
    """
    CREATE TABLE history_sweeps_numbered (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        started_at TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        verdict TEXT NOT NULL,
        registered INTEGER NOT NULL,
        observed INTEGER NOT NULL,
        findings TEXT NOT NULL,
        gaps INTEGER NOT NULL,
        cut_short TEXT
    ) STRICT;
    INSERT INTO history_sweeps_numbered SELECT * FROM history_sweeps ORDER BY number;
    DROP TABLE history_sweeps;
    ALTER TABLE history_sweeps_numbered RENAME TO history_sweeps;
    CREATE INDEX history_sweeps_by_time ON history_sweeps (finished_at);
    """,
    # What each sweep saw: sweeps that saw the same share one content. And what became of findings, and was done.
    """
    CREATE TABLE history_contents (
        digest TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT;
    ALTER TABLE history_sweeps ADD COLUMN content TEXT;
    ALTER TABLE history_findings ADD COLUMN address TEXT NOT NULL DEFAULT '';
    ALTER TABLE history_findings ADD COLUMN regions TEXT NOT NULL DEFAULT '[]';
    CREATE TABLE history_changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        sweep INTEGER,
        fingerprint TEXT NOT NULL,
        change TEXT NOT NULL,
        severity TEXT NOT NULL,
        nodes TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_changes_by_finding ON history_changes (fingerprint, id);
    CREATE INDEX history_changes_by_time ON history_changes (at);
    INSERT INTO history_changes
        SELECT NULL, first_seen, NULL, fingerprint, 'first-seen', severity, nodes FROM history_findings;
    INSERT INTO history_changes
        SELECT NULL, resolved_at, NULL, fingerprint, 'resolved', severity, nodes FROM history_findings
        WHERE resolved_at IS NOT NULL;
    CREATE TABLE history_operations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        at TEXT NOT NULL,
        made_by TEXT NOT NULL,
        reference TEXT NOT NULL,
        path TEXT NOT NULL,
        addresses TEXT NOT NULL,
        nodes TEXT NOT NULL,
        ended_at TEXT,
        outcome TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_operations_by_time ON history_operations (at);
    """,
    # Registrations, and what became of each: Consul's KV has no history of its own.
    MIGRATION,
    # Nodes that were taken out of production and not put back.
    drained_nodes.MIGRATION,
)


def record(
    connection: sqlite3.Connection,
    report: Report,
    *,
    standing: Collection[str],
    resolved: Collection[str],
    beside: Sequence[Finding] = (),
    snapshot: Snapshot | None = None,
) -> None:
    """Record one sweep, in the transaction that the caller has begun. Raises `StateError`.

    `standing` are the fingerprints of all incidents that stand after it, those that a gap hides included;
    `resolved` those that ended with it. A finding that follows from another ends when it is not there
    and its cause does not stand any more. `beside` stand without being findings of the report: blindness.
    `snapshot` is what the report was made of: its registrations are compared with those of the sweep before.
    """
    finished = stored_time(report.finished_at)
    counted = {finding.fingerprint: finding for finding in report.standing}
    severities = Counter(finding.severity for finding in counted.values())
    counted |= {finding.fingerprint: finding for finding in beside}
    with reported(connection):
        digest = keep_content(connection, content_of(report))
        number = connection.execute(
            "INSERT INTO history_sweeps VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stored_time(report.started_at),
                finished,
                report.verdict.value,
                report.coverage.registered,
                report.coverage.observed,
                json.dumps({item.value: severities[item] for item in Severity if severities[item]}),
                len(report.gaps),
                None if report.cut_short is None else for_json(report.cut_short),
                digest,
            ),
        ).lastrowid
        assert number is not None  # noqa: S101  (an INSERT always has one)
        if snapshot is not None:
            keep_registrations(connection, snapshot, report, number)
        over = _over(connection, counted, standing, resolved)
        shown = {mark: (item.severity, _names(report, item)) for mark, item in counted.items()}
        keep_changes(connection, changes_by_sweep(connection, report.finished_at, number, shown, over))
        _keep_findings(connection, report, counted.values())
        connection.executemany(
            "UPDATE history_findings SET resolved_at = ? WHERE fingerprint = ?",
            [(finished, mark) for mark in over],
        )


def record_news(connection: sqlite3.Connection, report: Report, news: Collection[str]) -> None:
    """Record what is told between two rounds, in the transaction that the caller has begun. Raises `StateError`.

    `news`: fingerprints of the incidents; the findings that follow from them are recorded too. They are found, or have
    changed, from now on; whether they are over is for a round to say.
    """
    counted = {
        finding.fingerprint: finding
        for finding in report.standing
        if finding.fingerprint in news or finding.caused_by in news
    }
    shown = {mark: (item.severity, _names(report, item)) for mark, item in counted.items()}
    with reported(connection):
        keep_changes(connection, tuple(changes_of_shown(connection, report.finished_at, None, shown)))
        _keep_findings(connection, report, counted.values())


def _keep_findings(connection: sqlite3.Connection, report: Report, findings: Iterable[Finding]) -> None:
    connection.executemany(
        """
        INSERT INTO history_findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)
        ON CONFLICT (fingerprint) DO UPDATE SET
            severity = excluded.severity, subject = excluded.subject, summary = excluded.summary,
            nodes = excluded.nodes, caused_by = excluded.caused_by, last_seen = excluded.last_seen,
            resolved_at = NULL, address = excluded.address, regions = excluded.regions
        """,
        [_row(report, finding, stored_time(report.finished_at)) for finding in findings],
    )


def _over(
    connection: sqlite3.Connection,
    counted: Collection[str],
    standing: Collection[str],
    resolved: Collection[str],
) -> frozenset[str]:
    """Select the open findings that ended: by themselves, or with what they followed from."""
    rows = connection.execute(
        "SELECT fingerprint, caused_by FROM history_findings WHERE resolved_at IS NULL"
    ).fetchall()
    return frozenset(
        mark
        for mark, cause in rows
        if mark not in counted
        and (
            mark in resolved
            or (cause is not None and mark not in standing and cause not in standing and cause not in counted)
        )
    )


def sweeps(connection: sqlite3.Connection, limit: int) -> tuple[PastSweep, ...]:
    """Read the last sweeps, newest first; at most `limit`, -1 for all. Raises `StateError`."""
    with _reading(connection):
        rows = connection.execute("SELECT * FROM history_sweeps ORDER BY number DESC LIMIT ?", (limit,))
        return tuple(map(_sweep, rows))


def sweep(connection: sqlite3.Connection, number: int) -> PastSweep | None:
    """Read one sweep by its number; None where there is none. Raises `StateError`."""
    with _reading(connection):
        row = connection.execute("SELECT * FROM history_sweeps WHERE number = ?", (number,)).fetchone()
        return None if row is None else _sweep(row)


def content(connection: sqlite3.Connection, number: int) -> SweepContent | None:
    """Read what a sweep saw; None where it was recorded before that was kept. Raises `StateError`."""
    with _reading(connection):
        return read_content(connection, number)


def changes(connection: sqlite3.Connection) -> tuple[PastChange, ...]:
    """Read every change of a finding, in the order in which they were recorded. Raises `StateError`."""
    with _reading(connection):
        return read_changes(connection)


def operations(connection: sqlite3.Connection) -> tuple[PastOperation, ...]:
    """Read every operation, in the order in which they began. Raises `StateError`."""
    with _reading(connection):
        return read_operations(connection)


def registration_changes(connection: sqlite3.Connection) -> Iterator[RegistrationChange]:
    """Read every change of a registration, oldest first, one at a time. Raises `StateError`."""
    with _reading(connection):
        yield from read_registration_changes(connection)


def known_registrations(connection: sqlite3.Connection) -> Iterator[KnownRegistration]:
    """Read the newest form of each registration, lost ones included, one at a time. Raises `StateError`."""
    with _reading(connection):
        yield from read_known_registrations(connection)


def remembered_registrations(connection: sqlite3.Connection) -> RememberedRegistrations:
    """Read what the registry said when it was last read, for the next look. Raises `StateError`."""
    with _reading(connection):
        return read_remembered_registrations(connection)


def address_writes(
    connection: sqlite3.Connection, wanted: Mapping[NodeId, Collection[Prefix]]
) -> tuple[AddressWrite, ...]:
    """Read by which write each of these nodes got each of these addresses, where it is known. Raises `StateError`."""
    with _reading(connection):
        return tuple(read_address_writes(connection, wanted))


def latest_writes(connection: sqlite3.Connection, most: int) -> tuple[AddressWrite, ...]:
    """Read the latest writes that are known to the moment, at most so many changes back. Raises `StateError`."""
    with _reading(connection):
        return tuple(read_latest_writes(connection, most))


def journal_begin(connection: sqlite3.Connection) -> datetime | None:
    """Read when registrations were first taken down; None: not yet. Raises `StateError`."""
    with _reading(connection):
        return read_journal_begin(connection)


def span_sizes(connection: sqlite3.Connection, since: datetime, step: timedelta) -> Mapping[int, SpanSizes]:
    """Read what sweeps since then came to, by the number of their span, from 0 on. Raises `StateError`."""
    with _reading(connection):
        return read_span_sizes(connection, since, step)


def last_clean(connection: sqlite3.Connection) -> datetime | None:
    """Read the end of the last clean sweep; None where none is remembered. Raises `StateError`."""
    with _reading(connection):
        row = connection.execute(
            "SELECT finished_at FROM history_sweeps WHERE verdict = ? ORDER BY number DESC LIMIT 1",
            (Verdict.CLEAN.value,),
        ).fetchone()
        return None if row is None else datetime.fromisoformat(row["finished_at"])


def findings(
    connection: sqlite3.Connection, limit: int, *, standing_only: bool = False, leading_only: bool = False
) -> tuple[PastFinding, ...]:
    """Read findings, those that stand first, then the last seen, then the worst; at most `limit`, or `ALL`.

    `leading_only` leaves out those that follow from another. Raises `StateError`.
    """
    with _reading(connection):
        rows = connection.execute(
            """
            SELECT * FROM history_findings
            WHERE (resolved_at IS NULL OR NOT ?) AND (caused_by IS NULL OR NOT ?)
            ORDER BY resolved_at IS NOT NULL, last_seen DESC, instr(?, severity), fingerprint LIMIT ?
            """,
            (standing_only, leading_only, " ".join(Severity), limit),
        )
        return tuple(map(_finding, rows))


def finding(connection: sqlite3.Connection, fingerprint_prefix: str) -> PastFinding | None:
    """Read the one finding whose fingerprint begins so; None where there is none.

    Raises `UsageError` if it is no beginning of a fingerprint or fits several, and `StateError`.
    """
    prefix = fingerprint_prefix.strip().lower()
    if re.fullmatch(r"[0-9a-f]{1,20}", prefix) is None:
        raise UsageError(
            f"{fingerprint_prefix[:40]!r} is no fingerprint: those are up to 20 digits, 0-9 and a-f"
        )
    with _reading(connection):
        rows = connection.execute(
            "SELECT * FROM history_findings WHERE fingerprint GLOB ? || '*' ORDER BY fingerprint", (prefix,)
        )
        found = tuple(map(_finding, rows))
    if len(found) > 1:
        raise UsageError(f"{len(found)} findings begin with {prefix}; give more digits")
    return found[0] if found else None


def prune(connection: sqlite3.Connection, before: datetime) -> None:
    """Forget sweeps, resolved findings, operations and changes of registrations older than that; never what stands.

    The commit is left to the caller. Raises `StateError`.
    """
    with reported(connection):
        connection.execute("DELETE FROM history_sweeps WHERE finished_at < ?", (stored_time(before),))
        connection.execute("DELETE FROM history_findings WHERE resolved_at < ?", (stored_time(before),))
        forget_unused_contents(connection)
        forget_changes(connection, before)
        forget_operations(connection, before)
        forget_registrations(connection, before)


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    """Turn SQLite's errors, and rows that no version of ours wrote, into `StateError`s."""
    try:
        with reported(connection):
            yield
    except (ValueError, TypeError, AttributeError) as error:
        raise StateError(f"the history holds a record that cannot be read ({type(error).__name__})") from None


def _row(report: Report, finding: Finding, finished: str) -> tuple[str | None, ...]:
    return (
        finding.fingerprint,
        finding.check,
        finding.severity.value,
        for_json(finding.subject),
        for_json(finding.summary),
        json.dumps(_names(report, finding)),
        finding.caused_by,
        finished,
        finished,
        finding.address or "",
        json.dumps(sorted(finding.regions)),
    )


def _names(report: Report, finding: Finding) -> tuple[str, ...]:
    return tuple(sorted(report.name(node) for node in finding.nodes))


def _sweep(row: sqlite3.Row) -> PastSweep:
    return PastSweep(
        number=row["number"],
        started_at=datetime.fromisoformat(row["started_at"]),
        finished_at=datetime.fromisoformat(row["finished_at"]),
        verdict=Verdict(row["verdict"]),
        registered=row["registered"],
        observed=row["observed"],
        gaps=row["gaps"],
        findings={Severity(name): count for name, count in json.loads(row["findings"]).items()},
        cut_short=row["cut_short"],
    )


def _finding(row: sqlite3.Row) -> PastFinding:
    resolved = row["resolved_at"]
    return PastFinding(
        fingerprint=row["fingerprint"],
        check=row["check_ident"],
        severity=Severity(row["severity"]),
        subject=row["subject"],
        summary=row["summary"],
        nodes=tuple(json.loads(row["nodes"])),
        first_seen=datetime.fromisoformat(row["first_seen"]),
        last_seen=datetime.fromisoformat(row["last_seen"]),
        resolved_at=None if resolved is None else datetime.fromisoformat(resolved),
        caused_by=row["caused_by"],
        address=row["address"],
        regions=tuple(json.loads(row["regions"])),
    )
