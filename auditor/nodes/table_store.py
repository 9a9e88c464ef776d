"""Store of the route tables that a node source finds, each fetched once: whole, or as its difference from others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from auditor.errors import GapReason, ProbeError
from auditor.nodes.varying import FEW, Learning, Varying
from auditor.values.route_table import Bases, RouteTable

PATIENCE = 2.0
"""Seconds that those who share a digest wait for the one who fetches its table, before another asks as well."""


class TableStore:
    """Store of the route tables seen so far, each distinct one once, by digest.

    A table is fetched by the first node that shows its digest; others that show it meanwhile wait,
    and one of them fetches it if the first one fails, or has not come with it after `PATIENCE`. So the number
    of texts that cross the wire is the number of distinct tables, whatever the number of nodes.

    Where there are more than a few distinct ones, nodes are asked for the base of their tables and the prefixes of the
    keys that vary (`varying`), and the number of texts is that of distinct bases.
    """

    def __init__(self) -> None:
        self.tables: dict[str, RouteTable] = {}
        self._bases = Bases()
        self._fetching: dict[object, _Fetching] = {}
        self._respelled: dict[str, str] = {}
        self._learning = Learning()
        self._said: set[str] = set()
        """Digests that only a node says of a table put together here: believed of that node alone."""
        self._lately: tuple[set[str], set[str]] = set(), set()
        """Digests that were asked for since the last forgetting, and between the two before."""
        self._under_way = 0
        self._in_turn: deque[asyncio.Future[None]] = deque()

    @property
    def varying(self) -> Varying | None:
        """Keys that further nodes are to leave out of their tables' base; None: there is no need, or no use."""
        return self._learning.varying

    def add(self, table: RouteTable) -> str:
        """Keep a table whose text is at hand. Returns its digest."""
        digest = table.digest
        self._lately[0].add(digest)
        if digest not in self.tables or digest in self._said:
            self._said.discard(digest)
            self.tables[digest] = held = self._bases.held(table)
            self._learning.add(held)
        return digest

    def keep_only(self, digests: Collection[str]) -> None:
        """Forget the tables that no node shows any more: all but these, and what was asked for since the last call
        but one, for it may be on its way to who calls. Call it each round.
        """
        now, before = self._lately
        wanted = now.union(before, digests)
        self._lately = set(), now
        gone = [digest for digest in self.tables if digest not in wanted]
        if not gone:
            return
        for digest in gone:
            del self.tables[digest]
        self._said.intersection_update(self.tables)
        self._respelled = {
            spelled: digest for spelled, digest in self._respelled.items() if digest in self.tables
        }
        self._bases.keep_only(self.tables.values())
        self._learning.keep_only(self.tables.values())

    def respelled(self, spelled: str, digest: str) -> None:
        """Note that a table which some nodes spell otherwise, with that digest, is the one with this digest."""
        self._respelled[spelled] = digest

    async def obtain(self, digest: str, fetch: Callable[[], Awaitable[RouteTable | str]]) -> str:
        """Make sure that the table of a digest is kept. Returns the digest, or that of the table `fetch` found instead.

        `fetch` is awaited only if no table has the digest yet. A table may change between digest and
        text; then the text counts, under its own digest. It may return the digest of a table that is kept already.
        """
        return await self._obtain(digest, lambda: self._known(digest), fetch)

    async def obtain_divided(
        self,
        varying: Varying,
        digest: str,
        base: str,
        prefixes: tuple[tuple[bytes, ...], ...],
        fetch: Callable[[], Awaitable[RouteTable]],
    ) -> str:
        """Make sure that the table of a base and varying keys' prefixes is kept, as `obtain` does. Returns its digest.

        `fetch` is awaited only if no table that came whole has the base.
        """

        def known() -> str | None:
            if (kept := self._known(digest, check=False)) is not None:
                return kept
            table = varying.table(base, prefixes)
            if table is None:
                return None
            self._learning.known += 1
            return self._kept(digest, table)

        async def unknown() -> RouteTable:
            self._learning.unknown += 1
            return await fetch()

        return await self._obtain((varying, base), known, unknown)

    async def obtain_difference(
        self,
        digest: str,
        base: str,
        fetch_base: Callable[[], Awaitable[RouteTable | str]],
        changed: Callable[[RouteTable], RouteTable],
    ) -> str:
        """Make sure that the table of a digest is kept that is told as its difference from another one, whose digest is
        `base`; as `obtain` does. Returns its digest.

        changed: makes it from the other one, held as a difference from the same text. Its text is not put together, so
        the digest is believed of those alone who say it, as that of a base and prefixes.
        """

        def known() -> str | None:
            return self._known(digest, check=False)

        async def make() -> str:
            return self._kept(digest, changed(self.tables[await self.obtain(base, fetch_base)]))

        return await self._obtain(("difference", digest), known, make)

    async def text(self, fetch: Callable[[], Awaitable[RouteTable]]) -> RouteTable | None:
        """Fetch a table's text, one of the first few distinct ones.

        While these are under way, others wait for them, up to `PATIENCE`. None: the keys that vary are known now, and
        the node may be asked for its base.
        """
        while self._learning.number < FEW <= self._learning.number + self._under_way:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._in_turn.append(turn)
            try:
                await asyncio.wait_for(turn, PATIENCE)
            except TimeoutError:
                break
        if self.varying is not None:
            return None
        self._under_way += 1
        try:
            table = await fetch()
            self.add(table)
            return table
        finally:
            self._under_way -= 1
            while self._in_turn:
                turn = self._in_turn.popleft()
                if not turn.done():
                    turn.set_result(None)

    def _known(self, digest: str, *, check: bool = True) -> str | None:
        """Find the digest of the table that has this one. What a node alone says is checked first, or left out."""
        digest = self._respelled.get(digest, digest)
        if digest in self._said:
            if not check or self.tables[digest].digest != digest:
                return None
            self._said.discard(digest)
        return digest if digest in self.tables else None

    def _kept(self, said: str, table: RouteTable) -> str:
        """Keep a table that was put together here, under the digest that its node says it has. Returns its digest.

        Putting the text together and hashing it would cost as much as if it had come. So it is hashed only where
        the same digest is said of another table.
        """
        kept = self.tables.setdefault(said, table)
        if kept is table:
            self._said.add(said)
        elif (kept.base, kept.without, kept.plus) != (table.base, table.without, table.plus):
            digest = table.digest
            if digest != said:
                self.tables.setdefault(digest, table)
                return digest
            self.tables[said] = table
            self._said.discard(said)
        return said

    async def _obtain(
        self,
        what: object,
        known: Callable[[], str | None],
        fetch: Callable[[], Awaitable[RouteTable | str]],
    ) -> str:
        found = known()
        if found is None:
            fetching = self._fetching.setdefault(what, _Fetching())
            fetching.users += 1
            try:
                found = await self._found(known, fetch, fetching)
            finally:
                fetching.users -= 1
                if not fetching.users:
                    del self._fetching[what]
        self._lately[0].add(found)
        return found

    async def _found(
        self,
        known: Callable[[], str | None],
        fetch: Callable[[], Awaitable[RouteTable | str]],
        fetching: _Fetching,
    ) -> str:
        async with fetching.turn:
            if (found := known()) is not None:
                return found
            text = asyncio.ensure_future(fetch())
            if await _first(text, fetching.arrived, PATIENCE):
                return self._taken(text, known, fetching)
        # A node that stalls holds nobody who shares its digest: the next one asks, and the first answer is everybody's.
        await _first(text, fetching.arrived, None)
        return self._taken(text, known, fetching)

    def _taken(
        self, text: asyncio.Future[RouteTable | str], known: Callable[[], str | None], fetching: _Fetching
    ) -> str:
        """Keep the fetched table, or the one that another node fetched meanwhile, and wake the waiting fetches."""
        if not text.done():
            text.cancel()
            if (found := known()) is None:
                raise ProbeError(
                    GapReason.UNREADABLE_OUTPUT, "its table is not of the base that it was said to be of"
                )
            return found
        result = text.result()
        found = result if isinstance(result, str) else self.add(result)
        if not fetching.arrived.done() and known() is not None:
            fetching.arrived.set_result(None)
        return found


async def _first(
    text: asyncio.Future[RouteTable | str], arrived: asyncio.Future[None], seconds: float | None
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
        self.users = 0
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
