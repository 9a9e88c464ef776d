"""Journal of registrations in the state: the newest form of each, and every change, as they are noticed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update

from auditor.errors import GapReason
from auditor.state.audit_tables import REGISTRATION_CHANGES, REGISTRATIONS, REGISTRY_READS
from auditor.state.known_registrations import body_of, read_body, reads_of
from auditor.state.state_store import StateStore
from auditor.values.models import InvalidRegistration, Registration, RegistryReading, Snapshot
from auditor.values.registration_changes import (
    MOMENT,
    ChangeSource,
    RegistrationChangeKind,
    changed_fields,
)
from auditor.values.report import Report
from auditor.values.stored_values import row_reader
from auditor.values.text import for_json

FEWEST_MISSING = 2
"""A registry that lost a single node has not shrunk."""
LONGEST_OVERTAKEN = timedelta(minutes=5)
"""A sweep that ended longer before the last stored reading did not: then the clock was put back."""
SHRINK_SHARE = 0.1
"""A larger share of its nodes missing at once: the next sweep must read the same before they count as removed."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Stored registration: its text, and between which times it went missing."""

    body: str
    missing_not_before: datetime | None
    missing_not_after: datetime | None
    gone: int | None


_row = row_reader(_Row)


def keep_registrations(store: StateStore, snapshot: Snapshot, report: Report, sweep: int) -> None:
    """Store what differs from the sweep before, in the caller's transaction.

    Only datacenters that were read whole, and show a registration at all, are compared. Where many nodes are missing at
    once, or the registry looks suspect, they are removed only once a later sweep reads the same. What a watch stored
    after this sweep had ended is newer, and stays.
    """
    suspect = any(gap.reason is GapReason.REGISTRY_SUSPECT for gap in report.gaps)
    present = _by_datacenter(snapshot.registrations, snapshot.invalid)
    for datacenter in _whole(report, {item.node.datacenter for item in snapshot.registrations}):
        before = _last_read(store, datacenter)
        if before is not None and _is_older(report.finished_at, before):
            continue
        read = _Read(present[datacenter], before, report.finished_at, ChangeSource.SWEEP, sweep=sweep)
        _Compared(store, datacenter, read).store(suspect=suspect)
        _remember_read(store, datacenter, report.started_at)


def keep_reading(
    store: StateStore,
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
    before = _last_read(store, datacenter)
    if before is not None and not_before is not None:
        before = max(before, not_before)
    soon = before is not None and not_after - before <= MOMENT
    source = ChangeSource.WATCH if woken or soon else ChangeSource.SWEEP
    present = _by_datacenter(reading.registrations, reading.invalid)[datacenter]
    read = _Read(present, before, not_after, source, index=index)
    _Compared(store, datacenter, read).store(suspect=False)
    _remember_read(store, datacenter, not_after)


class _Present(NamedTuple):
    """What a reading of one datacenter shows, by the names that are stored."""

    registrations: dict[str, Registration]
    unreadable: set[str]


def _by_datacenter(
    registrations: Iterable[Registration], invalid: Iterable[InvalidRegistration]
) -> Mapping[str, _Present]:
    found: dict[str, _Present] = defaultdict(lambda: _Present({}, set()))
    for broken in invalid:
        found[broken.node.datacenter].unreadable.add(for_json(broken.node.name))
    for item in registrations:
        found[item.node.datacenter].registrations[for_json(item.node.name)] = item
    return found


def _last_read(store: StateStore, datacenter: str) -> datetime | None:
    """Read the begin of the last reading that is stored; None: there is none, and all is only taken down."""
    reads = map(reads_of, store.rows_of(REGISTRY_READS.name, {"datacenter": datacenter}))
    return next((item.last_began_at for item in reads), None)


def _remember_read(store: StateStore, datacenter: str, began: datetime) -> None:
    read = store.insert(REGISTRY_READS).values(datacenter=datacenter, first_at=began, last_began_at=began)
    store.execute(read.on_conflict_do_update(index_elements=["datacenter"], set_={"last_began_at": began}))


def _is_older(ended: datetime, before: datetime) -> bool:
    """Tell whether a sweep ended before the last stored reading. A clock that was put back makes nothing older."""
    return timedelta(0) < before - ended < LONGEST_OVERTAKEN


def _whole(report: Report, datacenters: Collection[str]) -> list[str]:
    unread = {gap.datacenter or "" for gap in report.gaps if gap.hides_registrations}
    return [] if "" in unread else sorted(set(datacenters) - unread)


@dataclass(frozen=True, slots=True)
class _Read:
    """Reading of one datacenter, and when it was."""

    present: _Present
    before: datetime | None
    """Time since which what is new may have been so; None: all is only taken down."""
    ended: datetime
    source: ChangeSource
    sweep: int | None = None
    index: int | None = None
    """Consul's index of the reading, for a removal, which leaves none of its own."""


class _Compared:
    """Comparison of one datacenter's reading with the newest forms that are stored."""

    def __init__(self, store: StateStore, datacenter: str, read: _Read) -> None:
        self._store, self._datacenter, self._read = store, datacenter, read
        self._known = {
            row["node"]: _row(row) for row in store.rows_of(REGISTRATIONS.name, {"datacenter": datacenter})
        }

    def store(self, *, suspect: bool) -> None:
        """Store all that differs. suspect: the registry may have shown too little."""
        present = self._read.present
        changed = self._take(present.registrations)
        self._miss(present.registrations.keys() | present.unreadable, suspect=suspect, changed=changed)

    def _take(self, read: Mapping[str, Registration]) -> int:
        """Store registrations that are new or not as before; return the number of changes."""
        forms: list[Mapping[str, object]] = []
        changes: list[Mapping[str, object]] = []
        before_at = self._read.before
        for name, item in read.items():
            row, body = self._known.get(name), body_of(item)
            if row is not None and row.body == body and row.missing_not_after is None:
                continue
            forms.append({"datacenter": self._datacenter, "node": name, "body": body})
            if before_at is None:
                continue
            added = row is None or row.gone is not None
            if added or (row is not None and self._differs(item, row.body)):
                kind = RegistrationChangeKind.ADDED if added else RegistrationChangeKind.CHANGED
                before = row.body if row is not None and not added else None
                when = before_at, self._read.ended
                changes.append(self._change(name, kind, before, body, when, item.modify_index))
        newest = self._store.insert(REGISTRATIONS)
        found = {
            "body": newest.excluded.body,
            "missing_not_before": None,
            "missing_not_after": None,
            "gone": None,
        }
        key = ["datacenter", "node"]
        self._store.execute(newest.on_conflict_do_update(index_elements=key, set_=found), forms)
        self._store.execute(insert(REGISTRATION_CHANGES), changes)
        return len(changes)

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
        rows: list[Mapping[str, object]] = []
        for name, row in missing.items():
            when = self._read.before or self._read.ended, self._read.ended
            if known := row.missing_not_before is not None and row.missing_not_after is not None:
                when = row.missing_not_before, row.missing_not_after
            number = None
            if not suspect and (read_again if known else not shrunk):
                removed = self._change(name, RegistrationChangeKind.REMOVED, row.body, None, when, index)
                number = self._store.add(insert(REGISTRATION_CHANGES).values(removed))
            rows.append({"name": name, "from": when[0], "to": when[1], "number": number})
        columns = REGISTRATIONS.c
        lost = update(REGISTRATIONS).where(
            columns.datacenter == self._datacenter, columns.node == bindparam("name")
        )
        noted = {"missing_not_before": "from", "missing_not_after": "to", "gone": "number"}
        self._store.execute(lost.values({name: bindparam(value) for name, value in noted.items()}), rows)

    def _change(
        self,
        name: str,
        kind: RegistrationChangeKind,
        before: str | None,
        after: str | None,
        when: tuple[datetime, datetime],
        index: int | None,
    ) -> Mapping[str, object]:
        return {
            "datacenter": self._datacenter,
            "node": name,
            "kind": kind,
            "before": before,
            "after": after,
            "not_before": when[0],
            "not_after": when[1],
            "seen_by": self._read.source,
            "consul_index": index,
            "sweep": self._read.sweep,
        }


def forget_registrations(store: StateStore, before: datetime) -> None:
    """Delete changes older than that, and what was removed by them. Raises `StateError`."""
    old = REGISTRATION_CHANGES.c.not_after < before
    gone = REGISTRATIONS.c.gone.in_(select(REGISTRATION_CHANGES.c.id).where(old))
    store.execute(delete(REGISTRATIONS).where(gone))
    store.execute(delete(REGISTRATION_CHANGES).where(old))
