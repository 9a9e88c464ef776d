"""Nodes whose registrations are lost, looked at by the host that they were last registered with."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

from auditor.gather.collector import Assignment, Collector, Seen, node_of
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import PublicKey
from auditor.values.models import LostNodeLook, LostRegistration, NodeId, Observation, Snapshot
from auditor.values.text import one_line

MOST_ASKED = 20
"""Lost nodes that one sweep asks: those that were lost last."""
LOOK_WITHIN = 15.0
"""Seconds for all of them: they are no part of the fleet, and hold no sweep up for long."""
LONGEST_REASON = 200
"""Characters of the reason why one does not answer."""


async def look_at_lost(
    lost: Sequence[LostRegistration],
    snapshot: Snapshot,
    collector: Collector,
    interrupt: asyncio.Event | None = None,
) -> tuple[LostRegistration, ...]:
    """Ask the lost nodes whose keys the snapshot's devices or tables still have; return all, those with their looks.

    What they say is evidence, and no part of the fleet: one that does not answer is no gap, and nothing of coverage.
    """
    live = live_keys(snapshot, {item.registration.public_key for item in lost} - {None})
    asked = [item for item in lost if item.registration.public_key in live and item.released is not True]
    asked = sorted(asked, key=lambda item: item.last_read, reverse=True)[:MOST_ASKED]
    if not asked or (interrupt is not None and interrupt.is_set()):
        return tuple(lost)
    nodes = tuple(item.registration for item in asked)
    assignment = Assignment(nodes, (*snapshot.registrations, *nodes))
    looks: dict[NodeId, LostNodeLook] = {}
    over = asyncio.Event()
    stop = Stop(LOOK_WITHIN, over)
    following = asyncio.create_task(_follow(interrupt, over))
    try:
        async with aclosing(collector.collect(assignment, TableStore(), stop)) as results:
            async for seen in results:
                looks[node_of(seen)] = _look(seen)
    finally:
        following.cancel()
        stop.close()
    late = LostNodeLook(why_not=f"no answer within {LOOK_WITHIN:g} s")
    wanted = {item.registration.node for item in asked}
    return tuple(
        replace(item, look=looks.get(item.registration.node, late))
        if item.registration.node in wanted
        else item
        for item in lost
    )


def live_keys(snapshot: Snapshot, keys: Collection[PublicKey | None]) -> frozenset[PublicKey]:
    """Select the keys that a device holds, or that stand in a route table."""
    wanted = {key for key in keys if key is not None}
    live = wanted & {item.device.public_key for item in snapshot.observations}
    for digest in {item.table for item in snapshot.observations}:
        if not (left := wanted - live) or (table := snapshot.tables.get(digest)) is None:
            continue
        text = table.text
        live |= {key for key in left if key.encode() in text}
    return frozenset(live)


async def _follow(interrupt: asyncio.Event | None, over: asyncio.Event) -> None:
    """End the looks with the sweep's interrupt; the looks' own deadline must not look like one."""
    if interrupt is not None:
        await interrupt.wait()
        over.set()


def _look(seen: Seen) -> LostNodeLook:
    if isinstance(seen, Observation):
        return LostNodeLook(seen.device.public_key, seen.device.addresses)
    return LostNodeLook(why_not=one_line(f"{seen.reason.value}: {seen.detail}", most=LONGEST_REASON))
