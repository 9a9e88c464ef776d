"""Protocol of a node source, and the store of the route tables that it finds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from auditor.errors import GapReason, ProbeError
from auditor.values.models import Observation, Registration, RouteTable

PATIENCE = 2.0
"""Seconds that those who share a digest wait for the one who fetches its table, before another asks as well."""


class TableStore:
    """Store of the route tables seen so far, each distinct one once, by digest.

    A table is fetched by the first node that shows its digest; others that show it meanwhile wait,
    and one of them fetches it if the first one fails, or has not come with it after `PATIENCE`. So the number
    of texts that cross the wire is the number of distinct tables, whatever the number of nodes.
    """

    def __init__(self) -> None:
        self.tables: dict[str, RouteTable] = {}
        self._fetching: dict[str, _Fetching] = {}
        self._respelled: dict[str, str] = {}

    def add(self, table: RouteTable) -> str:
        """Keep a table whose text is at hand. Returns its digest."""
        digest = table.digest
        self.tables.setdefault(digest, table)
        return digest

    def respelled(self, spelled: str, digest: str) -> None:
        """Note that a table which some nodes spell otherwise, with that digest, is the one with this digest."""
        self._respelled[spelled] = digest

    async def obtain(self, digest: str, fetch: Callable[[], Awaitable[RouteTable]]) -> str:
        """Make sure that the table of a digest is kept. Returns the digest, or that of the table `fetch` found instead.

        `fetch` is awaited only if no table has the digest yet. A table may change between digest and
        text; then the text counts, under its own digest.
        """
        digest = self._respelled.get(digest, digest)
        if digest in self.tables:
            return digest
        fetching = self._fetching.setdefault(digest, _Fetching())
        async with fetching.turn:
            digest = self._respelled.get(digest, digest)
            if digest in self.tables:
                return digest
            text = asyncio.ensure_future(fetch())
            if await _first(text, fetching.arrived, PATIENCE):
                return self._taken(text, digest, fetching)
        # A node that stalls holds nobody who shares its digest: the next one asks, and the first answer is everybody's.
        await _first(text, fetching.arrived, None)
        return self._taken(text, digest, fetching)

    def _taken(self, text: asyncio.Future[RouteTable], digest: str, fetching: _Fetching) -> str:
        """Keep the fetched table, or the one that another node fetched meanwhile, and wake the waiting fetches."""
        if not text.done():
            text.cancel()
            return self._respelled.get(digest, digest)
        found = self.add(text.result())
        if self._respelled.get(digest, digest) in self.tables and not fetching.arrived.done():
            fetching.arrived.set_result(None)
        return found


async def _first(
    text: asyncio.Future[RouteTable], arrived: asyncio.Future[None], seconds: float | None
) -> bool:
    """Wait for one of them; tell whether one is there. A cancel ends the fetch too."""
    both: set[asyncio.Future[Any]] = {text, arrived}
    try:
        done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        text.cancel()
        raise
    return bool(done)


class _Fetching:
    """Fetching of one table: whose turn it is to ask, and whether it has come."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class NodeSource(Protocol):
    """Looks at single nodes. One implementation speaks SSH."""

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Take the whole registry, before any node is asked: no node is reached by one of its mesh addresses."""
        ...

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Look at one node once. Raises `ProbeError` with its `GapReason`; bounded in time and size."""
        ...


def unforeseen(error: Exception) -> ProbeError:
    """Convert an unforeseen error to one that becomes a gap with a place, and ends no sweep."""
    return ProbeError(GapReason.INTERNAL, f"{type(error).__name__}; run with --verbose for more")
