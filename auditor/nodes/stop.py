"""Early end of work that asks many nodes, such as a sweep: asked for by an interrupt, or due at a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

INTERRUPTED = "interrupted"
DEADLINE = "deadline"

T = TypeVar("T")


class Stop:
    """Early end of a sweep, and its reason. Close it when the sweep is over.

    `deadline`: seconds from now, None for no bound. `interrupt`: an event of the caller that ends the sweep too.
    """

    def __init__(self, deadline: float | None = None, interrupt: asyncio.Event | None = None) -> None:
        self._event = interrupt or asyncio.Event()
        self._expired = False
        self._timer: asyncio.TimerHandle | None = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_later(deadline, self._expire)

    def _expire(self) -> None:
        self._expired = not self._event.is_set()
        self._event.set()

    @property
    def reason(self) -> str | None:
        """Reason of the end: `interrupted` or `deadline`, the first of them. None: the sweep may go on."""
        if not self._event.is_set():
            return None
        return DEADLINE if self._expired else INTERRUPTED

    def is_set(self) -> bool:
        """Tell whether the sweep must end now."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the sweep must end."""
        await self._event.wait()

    def close(self) -> None:
        """Cancel the deadline's timer."""
        if self._timer is not None:
            self._timer.cancel()

    async def bound(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await the work. Returns its result, or None if the stop came first; then the work was cancelled."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            return None
        finally:
            for leftover in (task, stopping):
                leftover.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)
