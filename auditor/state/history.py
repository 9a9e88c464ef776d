"""History in the state database: earlier sweeps, and the life of each finding."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from auditor.errors import StateError, UsageError
from auditor.state.database import reported
from auditor.values.models import Finding, Report, Severity, Verdict
from auditor.values.text import for_json, stored_time

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
)


@dataclass(frozen=True, slots=True)
class PastSweep:
    """Past sweep with its outcome. Times are in UTC."""

    number: int
    """Its identity in the history: greater than that of every sweep recorded before it."""
    started_at: datetime
    finished_at: datetime
    verdict: Verdict
    registered: int
    observed: int
    gaps: int
    findings: Mapping[Severity, int] = field(default_factory=dict)
    """Number of findings that counted, by severity; a severity without any is left out."""
    cut_short: str | None = None

    @property
    def seconds(self) -> float:
        """Duration of the sweep in seconds."""
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class PastFinding:
    """Finding over time. Times are in UTC, and those of the sweeps that saw it."""

    fingerprint: str
    check: str
    severity: Severity
    subject: str
    summary: str
    nodes: tuple[str, ...]
    first_seen: datetime
    """Time of the first sight, even if it was resolved in between."""
    last_seen: datetime
    resolved_at: datetime | None = None
    """None: it stands, or a gap hides whether it does."""
    caused_by: str | None = None
    """Fingerprint of the finding that it follows from."""


def record(
    connection: sqlite3.Connection,
    report: Report,
    *,
    standing: Collection[str],
    resolved: Collection[str],
    beside: Sequence[Finding] = (),
) -> None:
    """Record one sweep, in the transaction that the caller has begun. Raises `StateError`.

    `standing` are the fingerprints of all incidents that stand after it, those that a gap hides included;
    `resolved` those that ended with it. A finding that follows from another ends when it is not there
    and its cause does not stand any more. `beside` stand without being findings of the report: blindness.
    """
    finished = stored_time(report.finished_at)
    counted = {finding.fingerprint: finding for finding in report.standing}
    severities = Counter(finding.severity for finding in counted.values())
    counted |= {finding.fingerprint: finding for finding in beside}
    with reported(connection):
        connection.execute(
            "INSERT INTO history_sweeps VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                stored_time(report.started_at),
                finished,
                report.verdict.value,
                report.coverage.registered,
                report.coverage.observed,
                json.dumps({item.value: severities[item] for item in Severity if severities[item]}),
                len(report.gaps),
                None if report.cut_short is None else for_json(report.cut_short),
            ),
        )
        connection.executemany(
            """
            INSERT INTO history_findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)
            ON CONFLICT (fingerprint) DO UPDATE SET
                severity = excluded.severity, subject = excluded.subject, summary = excluded.summary,
                nodes = excluded.nodes, caused_by = excluded.caused_by, last_seen = excluded.last_seen,
                resolved_at = NULL
            """,
            [_row(report, finding, finished) for finding in counted.values()],
        )
        open_findings = connection.execute(
            "SELECT fingerprint, caused_by FROM history_findings WHERE resolved_at IS NULL"
        ).fetchall()
        over = [
            (finished, mark)
            for mark, cause in open_findings
            if mark not in counted
            and (
                mark in resolved
                or (
                    cause is not None
                    and mark not in standing
                    and cause not in standing
                    and cause not in counted
                )
            )
        ]
        connection.executemany("UPDATE history_findings SET resolved_at = ? WHERE fingerprint = ?", over)


def sweeps(connection: sqlite3.Connection, limit: int) -> tuple[PastSweep, ...]:
    """Read the last sweeps, newest first; at most `limit`. Raises `StateError`."""
    with _reading(connection):
        rows = connection.execute("SELECT * FROM history_sweeps ORDER BY number DESC LIMIT ?", (limit,))
        return tuple(map(_sweep, rows))


def findings(
    connection: sqlite3.Connection, limit: int, *, standing_only: bool = False, leading_only: bool = False
) -> tuple[PastFinding, ...]:
    """Read findings, those that stand first, then the last seen first; at most `limit`. Raises `StateError`.

    `leading_only` leaves out those that follow from another.
    """
    with _reading(connection):
        rows = connection.execute(
            """
            SELECT * FROM history_findings
            WHERE (resolved_at IS NULL OR NOT ?) AND (caused_by IS NULL OR NOT ?)
            ORDER BY resolved_at IS NOT NULL, last_seen DESC, fingerprint LIMIT ?
            """,
            (standing_only, leading_only, limit),
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
    """Forget sweeps and resolved findings older than that; never one that stands. Leave the commit to the caller.

    Raises `StateError`.
    """
    with reported(connection):
        connection.execute("DELETE FROM history_sweeps WHERE finished_at < ?", (stored_time(before),))
        connection.execute("DELETE FROM history_findings WHERE resolved_at < ?", (stored_time(before),))


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
        json.dumps(sorted(report.name(node) for node in finding.nodes)),
        finding.caused_by,
        finished,
        finished,
    )


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
    )
