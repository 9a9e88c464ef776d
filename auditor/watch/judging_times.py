"""PURE: times at which a watch judges: when news have come to rest, never long after the first, never all the time."""

from __future__ import annotations

QUIET = 0.2
"""Seconds without news after which they are judged."""
MOST_DELAY = 1.0
"""Seconds after the first news after which they are judged, whatever still comes."""
HOLD = 3.0
"""Seconds for which a judgement waits for a second reading of what changed in the registry."""
APART = 5.0
"""Seconds between two judgements while nodes are heard of for the first time, at least."""
SHARE = 0.1
"""Share of the time that judging takes then, at most: all the rest is for nodes to be connected."""


class JudgingTimes:
    """Times of judgements. All times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._held_since: float | None = None
        self._ended = float("-inf")
        self._took = 0.0

    def news(self, now: float, *, unconfirmed: bool) -> bool:
        """Note news that are to be judged; tell whether they are the first. unconfirmed: some are read once more."""
        is_first, self._last = self._first is None, now
        if is_first:
            self._first = now
        self._held_since = (self._held_since or now) if unconfirmed else None
        return is_first

    def begin(self) -> None:
        """Begin a judgement of all news so far."""
        self._first = self._held_since = None

    def end(self, began: float, now: float) -> None:
        """Note the end of a judgement. As long a rest follows, so that judging takes half of the time at most."""
        self._ended, self._took = now, now - began

    def due(self, *, starting: bool) -> float | None:
        """Time of the next judgement, as far as is known; None: there are no news.

        starting: nodes are heard of for the first time, one after the other.
        """
        if self._first is None:
            return None
        at = min(self._last + QUIET, self._first + MOST_DELAY)
        if self._held_since is not None:
            at = max(at, self._held_since + HOLD)
        rest = max(APART, self._took / SHARE) if starting else self._took
        return max(at, self._ended + rest)
