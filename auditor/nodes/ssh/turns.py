"""Turns at a host, and the timeout for connecting to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class Turns:
    """Lets at most so many in at one place at a time; the others wait, first come first served."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, _Place] = {}

    @asynccontextmanager
    async def at(self, place: str) -> AsyncIterator[None]:
        """Hold a turn at the place while the block runs. The wait for it is bounded by the others' turns alone."""
        found = self._places.setdefault(place, _Place(asyncio.Semaphore(self._most)))
        found.users += 1
        try:
            async with found.turns:
                yield
        finally:
            found.users -= 1
            if not found.users:
                del self._places[place]


@dataclass(slots=True)
class _Place:
    turns: asyncio.Semaphore
    users: int = 0


class ConnectWait:
    """Seconds for connecting and logging in: all of them the first time, half of them after a timeout.

    A node that did not answer is asked once more, and half of them do not. Two attempts and the pause between
    them so end within twice the time that one may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._silent: set[str] = set()

    def seconds(self, destination: str) -> float:
        """Return the seconds for the next attempt to reach a destination."""
        return self._seconds / 2 if destination in self._silent else self._seconds

    def timed_out(self, destination: str) -> None:
        """Note that the last attempt ended at its timeout."""
        self._silent.add(destination)

    def answered(self, destination: str) -> None:
        """Note that the last attempt got an answer: the next one has all its time again."""
        self._silent.discard(destination)
