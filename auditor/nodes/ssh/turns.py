"""Taking turns at a host, and how long a host is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class Turns:
    """At most so many at one time at one place; the others wait, first come first served."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[str, _Place] = {}

    @asynccontextmanager
    async def at(self, place: str) -> AsyncIterator[None]:
        """A turn at the place while the block runs. The wait for it is bounded by the others' turns alone."""
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
    """Seconds for connecting and logging in: all of them the first time, half of them after a time in vain.

    A node that did not answer is asked once more, and half of them do not. Two attempts and the pause between
    them so end within twice the time that one may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._silent: set[str] = set()

    def of(self, way: str) -> float:
        """Seconds for the next attempt to go this way."""
        return self._seconds / 2 if way in self._silent else self._seconds

    def in_vain(self, way: str) -> None:
        """Nothing came of the last attempt in time."""
        self._silent.add(way)
