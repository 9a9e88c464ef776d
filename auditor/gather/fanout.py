"""Asks many nodes at once, at a pace that adapts, and once more where what failed may pass."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from auditor.errors import GapReason, ProbeError
from auditor.gather.pace import Pace, Turn
from auditor.nodes.interface import surprise
from auditor.values.models import NodeId, Observation, Registration

log = logging.getLogger(__name__)

TRANSIENT = frozenset({GapReason.CONNECT_TIMEOUT, GapReason.CONNECTION_LOST})
"""What is tried once more. Never a login that was refused (accounts get locked), a host key or a mesh address,
which are the same a second later; a refused connection, which is an answer; or a probe that did not end in
time: it may still run there, and a second one would run beside it."""

NO_ANSWER = TRANSIENT | {
    GapReason.NO_HOST,
    GapReason.MESH_HOST,
    GapReason.RESOLVE,
    GapReason.UNREACHABLE,
    GapReason.CONNECT_REFUSED,
    GapReason.COMMAND_TIMEOUT,
    GapReason.INTERNAL,
}
"""What does not come from a node that answered, and says nothing of how many answers a second can be had."""

LOST_PAUSE = 0.25, 0.75
"""Seconds, from and to, before a node is asked again that hung up: whoever is too busy is given time."""
SILENT_PAUSE = 0.05, 0.25
"""The same after a timeout, which was a pause already."""

Observe = Callable[[Registration], Awaitable[Observation]]
Told = Callable[[Registration, Observation | ProbeError], None]


@dataclass(slots=True, eq=False)
class _Task:
    registration: Registration
    spread: bytes
    """Eight bytes that are this node's own: its place in the order, and its share of a pause."""
    before: ProbeError | None = None
    """Why the first try failed."""


class Fanout:
    """Asks each node by `observe`, which raises `ProbeError`; `told` hears how it ended, once a node.

    Use it for one set of nodes; the pace may be used further.
    """

    def __init__(self, observe: Observe, told: Told, pace: Pace) -> None:
        self._observe = observe
        self._told = told
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._left = 0
        self._new: deque[_Task] = deque()
        self._again: deque[_Task] = deque()
        self.failed_once: dict[NodeId, ProbeError] = {}
        """Nodes that wait for their second try, or are at it."""

    async def run(self, registrations: Iterable[Registration]) -> None:
        """Asks them all. May be cancelled: then what was told stands, and nothing is left behind."""
        # In an order that has nothing to do with names: what stands together in the registry often stands in
        # one rack, or behind one bastion, which would be asked for all of its nodes at the same time.
        tasks = (_Task(item, _spread(item.node)) for item in registrations)
        self._new = deque(sorted(tasks, key=lambda task: (task.spread, task.registration.node)))
        self._left = len(self._new)
        async with asyncio.TaskGroup() as group:
            while self._left:
                self._wake.clear()
                while (task := self._next()) is not None:
                    # What was waited for in vain may well be dead: it is only waited for this time, too.
                    patient = task.before is not None and task.before.reason is GapReason.CONNECT_TIMEOUT
                    turn = self._pace.begin(self._loop.time(), patient=patient)
                    group.create_task(self._ask(task, turn))
                await self._wake.wait()

    def _next(self) -> _Task | None:
        if self._again:
            error = self._again[0].before
            patient = error is not None and error.reason is GapReason.CONNECT_TIMEOUT
            return self._again.popleft() if self._pace.free(patient=patient) else None
        return self._new.popleft() if self._new and self._pace.free() else None

    async def _ask(self, task: _Task, turn: Turn) -> None:
        timer = self._loop.call_later(self._pace.patience, self._late, turn)
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
            # One node's surprise must not end the run: it becomes a gap with a place.
            log.debug("unexpected error while looking at %s", registration.node, exc_info=True)
            return surprise(error)

    async def _pause(self, task: _Task, turn: Turn, error: ProbeError) -> None:
        """Before a second try. A node that hung up keeps its room meanwhile, lest the next one take it at once."""
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
        """What an end says of the network rather than of the node."""
        if not isinstance(outcome, ProbeError):
            if task.before is not None and task.before.reason is GapReason.CONNECT_TIMEOUT:
                self._pace.overloaded(turn)
        elif outcome.reason is GapReason.INTERNAL:
            # Of a source's own errors: no more files can be opened.
            self._pace.overloaded(turn)
        elif outcome.reason is GapReason.CONNECTION_LOST:
            self._pace.faulty()

    def _finish(self, task: _Task, outcome: Observation | ProbeError) -> None:
        if isinstance(outcome, ProbeError) and task.before is not None:
            outcome = tried_twice(task.before, outcome)
        self.failed_once.pop(task.registration.node, None)
        self._left -= 1
        self._told(task.registration, outcome)

    def _late(self, turn: Turn) -> None:
        self._pace.late(turn)
        self._wake.set()


def tried_twice(first: ProbeError, second: ProbeError) -> ProbeError:
    """The second error, saying that there was a first one."""
    differs = "" if first.reason is second.reason else f", first {first.reason.value}"
    return ProbeError(second.reason, f"{second.detail} (tried twice{differs})")


def _spread(node: NodeId) -> bytes:
    # The same on each run and in each process, which Python's own hash is not.
    return hashlib.blake2b("\0".join(node).encode("utf-8", "surrogatepass"), digest_size=8).digest()
