"""Rhythm of asking: a growing pause after failures, and a bound on how often answers are read."""

from __future__ import annotations

import random

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two tries while a registry cannot be read."""
LONGEST_ASKED = 25.0
"""Seconds for which the other side is left alone where it asks for it: what befell it must be noticed within 35 s."""


class Pauses:
    """Pauses after failures in a row: 0.1 s, doubling to 5 s, less a random part so that many do not come at once."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Begin anew: something was read."""
        self._failures = 0

    def after_failure(self, asked_for: float | None = None) -> float:
        """Return the seconds to wait now. asked_for: seconds for which the other side asked to be left alone."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return max(longest * random.uniform(0.5, 1.0), min(asked_for or 0.0, LONGEST_ASKED))  # noqa: S311


class AnswerBudget:
    """Bound on answers: a few at once, then so many a second, for each may be megabytes that must be read."""

    def __init__(self, at_once: int = 4, per_second: float = 2.0) -> None:
        self._most = float(at_once)
        self._rate = per_second
        self._left = self._most
        self._at: float | None = None

    def take(self, now: float) -> float:
        """Take one answer at this time, in seconds of a steady clock; return the seconds to wait before it."""
        if self._at is not None:
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1.0
        return max(0.0, -self._left / self._rate)
