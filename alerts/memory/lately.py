"""What was told lately, read for a page: the newest notifications, and how long the first word on an incident took."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from alerts.memory.notices import Row, State, read_row
from alerts.memory.state_access import StateAccess
from alerts.memory.tables import alerts_notices as notices
from auditor.values.text import stored_time

NEWEST = (
    select(notices).where(notices.c.state != State.CLOSED).order_by(notices.c.at.desc(), notices.c.id.desc())
)
FIRST_WORDS = (
    select(notices.c.arrived_at, func.min(notices.c.at).label("accepted_at"))
    .where(notices.c.state == State.ACCEPTED)
    .group_by(notices.c.fingerprint, notices.c.arrived_at)
    .order_by("accepted_at")
)

_PERHAPS_TWICE = (
    select(notices.c.notifier, func.count().label("number"))
    .where(notices.c.state == State.ACCEPTED, notices.c.attempts - notices.c.declined > 1)
    .group_by(notices.c.notifier)
)


class FirstWord(NamedTuple):
    """First word on an incident that somebody took. Times are in UTC."""

    arrived_at: datetime
    """Time when the cause of it had arrived here."""
    accepted_at: datetime

    @property
    def seconds(self) -> float:
        """Time between the two."""
        return max((self.accepted_at - self.arrived_at).total_seconds(), 0.0)


def newest_notices(state: StateAccess, most: int) -> list[Row]:
    """Read the notifications that changed their state last, newest first. Raises `StateError`."""
    return [read_row(row) for row in state.rows(NEWEST.limit(most))]


def first_words(state: StateAccess, since: datetime) -> Iterator[FirstWord]:
    """Read the first words on causes that arrived since then. Raises `StateError`."""
    for row in state.rows(FIRST_WORDS.where(notices.c.arrived_at >= stored_time(since))):
        yield FirstWord(datetime.fromisoformat(row["arrived_at"]), datetime.fromisoformat(row["accepted_at"]))


def perhaps_twice(state: StateAccess) -> dict[str, int]:
    """Count, by notifier, the notifications that it took and of which another call may have arrived, too.

    Raises `StateError`.
    """
    return {row["notifier"]: row["number"] for row in state.rows(_PERHAPS_TWICE)}
