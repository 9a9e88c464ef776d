"""Notification log whose deliveries are marked in a mirror, too: what was sent is known when the database is away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alerts.memory.notices import Row
from alerts.memory.notification_log import NotificationLog
from alerts.memory.state_access import StateAccess


class MirroredLog(NotificationLog):
    """Notification log of a database, and of its mirror.

    What became of a call is marked in the mirror even where the database cannot take it: else it would be sent again.
    """

    def __init__(self, store: StateAccess, mirror: StateAccess) -> None:
        super().__init__(store)
        self._mirror = NotificationLog(mirror)

    def calling(self, rows: Sequence[Row]) -> None:
        """See `NotificationLog`."""
        super().calling(rows)
        self._mirror.calling(rows)

    def declined(self, rows: Sequence[Row]) -> None:
        """See `NotificationLog`."""
        try:
            super().declined(rows)
        finally:
            self._mirror.declined(rows)

    def unanswered(self, rows: Sequence[Row]) -> dict[int, int]:
        """See `NotificationLog`."""
        try:
            return super().unanswered(rows)
        finally:
            self._mirror.unanswered(rows)

    def accepted(self, rows: Sequence[Row], detail: str, now: datetime) -> None:
        """See `NotificationLog`."""
        try:
            super().accepted(rows, detail, now)
        finally:
            self._mirror.accepted(rows, detail, now)

    def refused(self, rows: Sequence[Row], detail: str, now: datetime) -> None:
        """See `NotificationLog`."""
        try:
            super().refused(rows, detail, now)
        finally:
            self._mirror.refused(rows, detail, now)

    def postponed(self, rows: Sequence[Row], detail: str, not_before: datetime | None, now: datetime) -> None:
        """See `NotificationLog`."""
        try:
            super().postponed(rows, detail, not_before, now)
        finally:
            self._mirror.postponed(rows, detail, not_before, now)
