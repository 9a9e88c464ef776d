"""A clock that is some seconds off, in the place of `datetime` in a module."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo


class _EveryTime(type):
    """Takes every datetime for an instance, as the module's own code does."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


def off_clock(off: Callable[[], float]) -> type[datetime]:
    """Makes the class whose `now` is so many seconds ahead of the true one."""

    class OffClock(datetime, metaclass=_EveryTime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=off())

    return OffClock
