"""Collector that divides an assignment by region, for collectors elsewhere and for this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.fleet.region_sources import RegionSources
from auditor.gather.collector import Assignment, Collector, Seen, gap_of, node_of
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.models import Gap, NodeId, Registration
from auditor.values.text import for_detail


class RegionLook(Protocol):
    """Look at nodes of a region that a collector has taken."""

    def results(self, tables: TableStore, stop: Stop) -> AsyncGenerator[Seen, None]:
        """Yield one observation or gap a node, as `Collector.collect` does."""
        ...

    async def close(self) -> None:
        """End it. After its results were taken, there is no need to."""
        ...


@dataclass(slots=True)
class OpenedLooks:
    """What became of a region's nodes when its collectors were asked to look at them."""

    looks: list[RegionLook] = field(default_factory=list)
    missing: list[Registration] = field(default_factory=list)
    """Nodes for which no collector is there."""
    why_missing: str = ""
    """The same in words, for gaps."""
    gaps: list[Gap] = field(default_factory=list)
    """Of nodes that a collector did not take."""

    def gaps_of_missing(self) -> list[Gap]:
        """Make a gap of each node for which no collector is there."""
        return [_missing(item.node, self.why_missing) for item in self.missing]


def _missing(node: NodeId, why: str) -> Gap:
    return gap_of(node, ProbeError(GapReason.COLLECTOR_MISSING, why))


class RegionToAsk(Protocol):
    """Region whose nodes collectors look at."""

    async def open(self, assignment: Assignment) -> OpenedLooks:
        """Have collectors take the nodes. Raises nothing for what they or a network do."""
        ...


class RegionOutOfReach(RegionToAsk):
    """Region whose collectors cannot be asked, for the reason that is given in words."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def open(self, assignment: Assignment) -> OpenedLooks:
        """Return all nodes as missing."""
        return OpenedLooks(missing=list(assignment.nodes), why_missing=self._why)


class RegionalCollector(Collector):
    """Collects region by region.

    regions: by name, those that collectors look at. local: makes what looks at the nodes of the others, and of those
    without a collector, once there is one such node: only then need this machine be able to look. None, or where it
    raises `ConfigError`: these are gaps.
    """

    def __init__(
        self,
        sources: RegionSources,
        regions: Mapping[str, RegionToAsk],
        local: Callable[[], Collector] | None,
    ) -> None:
        self._sources = sources
        self._regions = regions
        self._make_local = local
        self._local: Collector | None = None

    async def collect(
        self, assignment: Assignment, tables: TableStore, stop: Stop
    ) -> AsyncGenerator[Seen, None]:
        """Look at each node once, in its region or from here."""
        divided, others = self._divided(assignment.nodes)
        opened = await stop.bound(self._open(assignment, divided))
        if opened is None:
            return
        streams = [look.results(tables, stop) for one in opened for look in one.looks]
        missing = [item for one in opened for item in one.missing]
        missed = {item.node: one.why_missing for one in opened for item in one.missing}
        try:
            for one in opened:
                for gap in one.gaps:
                    yield gap
            local, why_not = await self._from_here() if missing or others else (None, "")
            if local is not None:
                nodes = (*missing, *(item for _, item in others))
                streams.append(local.collect(Assignment(nodes, assignment.registered), tables, stop))
            else:
                for node, why in missed.items():
                    yield _missing(node, why + why_not)
                for region, item in others:
                    yield _missing(item.node, unlisted(region) + why_not)
            async with aclosing(merged(streams)) as results:
                async for seen in results:
                    yield _explained(seen, missed)
        finally:
            await asyncio.gather(*(look.close() for one in opened for look in one.looks))

    async def _from_here(self) -> tuple[Collector | None, str]:
        """Return what looks from here; where there is nothing, why it cannot be made, to end a sentence with."""
        if self._local is None and self._make_local is not None:
            try:
                self._local = await asyncio.to_thread(self._make_local)
            except ConfigError as error:
                return None, f"; nor can it be looked at from here: {for_detail(str(error))}"
        return self._local, ""

    def _divided(
        self, nodes: Iterable[Registration]
    ) -> tuple[Mapping[str, Sequence[Registration]], Sequence[tuple[str, Registration]]]:
        """Divide nodes into those of each region that is asked, and the others with their regions."""
        divided: dict[str, list[Registration]] = defaultdict(list)
        others: list[tuple[str, Registration]] = []
        for item in nodes:
            region = self._sources.region(item)
            if region in self._regions:
                divided[region].append(item)
            else:
                others.append((region, item))
        return divided, others

    async def _open(
        self, assignment: Assignment, divided: Mapping[str, Sequence[Registration]]
    ) -> list[OpenedLooks]:
        """Have the collectors of all regions asked at once; if that is cancelled, none of them keeps a look."""
        opening = [
            asyncio.create_task(self._regions[region].open(Assignment(tuple(nodes), assignment.registered)))
            for region, nodes in divided.items()
        ]
        try:
            return await asyncio.gather(*opening)
        except BaseException:
            for done in await asyncio.gather(*opening, return_exceptions=True):
                if isinstance(done, OpenedLooks):
                    await asyncio.gather(*(look.close() for look in done.looks))
            raise


def _explained(seen: Seen, missed: Mapping[NodeId, str]) -> Seen:
    """Add to a gap that its node was looked at from here, and why: nobody may be let in from here."""
    if isinstance(seen, Gap) and (why := missed.get(node_of(seen))):
        return replace(seen, detail=f"{seen.detail}; looked at from here, for {why}")
    return seen


def unlisted(region: str) -> str:
    """Word why no collector looks at a node of this region."""
    if not region:
        return "neither its registration nor its name nor its address says its region, so no collector looks at it"
    return f"its region {region} is not among collectors.regions"


async def merged(streams: Sequence[AsyncGenerator[Seen, None]]) -> AsyncGenerator[Seen, None]:
    """Yield what all of these streams yield, as it comes. Closing it closes them."""
    results: asyncio.Queue[Seen | None] = asyncio.Queue()

    async def take(stream: AsyncGenerator[Seen, None]) -> None:
        async with aclosing(stream):
            async for seen in stream:
                results.put_nowait(seen)

    async def take_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for stream in streams:
                    group.create_task(take(stream))
        finally:
            results.put_nowait(None)

    taking = asyncio.create_task(take_all())
    try:
        while (seen := await results.get()) is not None:
            yield seen
        await taking
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
