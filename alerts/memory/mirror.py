"""Copy of alerting's memory for a database that is away: kept beside it, gone on with, and brought back to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Table, bindparam, delete, func, insert, or_, select, update

from alerts.memory import notice_statements as statements
from alerts.memory.notices import State
from alerts.memory.state_access import StateAccess
from alerts.memory.tables import TABLES, alerts_memory, alerts_notices, alerts_silences
from alerts.memory.told_meanwhile import KnownCalls, told_meanwhile
from auditor.values.text import stored_time

MOST_AT_ONCE = 500
"""Notifications in one question."""
_OF_PLANS = [table for table in TABLES.sorted_tables if table not in (alerts_notices, alerts_silences)]
"""Tables that each plan writes anew."""
_id = alerts_notices.c.id
# Each from an index: it is asked for every few seconds.
_STAMP = select(
    select(alerts_memory.c.sweep).scalar_subquery().label("sweep"),
    select(func.max(_id)).scalar_subquery().label("newest"),
    select(func.count())
    .select_from(alerts_notices)
    .where(alerts_notices.c.state == State.PENDING.value)
    .scalar_subquery()
    .label("waiting"),
)
_COUNTED = {
    "attempts": alerts_notices.c.attempts + bindparam("calls"),
    "declined": alerts_notices.c.declined + bindparam("noes"),
}
_COUNT = update(alerts_notices).where(_id == bindparam("this")).values(_COUNTED)
_MOVE = (
    update(alerts_notices)
    .where(_id == bindparam("this"), alerts_notices.c.state == State.PENDING.value)
    .values({**_COUNTED, "state": bindparam("becomes"), "detail": bindparam("said"), "at": bindparam("now")})
)


class MemoryStamp(NamedTuple):
    """Mark of a memory: where it differs, something was planned or delivered."""

    sweep: int | None
    newest: int | None
    waiting: int


def stamp_of(store: StateAccess) -> MemoryStamp:
    """Read the mark of a memory. Raises `StateError`."""
    row = store.first(_STAMP)
    assert row is not None  # noqa: S101  (an aggregate always has one)
    return MemoryStamp(row["sweep"], row["newest"], row["waiting"])


class Mirror:
    """Copy of alerting's memory. All its methods raise `StateError`."""

    def __init__(self, store: StateAccess) -> None:
        """store: an empty state in memory, which holds the copy."""
        self.store = store
        self.stamp: MemoryStamp | None = None
        """Mark of the memory when it was copied; None: it was not yet."""
        self._known: Mapping[int, KnownCalls] = {}

    def renew(self, source: StateAccess, since: datetime) -> None:
        """Copy the memory, with what waits, the newest word on each incident, and all notifications since then."""
        limit = stored_time(since)
        notices = select(alerts_notices).where(
            or_(
                alerts_notices.c.state == State.PENDING.value,
                alerts_notices.c.at >= limit,
                _id.in_(select(statements.LATEST.params(since=limit).subquery().c.id)),
            )
        )
        with source.reading():
            stamp = stamp_of(source)
            rows = {
                table: [dict(row) for row in source.rows(select(table))]
                for table in (*_OF_PLANS, alerts_silences)
            }
            rows[alerts_notices] = [dict(row) for row in source.rows(notices.order_by(_id))]
        with self.store.transaction():
            for table, found in rows.items():
                _replace(self.store, table, found)
        self.stamp = stamp
        self.begin_alone()

    def begin_alone(self) -> None:
        """Note what is on record in the database, too: from here on, this copy alone knows what is told."""
        self._known = {
            row["id"]: KnownCalls(row["attempts"], row["declined"])
            for row in self.store.rows(select(alerts_notices))
        }

    def bring_back(self, target: StateAccess, *, plans: bool) -> None:
        """Write what was told and planned meanwhile into the database; nothing of another auditor's is overwritten.

        plans: whether this auditor leads. Then its plans count, if no other one planned or told anything meanwhile.
        """
        newest = (self.stamp.newest if self.stamp is not None else None) or 0
        mine = [dict(row) for row in self.store.rows(select(alerts_notices).order_by(_id))]
        known = list(self._known)
        with target.transaction():
            led = plans and self.stamp is not None and stamp_of(target)[:2] == self.stamp[:2]
            theirs = [dict(row) for row in target.rows(select(alerts_notices).where(_id > newest))]
            for start in range(0, len(known), MOST_AT_ONCE):
                some = known[start : start + MOST_AT_ONCE]
                theirs += map(dict, target.rows(select(alerts_notices).where(_id.in_(some), _id <= newest)))
            theirs.sort(key=lambda row: row["id"])
            changes = told_meanwhile(self._known, mine, theirs, led=led)
            target.execute(_MOVE, changes.moved)
            target.execute(_COUNT, changes.counted)
            target.execute(insert(alerts_notices), changes.added)
            if led:
                for table in _OF_PLANS:
                    _replace(target, table, [dict(row) for row in self.store.rows(select(table))])


def _replace(store: StateAccess, table: Table, rows: list[dict[str, object]]) -> None:
    store.execute(delete(table))
    store.execute(insert(table), rows)
