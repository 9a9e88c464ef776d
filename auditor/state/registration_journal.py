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
        shown = present[datacenter]
        read = _Read(store, datacenter, shown, before, report.finished_at, ChangeSource.SWEEP, sweep=sweep)
        read.keep(report.started_at, suspect=suspect)


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
    read = _Read(store, datacenter, present, before, not_after, source, index=index)
    read.keep(not_after, suspect=False)


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


def _is_older(ended: datetime, before: datetime) -> bool:
    """Tell whether a sweep ended before the last stored reading. A clock that was put back makes nothing older."""
    return timedelta(0) < before - ended < LONGEST_OVERTAKEN


def _whole(report: Report, datacenters: Collection[str]) -> list[str]:
    unread = {gap.datacenter or "" for gap in report.gaps if gap.hides_registrations}
    return [] if "" in unread else sorted(set(datacenters) - unread)


@dataclass(frozen=True, slots=True)
class _Read:
    """Reading of one datacenter, when it was, and where the newest forms are stored that it is compared with."""

    store: StateStore
    datacenter: str
    present: _Present
    before: datetime | None
    """Time since which what is new may have been so; None: all is only taken down."""
    ended: datetime
    source: ChangeSource
    sweep: int | None = None
    index: int | None = None
    """Consul's index of the reading, for a removal, which leaves none of its own."""

    def keep(self, began: datetime, *, suspect: bool) -> None:
        """Store all that differs, and the reading. suspect: the registry may have shown too little."""
        rows = self.store.rows_of(REGISTRATIONS.name, {"datacenter": self.datacenter})
        known = {row["node"]: _row(row) for row in rows}
        changed = self._take(known)
        self._miss(known, suspect=suspect, changed=changed)
        times = {"first_at": began, "last_began_at": began}
        read = self.store.insert(REGISTRY_READS).values(datacenter=self.datacenter, **times)
        newer = {"last_began_at": began}
        self.store.execute(read.on_conflict_do_update(index_elements=["datacenter"], set_=newer))

    def _take(self, known: Mapping[str, _Row]) -> int:
        """Store registrations that are new or not as before; return the number of changes."""
        forms: list[Mapping[str, object]] = []
        changes: list[Mapping[str, object]] = []
        for name, item in self.present.registrations.items():
            row, body = known.get(name), body_of(item)
            if row is not None and row.body == body and row.missing_not_after is None:
                continue
            forms.append({"datacenter": self.datacenter, "node": name, "body": body})
            if self.before is None:
                continue
            change = {"node": name, "after": body, "not_before": self.before, "not_after": self.ended}
            change["consul_index"] = item.modify_index
            if row is None or row.gone is not None:
                changes.append(self._change(RegistrationChangeKind.ADDED, before=None, **change))
            elif changed_fields(read_body(item.node, row.body), item):
                changes.append(self._change(RegistrationChangeKind.CHANGED, before=row.body, **change))
        newest = self.store.insert(REGISTRATIONS)
        found = {
            "body": newest.excluded.body,
            "missing_not_before": None,
            "missing_not_after": None,
            "gone": None,
        }
        key = ["datacenter", "node"]
        self.store.execute(newest.on_conflict_do_update(index_elements=key, set_=found), forms)
        self.store.execute(insert(REGISTRATION_CHANGES), changes)
        return len(changes)

    def _miss(self, known: Mapping[str, _Row], *, suspect: bool, changed: int) -> None:
        """Store which registrations are missing, and remove those that nothing speaks for any more."""
        present = self.present.registrations.keys() | self.present.unreadable
        registered = {name: row for name, row in known.items() if row.gone is None}
        missing = {name: row for name, row in registered.items() if name not in present}
        shrunk = len(missing) >= FEWEST_MISSING and len(missing) > SHRINK_SHARE * len(registered)
        # News come twice a second, perhaps: only a sweep is a second reading that counts.
        read_again = self.sweep is not None
        index = self.index if not changed and len(missing) == 1 else None
        rows: list[Mapping[str, object]] = []
        for name, row in missing.items():
            times = {
                "not_before": row.missing_not_before or self.before or self.ended,
                "not_after": row.missing_not_after or self.ended,
            }
            number = None
            if not suspect and (read_again if row.missing_not_after is not None else not shrunk):
                removed = {"node": name, "before": row.body, "after": None, "consul_index": index, **times}
                change = self._change(RegistrationChangeKind.REMOVED, **removed)
                number = self.store.add(insert(REGISTRATION_CHANGES).values(change))
            rows.append({"name": name, "number": number, **times})
        columns = REGISTRATIONS.c
        lost = update(REGISTRATIONS).where(
            columns.datacenter == self.datacenter, columns.node == bindparam("name")
        )
        noted = {"missing_not_before": "not_before", "missing_not_after": "not_after", "gone": "number"}
        self.store.execute(lost.values({name: bindparam(value) for name, value in noted.items()}), rows)

    def _change(self, kind: RegistrationChangeKind, **values: object) -> Mapping[str, object]:
        read = {"datacenter": self.datacenter, "seen_by": self.source, "sweep": self.sweep}
        return {"kind": kind, **read, **values}


def forget_registrations(store: StateStore, before: datetime) -> None:
    """Delete changes older than that, and what was removed by them. Raises `StateError`."""
    old = REGISTRATION_CHANGES.c.not_after < before
    gone = REGISTRATIONS.c.gone.in_(select(REGISTRATION_CHANGES.c.id).where(old))
    store.execute(delete(REGISTRATIONS).where(gone))
    store.execute(delete(REGISTRATION_CHANGES).where(old))
