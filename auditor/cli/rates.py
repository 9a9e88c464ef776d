"""PURE: rate of a sweep and time left, measured and in words."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from auditor.values.text import count, duration

LONG_VIEW, SHORT_VIEW = 10.0, 3.0
"""Seconds that a rate is taken over: the long view is steady; the short one is shown while a phase is young,
for a fan-out starts slowly, and sees at the end that the long one holds no more."""
STALLED = 5.0
"""Seconds without an answer after which no rate and no time left is shown: they would be guesses."""
_DUE = 4.0
"""Number of answers overdue at the present rate that mean the same, sooner, but not within the first second."""
_ENOUGH = 10.0
"""Answers that the short view must be able to expect before it may doubt the long one."""
_FORESIGHT = 20.0
"""Multiple of a young phase's age above which its time left is not shown."""
_LATE = 3.0
"""Seconds after which a phase's first gap tells how long it takes to give a node up."""


Clock = Callable[[], float]
"""Seconds, never going back."""


class Reading(NamedTuple):
    """Rate and time left at one moment."""

    rate: float = 0.0
    """Nodes a second; 0.0 where that is not what matters."""
    left: float | None = None
    """Seconds until the last node is done; None where that would be a wish."""
    silent: float | None = None
    """Seconds without an answer, where that is what matters."""


class RateMeter:
    """Meter of the rate of the last seconds, from the counts at intervals; it does nothing for each node.

    A fan-out starts slowly, and nodes that hang are given up together: an average since the start would be
    wrong most of the time. In the end a few are waited for that hang: no rate says how long that takes.
    """

    def __init__(self, now: float) -> None:
        self._began = self._changed = now
        self._looks: deque[tuple[float, int]] = deque(((now, 0),))
        self._giving_up: float | None = None
        """Seconds until the first gap; None before it."""

    def look(self, done: int, gaps: int, total: int, now: float) -> Reading:
        """Read rate and time left for `total` nodes; `now` in seconds, never going back."""
        if done != self._looks[-1][1]:
            self._changed = now
        if gaps and self._giving_up is None:
            self._giving_up = now - self._began
        self._looks.append((now, done))
        while len(self._looks) > 2 and self._looks[1][0] <= now - LONG_VIEW:
            self._looks.popleft()
        age, silent = now - self._began, now - self._changed
        young = age < LONG_VIEW
        rate = self._rate(SHORT_VIEW if young else LONG_VIEW)
        if silent >= (min(STALLED, max(1.0, _DUE / rate)) if rate else STALLED):
            # Who answers late may hang until a timeout: nobody knows how long it takes.
            return Reading(silent=silent)
        if not rate:
            return Reading()
        left = (total - done) / rate
        if young and left > _FORESIGHT * age:
            return Reading(rate)
        expected = rate * SHORT_VIEW
        if left < STALLED and expected >= _ENOUGH and self._rate(SHORT_VIEW) * 2 < rate:
            return Reading()  # the last few answer more slowly than the thousands before them
        if self._giving_up is not None and self._giving_up > _LATE:
            left += self._giving_up  # among the last asked there will be some that hang, too
        return Reading(rate, left)

    def _rate(self, seconds: float) -> float:
        now, done = self._looks[-1]
        earlier = (look for look in reversed(self._looks) if look[0] <= now - seconds)
        then, before = next(earlier, self._looks[0])
        return (done - before) / (now - then) if now > then else 0.0


def pace_words(reading: Reading, left: int) -> tuple[str, ...]:
    """Word rate and time left (`412/s`, `25 s left`), or the nodes waited for; nothing where there are none."""
    if not left:
        return ()
    if reading.left is not None:
        return (rate_words(reading.rate), left_words(reading.left))
    if reading.rate:
        return (rate_words(reading.rate),)
    waiting = f"waiting for {count(left, 'node')}"
    if reading.silent is None:
        return (waiting,)
    return (waiting, f"no answer for {duration(reading.silent // 1, whole=True)}")


def rate_words(rate: float) -> str:
    """Word a rate: `412/s`; where it is slow, `0.4/s`."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def left_words(seconds: float) -> str:
    """Word the time left: `25 s left`, rounded up, so never nothing."""
    return f"{duration(max(1, math.ceil(seconds)), whole=True)} left"
