"""How a sweep ends early: by interrupt, by deadline, from outside. It keeps what was seen, and says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from auditor.errors import GapReason
from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.judge import judge
from auditor.values.models import Registration
from auditor.values.report import Verdict
from tests.fakes import NO_SECOND, MemoryNodes, MemoryRegistry, Watcher, look, reading
from tests.fleets import contested, names, trio


async def test_an_interrupt_keeps_what_was_seen_and_names_what_was_not() -> None:
    """One node answered, one hangs, one was not asked yet."""
    nodes, interrupt = MemoryNodes(trio()), asyncio.Event()

    order: list[str] = []

    async def hang_at_the_second(registration: Registration) -> None:
        order.append(registration.node.name)
        if len(order) == 2:
            interrupt.set()
            await asyncio.Event().wait()

    nodes.before = hang_at_the_second
    at_once = SweepOptions(confirm_after=0.0)
    registry = MemoryRegistry(reading(trio()))
    snapshot = await look(registry, nodes, at_once, interrupt=interrupt, concurrency=1)
    assert snapshot.cut_short == "interrupted"
    assert names(item.node for item in snapshot.observations) == order[:1]
    others = {"edge-fra-1", "edge-sin-1", "edge-ams-1"} - set(order[:1])
    assert [(gap.node, gap.reason) for gap in snapshot.gaps] == [
        (node, GapReason.CUT_SHORT) for node in sorted(others)
    ]
    assert registry.reads == 1
    assert judge(snapshot).verdict is Verdict.INCONCLUSIVE
    assert nodes.busy == 0


async def test_a_deadline_ends_the_sweep_and_says_so() -> None:
    """Nobody ever answers."""
    nodes = MemoryNodes(trio())

    async def hang(_: Registration) -> None:
        await asyncio.Event().wait()

    nodes.before = hang
    options = SweepOptions(deadline=0.02, confirm_after=None)
    snapshot = await look(MemoryRegistry(reading(trio())), nodes, options, concurrency=2)
    assert snapshot.cut_short == "deadline"
    assert {gap.node for gap in snapshot.gaps} == {"edge-fra-1", "edge-sin-1", "edge-ams-1"}
    assert {gap.reason for gap in snapshot.gaps} == {GapReason.CUT_SHORT}


async def test_a_deadline_that_is_not_reached_leaves_no_timer_behind() -> None:
    """A timer that fired later would set an event that nobody waits for."""
    snapshot = await look(trio(), trio(), replace(NO_SECOND, deadline=3600.0))
    assert snapshot.cut_short is None
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    assert [timer for timer in scheduled if not timer.cancelled()] == []


async def test_an_interrupt_during_the_first_reading_is_not_an_empty_registry() -> None:
    """It is a gap of the sweep."""
    registry, interrupt = MemoryRegistry(reading(trio())), asyncio.Event()

    async def hang(_: int) -> None:
        interrupt.set()
        await asyncio.Event().wait()

    registry.before = hang
    nodes = MemoryNodes(trio())
    snapshot = await look(registry, nodes, interrupt=interrupt)
    assert snapshot.cut_short == "interrupted"
    assert not nodes.asked
    assert GapReason.CUT_SHORT in {gap.reason for gap in snapshot.gaps}
    assert judge(snapshot).verdict is Verdict.INCONCLUSIVE


async def test_an_interrupt_during_the_last_reading_is_not_clean() -> None:
    """Every node was seen, but what changed meanwhile is not known."""
    registry, interrupt = MemoryRegistry(reading(trio())), asyncio.Event()

    async def hang(number: int) -> None:
        if number == 2:
            interrupt.set()
            await asyncio.Event().wait()

    registry.before = hang
    snapshot = await look(registry, MemoryNodes(trio()), interrupt=interrupt)
    assert len(snapshot.observations) == 3
    assert judge(snapshot).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("when", ["waiting", "looking"])
async def test_an_interrupt_of_the_second_look_keeps_the_first(when: str) -> None:
    """Nothing is confirmed, nothing is gone."""
    mesh, interrupt = contested(), asyncio.Event()
    nodes = MemoryNodes(mesh)

    class Interrupter(Watcher):
        def phase(self, name: str) -> None:
            super().phase(name)
            if when == "waiting" and name == "waiting for a second look":
                interrupt.set()

    async def hang_the_second_time(registration: Registration) -> None:
        if nodes.asked[registration.node] == 2:
            interrupt.set()
            await asyncio.Event().wait()

    nodes.before = hang_the_second_time
    options = SweepOptions(confirm_after=3600.0 if when == "waiting" else 0.0)
    snapshot = await look(MemoryRegistry(reading(mesh)), nodes, options, Interrupter(), interrupt)
    assert snapshot.cut_short == "interrupted"
    assert snapshot.second_look is None
    assert len(snapshot.observations) == 5
    assert {finding.confirmed for finding in judge(snapshot).findings} == {None}


async def test_an_interrupt_before_the_start_asks_nobody() -> None:
    """Ctrl-C was quicker."""
    interrupt = asyncio.Event()
    interrupt.set()
    nodes = MemoryNodes(trio())
    snapshot = await look(MemoryRegistry(reading(trio())), nodes, interrupt=interrupt)
    assert not nodes.asked
    assert snapshot.cut_short == "interrupted"
    assert judge(snapshot).verdict is Verdict.INCONCLUSIVE


async def test_cancelling_the_sweep_from_outside_leaves_no_task_behind() -> None:
    """Its caller may have a time limit of its own."""
    nodes, started = MemoryNodes(trio()), asyncio.Event()

    async def hang(_: Registration) -> None:
        started.set()
        await asyncio.Event().wait()

    nodes.before = hang
    before = asyncio.all_tasks()
    task = asyncio.create_task(
        sweep(MemoryRegistry(reading(trio())), LocalCollector(nodes), trio().policy, NO_SECOND)
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before
    assert nodes.busy == 0
