"""What a sweep makes of any collector's stream: each node ends as one observation or one gap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from auditor.errors import GapReason
from auditor.gather.collector import Assignment, Collector, Seen
from auditor.gather.sweep import SweepOptions
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.models import Registration
from tests.fakes import MemoryNodes, SerialCollector, look
from tests.fleets import contested, names, trio


class AlteredStream(Collector):
    """Yields each result of a serial collector as often as `times` says for the node's name."""

    def __init__(self, **times: int) -> None:
        self._inner = SerialCollector(MemoryNodes(trio()))
        self._times = {name.replace("_", "-"): count for name, count in times.items()}

    async def collect(
        self, assignment: Assignment, tables: TableStore, stop: Stop
    ) -> AsyncGenerator[Seen, None]:
        """The altered stream."""
        for registration in assignment.nodes:
            alone = Assignment((registration,), assignment.registered)
            async for seen in self._inner.collect(alone, tables, stop):
                for _ in range(self._times.get(registration.node.name, 1)):
                    yield seen


async def test_a_serial_collector_sees_what_the_local_one_sees() -> None:
    """Order and number at a time are the collector's own affair, in the second look too."""
    mesh, options = contested(), SweepOptions(confirm_after=0.0)
    serial = await look(mesh, SerialCollector(MemoryNodes(mesh)), options)
    local = await look(mesh, mesh, options)
    assert serial.second_look is not None
    assert serial.observations == local.observations
    assert serial.second_look == local.second_look
    assert serial.tables == local.tables


async def test_a_node_that_the_collector_leaves_out_is_a_gap() -> None:
    """Silence is not clean: a collector elsewhere may die."""
    snapshot = await look(trio(), AlteredStream(edge_sin_1=0))
    assert names(item.node for item in snapshot.observations) == ["edge-ams-1", "edge-fra-1"]
    assert [(gap.node, gap.reason) for gap in snapshot.gaps] == [("edge-sin-1", GapReason.INTERNAL)]


async def test_of_two_results_of_one_node_the_first_stands() -> None:
    snapshot = await look(trio(), AlteredStream(edge_sin_1=2))
    assert len(snapshot.observations) == 3
    assert snapshot.gaps == ()


async def test_a_collector_that_stops_leaves_its_other_nodes_cut_short() -> None:
    """What it saw before stays."""
    nodes, interrupt = MemoryNodes(trio()), asyncio.Event()

    async def interrupt_the_second(_: Registration) -> None:
        if len(nodes.asked) == 2:
            interrupt.set()
            await asyncio.Event().wait()

    nodes.before = interrupt_the_second
    snapshot = await look(trio(), SerialCollector(nodes), interrupt=interrupt)
    assert len(snapshot.observations) == 1
    assert [gap.reason for gap in snapshot.gaps] == [GapReason.CUT_SHORT] * 2
