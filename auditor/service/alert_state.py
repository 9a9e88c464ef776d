"""State of audit and alerts together: history and notification log in one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from alerts.memory import notification_log
from alerts.memory.notification_log import NotificationLog
from auditor.state import history
from auditor.state.database import Connection, connected_to_look, open_existing_state, open_state
from auditor.values.guide import INSTALLED, Guide

MIGRATIONS = {history.PART: history.MIGRATIONS, notification_log.PART: notification_log.MIGRATIONS}


class AlertState(NamedTuple):
    """Opened state: `transaction(connection)` covers history and notifications alike."""

    connection: Connection
    notifications: NotificationLog


@contextmanager
def opened_state(path: Path) -> Iterator[AlertState]:
    """Open the state; create it where there is none. Raises `StateError`."""
    with closing(open_state(path, MIGRATIONS)) as connection:
        yield AlertState(connection, NotificationLog(connection))


@contextmanager
def existing_state(path: Path) -> Iterator[AlertState | None]:
    """Open the state to read it; None where there is none yet. Creates nothing. Raises `StateError`."""
    connection = open_existing_state(path, MIGRATIONS)
    if connection is None:
        yield None
        return
    with closing(connection):
        yield AlertState(connection, NotificationLog(connection))


@contextmanager
def state_to_look_at(path: Path) -> Iterator[AlertState]:
    """Open a state that this process holds open elsewhere, to read it in another thread. Raises `StateError`."""
    with closing(connected_to_look(path)) as connection:
        yield AlertState(connection, NotificationLog(connection))


def no_state(path: Path, guide: Guide = INSTALLED) -> str:
    """Say that there is no state yet, and which command creates it."""
    return f"there is no state database {path} yet: {guide.mention('sweep', '--alert')} makes it"
