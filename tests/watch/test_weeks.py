"""What a watch holds is what there is, not what there was: it runs for weeks."""

from __future__ import annotations

import asyncio
import gc
import sys
from dataclasses import replace
from statistics import fmean

from auditor.gather.collector import Heard
from auditor.values.models import NodeId, Observation
from auditor.values.route_table import RouteTable
from tests.fleets import Mesh
from tests.watch.scripted import readings
from tests.watch.test_loop import Watched, watched

NODES = 12
STEPS, CHANGES = 6, 3_000
A_THIRD = STEPS // 3


def fleet() -> Mesh:
    """A small healthy mesh."""
    mesh = Mesh()
    for number in range(NODES):
        mesh.node(f"n{number}", f"10.0.0.{number + 1}")
    return mesh


async def let_pass(here: Watched, first: int) -> None:
    """Let so many things happen: registrations that come and go, and nodes each of whose tables is another one."""
    mesh = here.nodes.mesh
    usual = {node: mesh.observe(node) for node in mesh.registrations}
    names, registry = list(usual), readings(mesh)
    (whole,) = registry.values()
    for number in range(first, first + CHANGES):
        node = names[number % NODES]
        if number % 10 == 0:
            passing = replace(mesh.registrations[node], node=NodeId("dc1", f"passing-{number}"))
            others = (*whole.registrations, replace(passing, addresses=(), public_key=None))
            here.registry.put({"dc1": replace(whole, registrations=others)} if number % 20 else registry)
        elif number % 10 < 8:
            table = RouteTable(
                f"{usual[node].device.public_key}\t10.1.{number >> 8 & 255}.{number & 255}/32\n".encode()
            )
            here.nodes.tables.add(table)
            here.nodes.say(Heard(node, replace(usual[node], table=table.digest)))
        else:
            here.nodes.say(Heard(node, None))
        if number % 200 == 0:
            await here.nodes.taken()
    here.registry.put(registry)
    for item in usual.values():
        settle(here, item)
    await here.nodes.taken()


def settle(here: Watched, usual: Observation) -> None:
    """Let a node be again as ever, and stay so."""
    here.nodes.say(Heard(usual.node, usual))
    here.nodes.say(Heard(usual.node, None))


def test_memory_stays_flat_through_thousands_of_changes() -> None:
    """Between the last two thirds, what is allocated since the watch began differs by less than a tenth."""

    async def run() -> list[int]:
        gc.collect()
        before = sys.getallocatedblocks()
        async with watched(fleet(), round_interval=0.1) as here:
            samples = []
            for step in range(STEPS):
                await let_pass(here, step * CHANGES)
                here.notebook.forget()
                await here.rounds(4)
                here.notebook.forget()
                gc.collect()
                samples.append(sys.getallocatedblocks() - before)
            return samples

    samples = asyncio.run(run())
    second, last = samples[A_THIRD : 2 * A_THIRD], samples[2 * A_THIRD :]
    assert fmean(last) < 1.1 * fmean(second), samples
