"""Values that are costly to make: each made once, in a thread, for all who ask meanwhile."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Made = TypeVar("Made")


class OnceEach(Generic[Key, Made]):
    """Values by key: the newest few are kept; one at a time is made."""

    def __init__(self, most: int) -> None:
        """most: values that are kept."""
        self._most = most
        self._tasks: OrderedDict[Key, asyncio.Task[Made]] = OrderedDict()
        self._turn = asyncio.Lock()

    async def get(self, key: Key, make: Callable[[], Made]) -> Made:
        """Return the value of a key, which is made in a thread unless it was. Raises what `make` raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._make(make))
            while len(self._tasks) > self._most:
                self._tasks.popitem(last=False)
        try:
            # Who goes away leaves the others their value.
            return await asyncio.shield(task)
        except Exception:
            if self._tasks.get(key) is task:
                del self._tasks[key]
            raise

    async def _make(self, make: Callable[[], Made]) -> Made:
        async with self._turn:
            return await asyncio.to_thread(make)
