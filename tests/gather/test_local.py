"""What is tried once more and what never, what a gap says of it, and what is left where the sweep ends early."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.gather.local import LOST_PAUSE, SILENT_PAUSE, TRANSIENT
from auditor.values.models import Registration
from tests import virtual_time
from tests.fakes import NO_SECOND, MemoryNodes, MemoryRegistry, Watcher, look, reading
from tests.fleets import names, trio

Failing = Callable[[Registration, int], ProbeError | None]


class Failures(MemoryNodes):
    """Nodes that fail by their name and the number of the try, from 1."""

    def __init__(self, failing: Failing) -> None:
        super().__init__(trio())
        self.tries: Counter[str] = Counter()
        self.moments: list[float] = []
        self.before = self._fail
        self._failing = failing

    async def _fail(self, registration: Registration) -> None:
        name = registration.node.name
        self.tries[name] += 1
        if name == "edge-sin-1":
            self.moments.append(asyncio.get_running_loop().time())
        error = self._failing(registration, self.tries[name])
        if error is not None:
            raise error


def at_sin(*reasons: GapReason) -> Failures:
    """edge-sin-1 fails for these reasons, one try after the other."""

    def failing(registration: Registration, number: int) -> ProbeError | None:
        if registration.node.name != "edge-sin-1" or number > len(reasons):
            return None
        return ProbeError(reasons[number - 1], f"planted {number}")

    return Failures(failing)


@pytest.mark.parametrize("reason", sorted(TRANSIENT))
def test_what_may_pass_is_tried_once_more_and_then_is_an_observation(reason: GapReason) -> None:
    """Nobody hears of the first try but the log."""
    nodes, watcher = at_sin(reason), Watcher()
    snapshot, _ = virtual_time.run(look(MemoryRegistry(reading(trio())), nodes, watcher=watcher))
    assert nodes.tries == {"edge-fra-1": 1, "edge-ams-1": 1, "edge-sin-1": 2}
    assert len(snapshot.observations) == 3
    assert snapshot.gaps == ()
    assert watcher.done == {True: 3}


@pytest.mark.parametrize("reason", sorted(set(GapReason) - TRANSIENT))
def test_nothing_else_is_ever_tried_twice(reason: GapReason) -> None:
    """Least of all a login: accounts get locked. And a probe that hangs may still run there."""
    nodes = at_sin(reason)
    snapshot, _ = virtual_time.run(look(MemoryRegistry(reading(trio())), nodes))
    assert nodes.tries["edge-sin-1"] == 1
    assert [(gap.reason, gap.detail) for gap in snapshot.gaps] == [(reason, "planted 1")]


def test_what_may_pass_is_these_three_reasons() -> None:
    assert {GapReason.CONNECT_TIMEOUT, GapReason.LOGIN_TIMEOUT, GapReason.CONNECTION_LOST} == TRANSIENT


def test_what_fails_twice_is_one_gap_that_says_so() -> None:
    """The second try's words; there is no third."""
    nodes, watcher = at_sin(*[GapReason.CONNECTION_LOST] * 3), Watcher()
    snapshot, _ = virtual_time.run(look(MemoryRegistry(reading(trio())), nodes, watcher=watcher))
    assert nodes.tries["edge-sin-1"] == 2
    assert [gap.detail for gap in snapshot.gaps] == ["planted 2 (tried twice)"]
    assert watcher.done == {True: 2, False: 1}


def test_what_fails_in_two_ways_is_the_second_and_names_the_first() -> None:
    snapshot, _ = virtual_time.run(
        look(MemoryRegistry(reading(trio())), at_sin(GapReason.CONNECT_TIMEOUT, GapReason.AUTH))
    )
    assert [(gap.reason, gap.detail) for gap in snapshot.gaps] == [
        (GapReason.AUTH, "planted 2 (tried twice, first connect-timeout)")
    ]


@pytest.mark.parametrize(
    ("reason", "pause"),
    [(GapReason.CONNECTION_LOST, LOST_PAUSE), (GapReason.CONNECT_TIMEOUT, SILENT_PAUSE)],
)
def test_there_is_a_pause_before_the_second_try(reason: GapReason, pause: tuple[float, float]) -> None:
    nodes = at_sin(reason)
    virtual_time.run(look(MemoryRegistry(reading(trio())), nodes))
    first, second = nodes.moments
    assert pause[0] <= second - first <= pause[1]


def test_a_sweep_that_ends_before_the_second_try_tells_of_the_first() -> None:
    """It is known why the node was not seen."""

    async def cut() -> tuple[list[tuple[str | None, GapReason, str]], list[str]]:
        interrupt = asyncio.Event()
        nodes = at_sin(GapReason.CONNECTION_LOST)
        asyncio.get_running_loop().call_later(LOST_PAUSE[0] / 2, interrupt.set)
        snapshot = await look(MemoryRegistry(reading(trio())), nodes, NO_SECOND, interrupt=interrupt)
        seen = names(item.node for item in snapshot.observations)
        return [(gap.node, gap.reason, gap.detail) for gap in snapshot.gaps], seen

    (gaps, seen), _ = virtual_time.run(cut())
    assert seen == ["edge-ams-1", "edge-fra-1"]
    assert gaps == [
        (
            "edge-sin-1",
            GapReason.CONNECTION_LOST,
            "planted 1 (no time for a second try: interrupted)",
        )
    ]


def test_a_slow_node_makes_room_for_the_next_one() -> None:
    """With one place, a node that takes long is waited for beside the others."""

    async def watch() -> list[str]:
        nodes, order = MemoryNodes(trio()), list[str]()

        async def slow(registration: Registration) -> None:
            first = not nodes_begun
            nodes_begun.append(registration.node.name)
            if first:
                await asyncio.sleep(60)
            order.append(registration.node.name)

        nodes_begun: list[str] = []
        nodes.before = slow
        snapshot = await look(MemoryRegistry(reading(trio())), nodes, concurrency=1)
        assert len(snapshot.observations) == 3
        assert order[-1] == nodes_begun[0]
        return order

    order, took = virtual_time.run(watch())
    assert len(order) == 3
    assert took == pytest.approx(60)
