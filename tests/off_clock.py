"""A clock that is some seconds off, in the place of `datetime` in a module."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo


def off_clock(off: Callable[[], float]) -> type[datetime]:
    """Makes the class whose `now` is so many seconds ahead of the true one."""

    class OffClock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=off())

    return OffClock
