"""Collector of one region, whose nodes are looked at by collectors there, over NATS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from nats.aio.client import Client

from auditor.errors import GapReason, ProbeError
from auditor.gather.by_region import OpenedLooks, RegionToAsk, merged
from auditor.gather.collector import Assignment, Collector, Seen, gap_of
from auditor.gather.nats.asked_look import AskedLook, LookTerms, RegistrySide
from auditor.gather.nats.message_parts import mesh_addresses_of
from auditor.gather.nats.messages import MOST_NODES, SILENT
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore

NODES_A_JOB = 2500
"""Nodes of one job: the collectors of a region share out its jobs."""
JOBS_A_LOOK = 4
"""Jobs of one look, at most: a larger region has larger jobs. A collector takes a few at once, of all auditors, and
what the one that NATS chose refuses is looked at by nobody."""


class NatsCollector(Collector, RegionToAsk):
    """Collects through whichever collectors of a region are there.

    client: connected; it stays its owner's. silent: seconds without a word after which a collector is lost.
    """

    def __init__(
        self,
        client: Client,
        region: str,
        terms: LookTerms,
        *,
        nodes_a_job: int = NODES_A_JOB,
        silent: float = SILENT,
    ) -> None:
        self._client = client
        self._region = region
        self._terms = terms
        self._nodes_a_job = nodes_a_job
        self._silent = silent

    async def open(self, assignment: Assignment) -> OpenedLooks:
        """Have collectors take the nodes, in jobs. Raises nothing for what they or the network do."""
        registry = RegistrySide.of(mesh_addresses_of(assignment.registered), len(assignment.registered))
        nodes = assignment.nodes
        size = job_size(len(nodes), self._nodes_a_job)
        jobs = [
            AskedLook(
                self._client,
                self._region,
                nodes[place : place + size],
                registry,
                self._terms,
                silent=self._silent,
            )
            for place in range(0, len(nodes), size)
        ]
        opened = OpenedLooks()
        try:
            for job, error in zip(jobs, await asyncio.gather(*map(_opened, jobs)), strict=True):
                if error is None:
                    opened.looks.append(job)
                    continue
                await job.close()
                if error.reason is GapReason.COLLECTOR_MISSING:
                    opened.missing.extend(job.registrations)
                    opened.why_missing = error.detail
                else:
                    opened.gaps.extend(gap_of(item.node, error) for item in job.registrations)
        except BaseException:
            await asyncio.gather(*(job.close() for job in jobs))
            raise
        return opened

    async def collect(
        self, assignment: Assignment, tables: TableStore, stop: Stop
    ) -> AsyncGenerator[Seen, None]:
        """Look at each node, or say why not."""
        opened = await stop.bound(self.open(assignment))
        if opened is None:
            return
        for gap in (*opened.gaps, *opened.gaps_of_missing()):
            yield gap
        streams = [look.results(tables, stop) for look in opened.looks]
        async with aclosing(merged(streams)) as results:
            async for seen in results:
                yield seen


def job_size(nodes: int, least: int = NODES_A_JOB) -> int:
    """Return the nodes of each job of a look at so many."""
    return min(max(least, -(-nodes // JOBS_A_LOOK)), MOST_NODES)


async def _opened(job: AskedLook) -> ProbeError | None:
    try:
        await job.open()
    except ProbeError as error:
        return error
    return None
