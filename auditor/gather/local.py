"""Collector in this process: many nodes at once, at a pace that adapts, with a second try of passing failures."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from auditor.errors import GapReason, ProbeError
from auditor.gather.collector import Assignment, Collector, Seen, gap_of
from auditor.gather.pace import Pace, Turn
from auditor.nodes.interface import NodeSource, unforeseen
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.models import NodeId, Observation, Registration

log = logging.getLogger(__name__)

TRANSIENT = frozenset({GapReason.CONNECT_TIMEOUT, GapReason.LOGIN_TIMEOUT, GapReason.CONNECTION_LOST})
"""Failures after which a node is asked once more. Never a login that was refused (accounts get locked), a host key
or a mesh address, which are the same a second later; a server that takes no more connections for now, which asking
would keep up; a refused connection, which is an answer; or a probe that did not end in time: it may still run there,
and a second one would run beside it."""

_TIMEOUTS = frozenset({GapReason.CONNECT_TIMEOUT, GapReason.LOGIN_TIMEOUT})

NO_ANSWER = TRANSIENT | {
    GapReason.NO_HOST,
    GapReason.MESH_HOST,
    GapReason.RESOLVE,
    GapReason.UNREACHABLE,
    GapReason.CONNECT_REFUSED,
    GapReason.NO_CHANNEL,
    GapReason.PROBE_NOT_BEGUN,
    GapReason.COMMAND_TIMEOUT,
    GapReason.THROTTLED,
    GapReason.SILENT,
    GapReason.INTERNAL,
}
"""Failures without an answer of the node: they say nothing of how many answers a second can be had."""

LOST_PAUSE = 0.25, 0.75
"""Seconds, from and to, before a node that hung up is asked again: it may be too busy."""
SILENT_PAUSE = 0.05, 0.25
"""Seconds before a second try after a timeout, which was a pause already."""


class LocalCollector(Collector):
    """Collects through a node source of this process. Make one for each sweep: its pace outlives a `collect`.

    `concurrency`: the most nodes asked at the same time; how many it is, the pace finds, and slow ones are waited
    for beside. `room`: called once, at the first `collect`, with the number of nodes; returns how many may be
    under way, those that are waited for included. None: no bound.
    """

    def __init__(
        self, nodes: NodeSource, concurrency: int = 100, room: Callable[[int], int] | None = None
    ) -> None:
        self._nodes = nodes
        self._concurrency = concurrency
        self._room = room
        self._pace: Pace | None = None

    async def collect(
        self, assignment: Assignment, tables: TableStore, stop: Stop
    ) -> AsyncGenerator[Seen, None]:
        """Look at each node, the ones with a passing failure twice."""
        if self._pace is None:
            room = self._room(len(assignment.nodes)) if self._room is not None else None
            self._pace = Pace(self._concurrency, room)
        self._nodes.expect(assignment.registered)
        results: asyncio.Queue[Seen | None] = asyncio.Queue()
        fanout = Fanout(lambda registration: self._nodes.observe(registration, tables), results, self._pace)

        async def ask_all() -> None:
            try:
                await stop.bound(fanout.run(assignment.nodes))
            finally:
                results.put_nowait(None)

        asking = asyncio.create_task(ask_all())
        try:
            while (seen := await results.get()) is not None:
                yield seen
            await asking
            for node, error in fanout.failed_once.items():
                detail = f"{error.detail} (no time for a second try: {stop.reason})"
                yield gap_of(node, ProbeError(error.reason, detail))
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


Observe = Callable[[Registration], Awaitable[Observation]]


@dataclass(slots=True, eq=False)
class _Task:
    registration: Registration
    spread: bytes
    """Eight bytes of this node's own: its place in the order, and its share of a pause."""
    before: ProbeError | None = None
    """Error of the first try."""


class Fanout:
    """Asks each node by `observe`, which raises `ProbeError`, and puts one result a node into `results`.

    Use it for one set of nodes; the pace may be used further.
    """

    def __init__(self, observe: Observe, results: asyncio.Queue[Seen | None], pace: Pace) -> None:
        self._observe = observe
        self._results = results
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._left = 0
        self._new: deque[_Task] = deque()
        self._again: deque[_Task] = deque()
        self.failed_once: dict[NodeId, ProbeError] = {}
        """Nodes that wait for their second try, or are at it."""

    async def run(self, registrations: Iterable[Registration]) -> None:
        """Ask all nodes. May be cancelled: then results so far stand, and nothing keeps running."""
        # In an order that has nothing to do with names: what stands together in the registry often stands in
        # one rack, or behind one bastion, which would be asked for all of its nodes at the same time.
        tasks = (_Task(item, spread(item.node)) for item in registrations)
        self._new = deque(sorted(tasks, key=lambda task: (task.spread, task.registration.node)))
        self._left = len(self._new)
        async with asyncio.TaskGroup() as group:
            while self._left:
                self._wake.clear()
                while (task := self._next()) is not None:
                    turn = self._pace.begin(self._loop.time(), counted=not _timed_out(task))
                    group.create_task(self._ask(task, turn))
                await self._wake.wait()

    def _next(self) -> _Task | None:
        if self._again:
            counted = not _timed_out(self._again[0])
            return self._again.popleft() if self._pace.free(counted=counted) else None
        return self._new.popleft() if self._new and self._pace.free() else None

    async def _ask(self, task: _Task, turn: Turn) -> None:
        timer = self._loop.call_later(self._pace.late_after, self._late, turn)
        answered = True
        try:
            outcome = await self._outcome(task.registration)
            if isinstance(outcome, ProbeError):
                answered = outcome.reason not in NO_ANSWER
                if task.before is None and outcome.reason in TRANSIENT:
                    await self._pause(task, turn, outcome)
                    return
            self._learn(task, turn, outcome)
            self._finish(task, outcome)
        finally:
            timer.cancel()
            self._pace.end(turn, self._loop.time(), answered=answered)
            self._wake.set()

    async def _outcome(self, registration: Registration) -> Observation | ProbeError:
        try:
            return await self._observe(registration)
        except ProbeError as error:
            return error
        except Exception as error:
            # One node's unforeseen error must not end the run: it becomes a gap with a place.
            log.debug("unexpected error while looking at %s", registration.node, exc_info=True)
            return unforeseen(error)

    async def _pause(self, task: _Task, turn: Turn, error: ProbeError) -> None:
        """Wait before a second try. A node that hung up keeps its room meanwhile, lest the next one take it at once."""
        log.info("%s: %s: %s; trying once more", task.registration.node, error.reason.value, error.detail)
        task.before = self.failed_once[task.registration.node] = error
        least, most = SILENT_PAUSE
        if error.reason is GapReason.CONNECTION_LOST:
            self._pace.overloaded(turn)
            least, most = LOST_PAUSE
        else:
            self._late(turn)
        await asyncio.sleep(least + (most - least) * int.from_bytes(task.spread[4:]) / 2**32)
        self._again.append(task)

    def _learn(self, task: _Task, turn: Turn, outcome: Observation | ProbeError) -> None:
        """Report an outcome to the pace, as far as it is a sign of the network rather than of the node."""
        if not isinstance(outcome, ProbeError):
            if _timed_out(task):
                self._pace.overloaded(turn)
        elif outcome.reason is GapReason.INTERNAL:
            # Of a source's own errors: no more files can be opened.
            self._pace.overloaded(turn)
        elif outcome.reason is GapReason.CONNECTION_LOST:
            self._pace.faulty()

    def _finish(self, task: _Task, outcome: Observation | ProbeError) -> None:
        node = task.registration.node
        self.failed_once.pop(node, None)
        self._left -= 1
        if isinstance(outcome, ProbeError):
            error = outcome if task.before is None else tried_twice(task.before, outcome)
            self._results.put_nowait(gap_of(node, error))
        else:
            self._results.put_nowait(outcome)

    def _late(self, turn: Turn) -> None:
        self._pace.late(turn)
        self._wake.set()


def tried_twice(first: ProbeError, second: ProbeError) -> ProbeError:
    """Word the second of two errors so that it names the first."""
    differs = "" if first.reason is second.reason else f", first {first.reason.value}"
    return ProbeError(second.reason, f"{second.detail} (tried twice{differs})")


def _timed_out(task: _Task) -> bool:
    """Tell whether the first try got no answer. Such a node may well be dead: its second try takes no counted place."""
    return task.before is not None and task.before.reason in _TIMEOUTS


def spread(node: NodeId) -> bytes:
    """Make eight bytes of a node's own: its place in an order that has nothing to do with names."""
    # The same on each run and in each process, which Python's own hash is not.
    return hashlib.blake2b("\0".join(node).encode("utf-8", "surrogatepass"), digest_size=8).digest()
