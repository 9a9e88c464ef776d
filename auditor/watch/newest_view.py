"""Newest view of a watch, for any number of readers that wait for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from auditor.errors import WatchEnded
from auditor.watch.view import WatchView

APART = 0.2
"""Seconds between two views, at least."""


class NewestView:
    """Newest view, inside one event loop; see `WatchViews`."""

    def __init__(self) -> None:
        self._newest: WatchView | None = None
        self._next = asyncio.Event()
        self._ended = False
        self._due: asyncio.TimerHandle | None = None
        self._shown_at = float("-inf")

    @property
    def newest(self) -> WatchView | None:
        """Newest view; None: nothing was read yet."""
        return self._newest

    def show(self, view: WatchView) -> None:
        """Show a view of a higher number than the one before."""
        self._newest = view
        self._wake()

    def show_soon(self, make: Callable[[], WatchView | None]) -> None:
        """Show what `make` makes, `APART` after the view before: at once, if that is long ago."""
        if self._due is not None:
            return
        loop = asyncio.get_running_loop()

        def show_now() -> None:
            self._due = None
            if (view := make()) is not None:
                self._shown_at = loop.time()
                self.show(view)

        self._due = loop.call_at(max(loop.time(), self._shown_at + APART), show_now)

    def end(self) -> None:
        """End all waiting: there is no further view."""
        if self._due is not None:
            self._due.cancel()
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._next.set()
        self._next = asyncio.Event()

    async def after(self, number: int) -> WatchView:
        """Wait for a view of a higher number. Raises `WatchEnded` when the watch ends first."""
        while self._newest is None or self._newest.number <= number:
            if self._ended:
                raise WatchEnded
            await self._next.wait()
        return self._newest
