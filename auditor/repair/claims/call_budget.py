"""How long one call may ask a store that does not answer, and what it may say when it gives up."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from auditor.errors import NotConfirmed, StoreError

T = TypeVar("T")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
"""Seconds between two attempts; each pause is twice the one before."""


class CallBudget:
    """The time that one call has, and what it was last told: reads are asked again until it is over."""

    def __init__(
        self, what: str, timeout: float, clock: Callable[[], float], pause: Callable[[float], None]
    ) -> None:
        self._what = what
        self._clock = clock
        self._sleep = pause
        self._deadline = clock() + timeout
        self._wait = FIRST_PAUSE
        self.in_doubt = False
        """A write was sent of which the store has not said what became of it."""

    def read(self, ask: Callable[[], T]) -> T:
        """What the store says; asked again while it does not answer. Raises `NotConfirmed` at the end."""
        wait = FIRST_PAUSE  # of this read alone: that an earlier one had to wait says nothing of this one
        while True:
            try:
                return ask()
            except StoreError as error:
                wait = self._again(error, wait)

    def doubt(self, error: StoreError) -> None:
        """A write failed. Waits a little, so that the read that follows finds it if it came through."""
        # What was refused for good was not done. All else may have been, now or a little later.
        self.in_doubt = self.in_doubt or not error.permanent
        self._wait = self._again(error, self._wait)

    def check(self) -> None:
        """A transaction was refused: no reason to wait, but an end must come."""
        if self._clock() > self._deadline:
            self._give_up("other writers were always first")

    def _again(self, error: StoreError, wait: float) -> float:
        """Waits; returns the next pause."""
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
