"""News that nobody took yet: the newest of each datacenter, with all that befell it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

_LONGEST_EVENT = 2000
"""Characters that are kept of what befell a datacenter whose news nobody takes."""

if TYPE_CHECKING:
    from auditor.registry.interface import RegistryNews


class UntakenNews:
    """News on their way from followers to whoever takes them, on one event loop."""

    def __init__(self) -> None:
        self._news: dict[str, RegistryNews] = {}
        self._broken: BaseException | None = None
        self._some = asyncio.Event()

    def tell(self, news: RegistryNews) -> None:
        """Add news; what was told before of the datacenter, and not taken, is joined with it."""
        earlier = self._news.pop(news.datacenter, None)
        self._news[news.datacenter] = news if earlier is None else _joined(earlier, news)
        self._some.set()

    def fail_with(self, ended: asyncio.Task[None]) -> None:
        """Have the next take raise what ended the followers: a fault of the program, never of the other side."""
        if not ended.cancelled():
            self._broken = ended.exception() or RuntimeError("the followers of the registry have ended")
            self._some.set()

    async def take(self) -> RegistryNews:
        """Wait for news and take them. Raises what the followers broke at."""
        await self._some.wait()
        if self._broken is not None:
            raise self._broken
        news = self._news.pop(next(iter(self._news)))
        if not self._news:
            self._some.clear()
        return news


def _joined(earlier: RegistryNews, later: RegistryNews) -> RegistryNews:
    new = later.event if later.event not in earlier.event else ""
    events = [one for one in (earlier.event, new) if one]
    return replace(
        later,
        before_at=earlier.before_at,
        # Together they were written between the two answers, which may lie far apart.
        woken=earlier.woken and later.woken,
        event="; ".join(events)[-_LONGEST_EVENT:],
    )
