"""Stored notifications, each with its life so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerts.memory.forms import INCIDENT
from alerts.models import LogEntry, Notification
from auditor.values.stored_values import StoredRow, row_reader

MAX_DETAIL = 500
"""Characters of an answer that are kept."""


class State(StrEnum):
    """Stage of a notification in its delivery."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DEAD = "dead"
    DROPPED = "dropped"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Row:
    """One notification with its life so far."""

    id: int
    notification: Notification
    state: State
    created_at: datetime
    at: datetime
    """Time when it came to its state, or was last tried."""
    attempts: int
    """Number of calls begun for it, those of unknown outcome included."""
    detail: str
    """Last answer of the other side; "" before the first attempt."""
    unclear: bool
    """True: it may have arrived though it was not recorded as accepted: some call ended without a clear no."""
    stale: bool = False
    """True: a dead letter that something newer replaced, so that it must not be sent any more."""


@dataclass(frozen=True, slots=True)
class FirstWord:
    """First word on an incident that somebody took. Times are in UTC."""

    arrived_at: datetime
    """Time when the cause of it had arrived here."""
    accepted_at: datetime

    @property
    def seconds(self) -> float:
        """Time between the two."""
        return max((self.accepted_at - self.arrived_at).total_seconds(), 0.0)


read_first_word = row_reader(FirstWord)
_NOTIFICATION, _ROW = row_reader(Notification, at="created_at"), row_reader(Row)


def read_row(row: StoredRow) -> Row:
    """Read one row of the table `alerts_notices`. Raises `StateError`."""
    notification = _NOTIFICATION({**row, "incident": INCIDENT.read(row["body"])})
    return _ROW({**row, "notification": notification, "unclear": row["attempts"] > row["declined"]})


def entry(row: Row) -> LogEntry:
    """Make the log entry of the last notification of an incident to a notifier."""
    incident = row.notification.incident
    return LogEntry(
        notifier=row.notification.notifier,
        fingerprint=incident.fingerprint,
        status=row.notification.status,
        severity=incident.severity,
        nodes=incident.nodes,
        # A waiting notification counts from when it was written down: trying again is not notifying again.
        sent_at=row.created_at if row.state is State.PENDING else row.at,
        incident=incident,
    )
