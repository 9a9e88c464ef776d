"""Time limit of one call to a store, with its retries and the error when it runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from auditor.errors import NotConfirmed, StoreError

T = TypeVar("T")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
"""Seconds between two attempts; each pause is twice the one before."""


class CallBudget:
    """Time limit of one call, in which reads are retried. Remembers whether a write is in doubt."""

    def __init__(
        self, what: str, timeout: float, clock: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        self._what = what
        self._clock = clock
        self._sleep = pause
        self._deadline = clock() + timeout
        self._wait = FIRST_PAUSE
        self.in_doubt = False
        """Whether a write was sent without an answer, so that it may have been applied."""

    def read(self, ask: Callable[[], T]) -> T:
        """Return what `ask` reads, retried until the time is over. Raises `NotConfirmed`."""
        wait = FIRST_PAUSE  # of this read alone: that an earlier one had to wait says nothing of this one
        while True:
            try:
                return ask()
            except StoreError as error:
                wait = self._again(error, wait)

    def doubt(self, error: StoreError) -> None:
        """Note a failed write and pause, so that the next read sees what was applied. Raises `NotConfirmed`."""
        # What was refused for good was not done. All else may have been, now or a little later.
        self.in_doubt = self.in_doubt or not error.permanent
        self._wait = self._again(error, self._wait)

    def check(self) -> None:
        """Raise `NotConfirmed` if the time is over; called after a refused transaction, which needs no pause."""
        if self._clock() > self._deadline:
            self._give_up("other writers were always first")

    def _again(self, error: StoreError, wait: float) -> float:
        """Pause, and return the next pause in seconds."""
        if error.permanent or self._clock() + wait > self._deadline:
            self._give_up(str(error))
        self._sleep(wait)
        return min(wait * 2, LONGEST_PAUSE)

    def _give_up(self, why: str) -> NoReturn:
        state = (
            "a write was sent, and it is not known whether it came through: repeat the call, it finds out"
            if self.in_doubt
            else "nothing was written"
        )
        raise NotConfirmed(f"{self._what}: {why}; {state}")
