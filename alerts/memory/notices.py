"""One notification with its life so far, as the store keeps it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerts.memory.forms import read_incident
from alerts.models import LogEntry, Notification, NotifyReason, Status
from auditor.errors import StateError

MAX_DETAIL = 500
"""Characters of an answer that are kept."""


class State(StrEnum):
    """Where a notification is."""

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
    """When it came to its state, or was last tried."""
    attempts: int
    """How many calls were begun for it, the one that nobody knows the end of included."""
    detail: str
    """What the other side said last; "" before the first attempt."""
    unclear: bool
    """It may have arrived though it was not recorded as taken: some call ended without a clear no."""
    stale: bool = False
    """Only of dead letters: something newer took its place, so it must not be sent any more."""


def read_row(row: sqlite3.Row) -> Row:
    """Read one row of the table `alerts_notices`. Raises `StateError`."""
    try:
        return _row(row)
    except (ValueError, TypeError) as error:
        raise StateError(
            f"the state database holds a record that cannot be read ({type(error).__name__})"
        ) from None


def _row(row: sqlite3.Row) -> Row:
    notification = Notification(
        row["notifier"],
        NotifyReason(row["reason"]),
        Status(row["status"]),
        read_incident(row["body"]),
        datetime.fromisoformat(row["created_at"]),
    )
    return Row(
        id=row["id"],
        notification=notification,
        state=State(row["state"]),
        created_at=datetime.fromisoformat(row["created_at"]),
        at=datetime.fromisoformat(row["at"]),
        attempts=row["attempts"],
        detail=row["detail"],
        unclear=row["attempts"] > row["declined"],
    )


def entry(row: Row) -> LogEntry:
    """What its notifier knows of the incident, if this is the last that there is for both."""
    incident = row.notification.incident
    return LogEntry(
        notifier=row.notification.notifier,
        fingerprint=incident.fingerprint,
        status=row.notification.status,
        severity=incident.severity,
        nodes=incident.nodes,
        # What waits counts from when it was written down: trying again is not telling again.
        sent_at=row.created_at if row.state is State.PENDING else row.at,
        incident=incident,
    )
