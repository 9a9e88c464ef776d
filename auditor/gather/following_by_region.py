"""Follower that divides nodes by region, for collectors elsewhere and for this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol

from auditor.errors import GapReason, ProbeError
from auditor.fleet.region_sources import RegionSources
from auditor.gather.by_region import unlisted
from auditor.gather.collector import Assignment, Follower, Heard, gap_of
from auditor.gather.newest_words import NewestWords
from auditor.nodes.table_store import TableStore
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Registration


class RegionFollower(Follower, Protocol):
    """Follower of one region's nodes, which cannot follow them at times."""

    def tell_whether_there(self, tell: Callable[[bool], None]) -> None:
        """Have told when it begins to follow (True), and when it cannot, before its nodes' gaps are told (False)."""
        ...


class RegionalFollower(Follower):
    """Follows region by region. Its stream may be opened once.

    regions: by name, those whose nodes are followed from there. local: follows the nodes of the others, and those of a
    region for as long as that one cannot; None: these are gaps. close: called when the stream is closed.
    """

    def __init__(
        self,
        sources: RegionSources,
        regions: Mapping[str, RegionFollower],
        local: Follower | None,
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._regions = regions
        self._local = local
        self._close = close
        self._news = NewestWords()
        self._assignment = Assignment((), ())
        self._region_of: dict[NodeId, tuple[Registration, str]] = {}
        self._followed_by: dict[NodeId, Follower | None] = {}
        """By node: who follows it; None: nobody does."""
        self._away: set[str] = set()
        """Regions that cannot follow their nodes now."""
        self._whys: dict[NodeId, str] = {}
        """By node that nobody follows: why, as it was told."""
        self._opened = False
        for name, follower in regions.items():
            follower.tell_whether_there(partial(self._there, name))

    # -- what a follower does

    def assign(self, assignment: Assignment) -> None:
        """Set the nodes to follow, each in its region."""
        self._assignment = assignment
        known = self._region_of
        self._region_of = {}
        for item in assignment.nodes:
            before = known.get(item.node)
            same = before is not None and before[0] == item
            self._region_of[item.node] = before if before and same else (item, self._sources.region(item))
        divided: dict[str, list[Registration]] = defaultdict(list)
        for item, region in self._region_of.values():
            divided[region].append(item)
        for name, follower in self._regions.items():
            follower.assign(Assignment(tuple(divided[name]), assignment.registered))
        self._hand_out()

    def look_again(self) -> None:
        """Begin a round: look at once at each node that cannot be followed."""
        for follower in self._followers:
            follower.look_again()

    async def meet(self, observers: Collection[NodeId]) -> tuple[PeersMet, ...]:
        """Ask followed nodes where they meet their peers, each by who follows it."""
        asked: dict[Follower, list[NodeId]] = defaultdict(list)
        for node in observers:
            if (follower := self._followed_by.get(node)) is not None:
                asked[follower].append(node)
        met = await asyncio.gather(*(follower.meet(nodes) for follower, nodes in asked.items()))
        return tuple(one for some in met for one in some)

    async def follow(self, tables: TableStore) -> AsyncGenerator[Heard, None]:
        """Yield what nodes say, until the stream is closed."""
        if self._opened:
            raise AssertionError("a follower's stream may be opened once")
        self._opened = True
        taking = [asyncio.create_task(self._take(follower, tables)) for follower in self._followers]
        for task in taking:
            task.add_done_callback(self._ended)
        try:
            while True:
                yield await self._news.next()
        finally:
            for task in taking:
                task.cancel()
            await asyncio.gather(*taking, return_exceptions=True)
            await self._close()

    @property
    def _followers(self) -> list[Follower]:
        return [*self._regions.values(), *([self._local] if self._local is not None else [])]

    async def _take(self, follower: Follower, tables: TableStore) -> None:
        async with aclosing(follower.follow(tables)) as words:
            async for word in words:
                # Words of who follows it no longer, or not yet, are left out.
                if self._followed_by.get(word.node) is follower:
                    self._news.put(word)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._news.fail(error)

    # -- who follows whom

    def _there(self, region: str, there: bool) -> None:
        """Take in whether a region can follow its nodes."""
        if there is (region not in self._away):
            return
        if there:
            self._away.discard(region)
        else:
            self._away.add(region)
        if self._local is not None:
            self._hand_out()

    def _hand_out(self) -> None:
        """Decide who follows each node, and tell of those whom nobody does."""
        before, self._followed_by = self._followed_by, {}
        whys, self._whys = self._whys, {}
        local: list[Registration] = []
        for node, (item, region) in self._region_of.items():
            follower: Follower | None = self._regions.get(region)
            if follower is None or (region in self._away and self._local is not None):
                follower = self._local
                local.append(item)
            self._followed_by[node] = follower
            if follower is not before.get(node):
                self._news.forget(node)
            if follower is None:
                why = self._whys[node] = unlisted(region)
                if whys.get(node) != why:
                    gap = gap_of(node, ProbeError(GapReason.COLLECTOR_MISSING, why))
                    self._news.put(Heard(node, gap))
        for node in before.keys() - self._followed_by.keys():
            self._news.forget(node)
        if self._local is not None:
            self._local.assign(Assignment(tuple(local), self._assignment.registered))
