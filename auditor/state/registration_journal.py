"""Journal of registrations in the state database: the newest form of each, and every change, as they are noticed."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from auditor.errors import GapReason
from auditor.state.known_registrations import body_of, fit_name, read_body
from auditor.values.models import InvalidRegistration, Registration, RegistryReading, Snapshot
from auditor.values.registration_changes import (
    MOMENT,
    ChangeSource,
    RegistrationChangeKind,
    changed_fields,
)
from auditor.values.report import Report
from auditor.values.text import stored_time

MIGRATION = """
    CREATE TABLE history_registrations (
        datacenter TEXT NOT NULL,
        node TEXT NOT NULL,
        body TEXT NOT NULL,
        missing_not_before TEXT,
        missing_not_after TEXT,
        gone INTEGER,
        PRIMARY KEY (datacenter, node)
    ) STRICT;
    CREATE TABLE history_registry_reads (
        datacenter TEXT PRIMARY KEY,
        first_at TEXT NOT NULL,
        last_began_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE history_registration_changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        datacenter TEXT NOT NULL,
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        before TEXT,
        after TEXT,
        not_before TEXT NOT NULL,
        not_after TEXT NOT NULL,
        seen_by TEXT NOT NULL,
        consul_index INTEGER,
        sweep INTEGER
    ) STRICT;
    CREATE INDEX history_registration_changes_by_node ON history_registration_changes (datacenter, node, id);
    CREATE INDEX history_registration_changes_by_time ON history_registration_changes (not_after)
"""
FEWEST_MISSING = 2
"""A registry that lost a single node has not shrunk."""
LONGEST_OVERTAKEN = timedelta(minutes=5)
"""A sweep that ended longer before the last stored reading did not: then the clock was put back."""
SHRINK_SHARE = 0.1
"""A larger share of its nodes missing at once: the next sweep must read the same before they count as removed."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Stored registration: its text, and since when it is missing."""

    body: str
    missing: tuple[str, str] | None
    gone: int | None


def keep_registrations(
    connection: sqlite3.Connection, snapshot: Snapshot, report: Report, sweep: int
) -> None:
    """Store what differs from the sweep before, in the caller's transaction.

    Only datacenters that were read whole, and show a registration at all, are compared. Where many nodes are missing at
    once, or the registry looks suspect, they are removed only once a later sweep reads the same. What a watch stored
    after this sweep had ended is newer, and stays.
    """
    suspect = any(gap.reason is GapReason.REGISTRY_SUSPECT for gap in report.gaps)
    present = _by_datacenter(snapshot.registrations, snapshot.invalid)
    for datacenter in _whole(report, {item.node.datacenter for item in snapshot.registrations}):
        before = _last_read(connection, datacenter)
        if before is not None and _is_older(report.finished_at, before):
            continue
        read = _Read(
            present[datacenter], before, stored_time(report.finished_at), ChangeSource.SWEEP, sweep=sweep
        )
        _Compared(connection, datacenter, read).store(suspect=suspect)
        _remember_read(connection, datacenter, stored_time(report.started_at))


def keep_reading(
    connection: sqlite3.Connection,
    datacenter: str,
    reading: RegistryReading,
    *,
    not_before: datetime | None,
    not_after: datetime,
    woken: bool,
    index: int | None = None,
) -> None:
    """Store what differs between the newest forms and a reading of one datacenter, in the caller's transaction.

    Nothing is stored of a datacenter that was not read whole, or shows no registration. Many nodes that are missing at
    once are taken down as missing, and a later sweep removes them.

    not_before: time when the last answer had come that showed what was before; None: it is not known, and the last
    stored reading stands for it. not_after: time when the answer had come. woken: a waiting query was woken by what is
    new. Then the change is known to the moment; so it is where a reading followed another at once, as one that is to
    confirm it does. index: Consul's of the reading.
    """
    if not reading.registrations or any(gap.hides_registrations for gap in reading.gaps):
        return
    before = _last_read(connection, datacenter)
    if before is not None and not_before is not None:
        before = max(before, stored_time(not_before))
    soon = before is not None and not_after - datetime.fromisoformat(before) <= MOMENT
    source = ChangeSource.WATCH if woken or soon else ChangeSource.SWEEP
    present = _by_datacenter(reading.registrations, reading.invalid)[datacenter]
    read = _Read(present, before, stored_time(not_after), source, index=index)
    _Compared(connection, datacenter, read).store(suspect=False)
    _remember_read(connection, datacenter, stored_time(not_after))


class _Present(NamedTuple):
    """What a reading of one datacenter shows, by the names that are stored."""

    registrations: dict[str, Registration]
    unreadable: set[str]


def _by_datacenter(
    registrations: Iterable[Registration], invalid: Iterable[InvalidRegistration]
) -> Mapping[str, _Present]:
    found: dict[str, _Present] = defaultdict(lambda: _Present({}, set()))
    for broken in invalid:
        found[broken.node.datacenter].unreadable.add(fit_name(broken.node.name))
    for item in registrations:
        found[item.node.datacenter].registrations[fit_name(item.node.name)] = item
    return found


def _last_read(connection: sqlite3.Connection, datacenter: str) -> str | None:
    """Read the begin of the last reading that is stored; None: there is none, and all is only taken down."""
    row = connection.execute(
        "SELECT last_began_at FROM history_registry_reads WHERE datacenter = ?", (datacenter,)
    ).fetchone()
    return None if row is None else str(row["last_began_at"])


def _remember_read(connection: sqlite3.Connection, datacenter: str, began: str) -> None:
    connection.execute(
        """
        INSERT INTO history_registry_reads VALUES (?, ?, ?)
        ON CONFLICT (datacenter) DO UPDATE SET last_began_at = excluded.last_began_at
        """,
        (datacenter, began, began),
    )


def _is_older(ended: datetime, before: str) -> bool:
    """Tell whether a sweep ended before the last stored reading. A clock that was put back makes nothing older."""
    return timedelta(0) < datetime.fromisoformat(before) - ended < LONGEST_OVERTAKEN


def _whole(report: Report, datacenters: Collection[str]) -> list[str]:
    unread = {gap.datacenter or "" for gap in report.gaps if gap.hides_registrations}
    return [] if "" in unread else sorted(set(datacenters) - unread)


@dataclass(frozen=True, slots=True)
class _Read:
    """Reading of one datacenter, and when it was. Times are as stored."""

    present: _Present
    before: str | None
    """Time since which what is new may have been so; None: all is only taken down."""
    ended: str
    source: ChangeSource
    sweep: int | None = None
    index: int | None = None
    """Consul's index of the reading, for a removal, which leaves none of its own."""


class _Compared:
    """Comparison of one datacenter's reading with the newest forms that are stored."""

    def __init__(self, connection: sqlite3.Connection, datacenter: str, read: _Read) -> None:
        self._connection, self._datacenter, self._read = connection, datacenter, read
        rows = connection.execute(
            "SELECT * FROM history_registrations WHERE datacenter = ?", (datacenter,)
        ).fetchall()
        self._known = {
            row["node"]: _Row(
                row["body"],
                (row["missing_not_before"], row["missing_not_after"]) if row["missing_not_after"] else None,
                row["gone"],
            )
            for row in rows
        }

    def store(self, *, suspect: bool) -> None:
        """Store all that differs. suspect: the registry may have shown too little."""
        present = self._read.present
        changed = self._take(present.registrations)
        self._miss(present.registrations.keys() | present.unreadable, suspect=suspect, changed=changed)

    def _take(self, read: Mapping[str, Registration]) -> int:
        """Store registrations that are new or not as before; return the number of changes."""
        changed, before_at = 0, self._read.before
        for name, item in read.items():
            row, body = self._known.get(name), body_of(item)
            if row is not None and row.body == body and row.missing is None:
                continue
            self._connection.execute(
                "INSERT OR REPLACE INTO history_registrations VALUES (?, ?, ?, NULL, NULL, NULL)",
                (self._datacenter, name, body),
            )
            if before_at is None:
                continue
            added = row is None or row.gone is not None
            if added or (row is not None and self._differs(item, row.body)):
                kind = RegistrationChangeKind.ADDED if added else RegistrationChangeKind.CHANGED
                before = row.body if row is not None and not added else None
                self._note(name, kind, before, body, (before_at, self._read.ended), item.modify_index)
                changed += 1
        return changed

    @staticmethod
    def _differs(item: Registration, body: str) -> bool:
        return bool(changed_fields(read_body(item.node, body), item))

    def _miss(self, present: Collection[str], *, suspect: bool, changed: int) -> None:
        """Store which registrations are missing, and remove those that nothing speaks for any more."""
        registered = {name: row for name, row in self._known.items() if row.gone is None}
        missing = {name: row for name, row in registered.items() if name not in present}
        shrunk = len(missing) >= FEWEST_MISSING and len(missing) > SHRINK_SHARE * len(registered)
        # News come twice a second, perhaps: only a sweep is a second reading that counts.
        read_again = self._read.sweep is not None
        index = self._read.index if not changed and len(missing) == 1 else None
        for name, row in missing.items():
            since = row.missing or (self._read.before or self._read.ended, self._read.ended)
            number = None
            if not suspect and (read_again if row.missing is not None else not shrunk):
                number = self._note(name, RegistrationChangeKind.REMOVED, row.body, None, since, index)
            self._connection.execute(
                """
                UPDATE history_registrations SET missing_not_before = ?, missing_not_after = ?, gone = ?
                WHERE datacenter = ? AND node = ?
                """,
                (*since, number, self._datacenter, name),
            )

    def _note(
        self,
        name: str,
        kind: RegistrationChangeKind,
        before: str | None,
        after: str | None,
        when: tuple[str, str],
        index: int | None,
    ) -> int | None:
        return self._connection.execute(
            "INSERT INTO history_registration_changes VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._datacenter,
                name,
                kind.value,
                before,
                after,
                *when,
                self._read.source.value,
                index,
                self._read.sweep,
            ),
        ).lastrowid


def forget_registrations(connection: sqlite3.Connection, before: datetime) -> None:
    """Delete changes older than that, and what was removed by them, in the caller's transaction."""
    old = (stored_time(before),)
    connection.execute(
        """
        DELETE FROM history_registrations WHERE gone IN
        (SELECT id FROM history_registration_changes WHERE not_after < ?)
        """,
        old,
    )
    connection.execute("DELETE FROM history_registration_changes WHERE not_after < ?", old)
