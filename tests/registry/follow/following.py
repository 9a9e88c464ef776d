"""Stream of a followed registry's news, for tests that wait for the next one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from auditor.registry.follow.consul_follower import ConsulFollower
from auditor.registry.follow.datacenter_follower import WAIT
from auditor.registry.interface import FollowedRegistry, RegistryNews
from auditor.settings.consul import ConsulSettings

WITHIN = 20.0
"""Seconds for what takes milliseconds on an idle machine."""


class Stream:
    """News as they come. `latest` has the newest of each datacenter."""

    def __init__(self, news: AsyncGenerator[RegistryNews, None]) -> None:
        self._news = news
        self._next: asyncio.Task[RegistryNews] | None = None
        self.latest: dict[str, RegistryNews] = {}

    async def next(self, within: float = WITHIN) -> RegistryNews:
        """The next news."""
        found = await self.within(within)
        assert found is not None, f"no news in {within} s"
        return found

    async def within(self, seconds: float) -> RegistryNews | None:
        """The next news, if it comes in this time."""
        if self._next is None:
            self._next = asyncio.create_task(anext(self._news))
        done, _ = await asyncio.wait([self._next], timeout=seconds)
        if not done:
            return None
        news, self._next = self._next.result(), None
        self.latest[news.datacenter] = news
        return news

    async def until(self, holds: Any, within: float = WITHIN) -> RegistryNews:
        """The first news of which this holds."""
        deadline, seen = time.monotonic() + within, []
        while (news := await self.within(max(0.0, deadline - time.monotonic()))) is not None:
            if holds(news):
                return news
            seen.append(news)
        raise AssertionError(f"not in {within} s; only {seen}")

    async def end(self) -> None:
        """Close the stream."""
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._news.aclose()


@asynccontextmanager
async def following(registry: FollowedRegistry) -> AsyncIterator[Stream]:
    """Follow, until the block ends."""
    stream = Stream(registry.follow())
    try:
        yield stream
    finally:
        await stream.end()


def follower(url: str, token: str | None = None, wait: float = WAIT, **settings: Any) -> ConsulFollower:
    """A follower with these settings. wait: seconds for which Consul holds an answer back."""
    parsed = ConsulSettings.model_validate({"url": url, "timeout": 10.0, **settings})
    return ConsulFollower(parsed, SecretStr(token) if token is not None else None, wait=wait)


def names(news: RegistryNews) -> list[str]:
    """Names of the nodes that are registered."""
    return sorted(item.node.name for item in news.reading.registrations)
