"""Pulse of a daemon's working loop: when it last turned, for who must know whether it still does."""

from __future__ import annotations

import time
from collections.abc import Callable

SICK_AFTER = 30.0
"""Seconds without a turn after which the loop counts as stuck. It turns each few seconds, whatever happens."""


class Pulse:
    """Pulse of one loop: `beat` at each of its turns, and nowhere else."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with a beat. clock: gives seconds."""
        self._clock = clock
        self._beats = 0
        self._last = clock()

    def beat(self) -> None:
        """Say that the loop has turned once more."""
        self._beats += 1
        self._last = self._clock()

    @property
    def beats(self) -> int:
        """Number of turns so far: it grows while the loop makes progress."""
        return self._beats

    @property
    def age(self) -> float:
        """Seconds since the last turn."""
        return self._clock() - self._last

    @property
    def healthy(self) -> bool:
        """Tell whether the loop turned lately."""
        return self.age < SICK_AFTER
