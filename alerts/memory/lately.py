"""What was told lately, read for a page: the newest notifications, and how long the first word on an incident took."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from alerts.memory.notices import Row, read_row
from auditor.values.text import stored_time

NEWEST = """
    SELECT * FROM alerts_notices WHERE state <> 'closed' ORDER BY at DESC, id DESC LIMIT ?
"""
FIRST_WORDS = """
    SELECT arrived_at, min(at) AS accepted_at FROM alerts_notices
    WHERE arrived_at >= ? AND state = 'accepted' GROUP BY fingerprint, arrived_at ORDER BY accepted_at
"""


class FirstWord(NamedTuple):
    """First word on an incident that somebody took. Times are in UTC."""

    arrived_at: datetime
    """Time when the cause of it had arrived here."""
    accepted_at: datetime

    @property
    def seconds(self) -> float:
        """Time between the two."""
        return max((self.accepted_at - self.arrived_at).total_seconds(), 0.0)


def newest_notices(connection: sqlite3.Connection, most: int) -> list[Row]:
    """Read the notifications that changed their state last, newest first. Raises SQLite's errors and `StateError`."""
    return [read_row(row) for row in connection.execute(NEWEST, (most,))]


def first_words(connection: sqlite3.Connection, since: datetime) -> Iterator[FirstWord]:
    """Read the first words on causes that arrived since then, one at a time. Raises SQLite's errors."""
    for arrived_at, accepted_at in connection.execute(FIRST_WORDS, (stored_time(since),)):
        yield FirstWord(datetime.fromisoformat(arrived_at), datetime.fromisoformat(accepted_at))
