"""Changes in the lives of findings, written with the sweep that showed them, and read in order."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from auditor.values.findings import Severity
from auditor.values.past_sweeps import FindingChange, PastChange
from auditor.values.text import stored_time


def changes_by_sweep(
    connection: sqlite3.Connection,
    at: datetime,
    sweep: int,
    shown: Mapping[str, tuple[Severity, tuple[str, ...]]],
    over: Collection[str],
) -> tuple[PastChange, ...]:
    """Compare a sweep with the findings that the history has of earlier ones, before it takes over the new ones.

    shown: severity and nodes of what the sweep showed, by fingerprint. over: fingerprints that ended with it.
    """
    found = list(changes_of_shown(connection, at, sweep, shown))
    for row in connection.execute(
        "SELECT fingerprint, severity, nodes FROM history_findings WHERE resolved_at IS NULL"
    ).fetchall():
        mark = row["fingerprint"]
        if mark in shown:
            continue
        change = FindingChange.RESOLVED if mark in over else FindingChange.NOT_SEEN
        if change is FindingChange.RESOLVED or _last_change(connection, mark) is not FindingChange.NOT_SEEN:
            nodes = tuple(json.loads(row["nodes"]))
            found.append(PastChange(at, mark, change, Severity(row["severity"]), nodes, sweep))
    return tuple(found)


def changes_of_shown(
    connection: sqlite3.Connection,
    at: datetime,
    sweep: int | None,
    shown: Mapping[str, tuple[Severity, tuple[str, ...]]],
) -> Iterator[PastChange]:
    """Yield the changes of what is shown, before the history takes it over. sweep: None between two rounds."""
    for mark, (severity, nodes) in shown.items():
        change = _change_of_shown(connection, mark, severity, nodes)
        if change is not None:
            yield PastChange(at, mark, change, severity, nodes, sweep)


def _change_of_shown(
    connection: sqlite3.Connection, mark: str, severity: Severity, nodes: tuple[str, ...]
) -> FindingChange | None:
    before = connection.execute(
        "SELECT severity, nodes, resolved_at FROM history_findings WHERE fingerprint = ?", (mark,)
    ).fetchone()
    if before is None:
        return FindingChange.FIRST_SEEN
    if before["resolved_at"] is not None:
        return FindingChange.CAME_BACK
    if _last_change(connection, mark) is FindingChange.NOT_SEEN:
        return FindingChange.SEEN_AGAIN
    same = (before["severity"], json.loads(before["nodes"])) == (severity.value, list(nodes))
    return None if same else FindingChange.CHANGED


def _last_change(connection: sqlite3.Connection, mark: str) -> FindingChange | None:
    row = connection.execute(
        "SELECT change FROM history_changes WHERE fingerprint = ? ORDER BY id DESC LIMIT 1", (mark,)
    ).fetchone()
    return None if row is None else FindingChange(row["change"])


def keep_changes(connection: sqlite3.Connection, changes: Iterable[PastChange]) -> None:
    """Store changes, in the caller's transaction."""
    connection.executemany(
        "INSERT INTO history_changes VALUES (NULL, ?, ?, ?, ?, ?, ?)",
        [
            (
                stored_time(item.at),
                item.sweep,
                item.fingerprint,
                item.change.value,
                item.severity.value,
                json.dumps(item.nodes),
            )
            for item in changes
        ],
    )


def read_changes(connection: sqlite3.Connection) -> tuple[PastChange, ...]:
    """Read all changes that are kept, in the order in which they were recorded."""
    rows = connection.execute("SELECT * FROM history_changes ORDER BY id").fetchall()
    return tuple(
        PastChange(
            at=datetime.fromisoformat(row["at"]),
            fingerprint=row["fingerprint"],
            change=FindingChange(row["change"]),
            severity=Severity(row["severity"]),
            nodes=tuple(json.loads(row["nodes"])),
            sweep=row["sweep"],
        )
        for row in rows
    )


def forget_changes(connection: sqlite3.Connection, before: datetime) -> None:
    """Delete changes older than that, but those of findings that stand, in the caller's transaction."""
    connection.execute(
        """
        DELETE FROM history_changes WHERE at < ?
        AND fingerprint NOT IN (SELECT fingerprint FROM history_findings WHERE resolved_at IS NULL)
        """,
        (stored_time(before),),
    )
