"""Courier of a watch: empties the outbox for as long as the watch lives, each notifier's line on its own.

Whoever plans puts entries into the outbox and calls `wake`; nobody waits for a delivery. All of it runs in the event
loop's thread, and the outbox is written whole between two awaits: no transaction of a plan lies in one of a delivery.

A storm is one message for people: a notifier that sums up (Slack) waits until what waits for it grows no more. The
times are in `StormTimes`. Nobody else waits.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from alerts.delivery.line import OVER, NotifierLine
from alerts.memory.notification_log import NotificationLog
from alerts.models import Receipt
from alerts.notifiers.interface import Notifier
from auditor.errors import LineStopped, StateError

TRY_AGAIN = 30.0
"""Seconds until a line that had to stop, with notifications left, is tried again."""


class StormTimes(NamedTuple):
    """Times that make one message of a storm, in seconds."""

    first: float = 0.75
    """Wait for a second incident: a page is due within two seconds of its cause."""
    quiet: float = 3.0
    """Time without a new incident that ends a storm."""
    longest: float = 15.0
    """Time after the first incident at which the message goes, whatever still comes."""


PACE_OF_PEOPLE = StormTimes()


@dataclass(frozen=True, slots=True)
class CourierEvents:
    """What a courier tells of. Called in the event loop, between two awaits."""

    receipt: Callable[[Receipt], None]
    """Called with each receipt."""
    trouble: Callable[[str, str], None]
    """Called with a notifier's name and the reason, for each attempt that failed and is tried again."""
    broken: Callable[[StateError], None]
    """Called where the outbox cannot be read or written: nothing is sent then, for it could not be recorded."""


@dataclass
class _Turn:
    """Line of a notifier, and what wakes it."""

    line: NotifierLine
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Courier:
    """Delivers what waits in the outbox until it is closed."""

    def __init__(
        self,
        store: NotificationLog,
        notifiers: Sequence[Notifier],
        events: CourierEvents,
        *,
        storm: StormTimes = PACE_OF_PEOPLE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """Begin to deliver, inside a running event loop. What waits already goes first.

        may_send: asked right before each message leaves.
        """
        self._events, self._storm = events, storm
        self._closing = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._turns = [
            _Turn(NotifierLine(store, notifier, math.inf, now, self._clock, self._sleep))
            for notifier in notifiers
        ]
        for turn in self._turns:
            name = turn.line.notifier.name
            if turn.line.notifier.sums_up:
                turn.line.settle = partial(self._settle, turn)
            turn.line.trouble = partial(events.trouble, name)
            turn.line.noted = events.receipt
            turn.line.may_send = may_send
            turn.task = asyncio.create_task(self._serve(turn), name=f"alerts to {name}")

    def use(self, store: NotificationLog) -> None:
        """Go on with another store, which holds a copy of the same notifications."""
        for turn in self._turns:
            turn.line.store = store
        self.wake()

    def wake(self) -> None:
        """Say that there are new entries in the outbox."""
        for turn in self._turns:
            turn.woken.set()

    async def close(self, within: float) -> None:
        """End within so many seconds. Until then it goes on sending; what is left stays in the outbox."""
        deadline = self._clock() + within
        for turn in self._turns:
            turn.line.deadline = deadline
        self._closing.set()
        tasks = [turn.task for turn in self._turns if turn.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, turn: _Turn) -> None:
        while True:
            turn.woken.clear()
            await turn.line.run()
            if turn.line.broken is not None:
                self._events.broken(turn.line.broken)
            if self._closing.is_set():
                return
            await self._woken(turn, TRY_AGAIN if turn.line.stopped else math.inf)

    async def _settle(self, turn: _Turn) -> None:
        """Wait until what waits for a notifier that sums up does not grow any more."""
        name = turn.line.notifier.name
        if not (waiting := turn.line.store.waiting().get(name, 0)):
            return
        began = self._clock()
        quiet_at = began + self._storm.first
        while not self._closing.is_set():
            turn.woken.clear()
            left = min(quiet_at, began + self._storm.longest) - self._clock()
            if left <= 0 or not await self._woken(turn, left):
                return
            if (more := turn.line.store.waiting().get(name, 0)) > waiting:
                waiting, quiet_at = more, self._clock() + self._storm.quiet

    async def _woken(self, turn: _Turn, within: float) -> bool:
        """Wait to be woken, within so many seconds or until the end; tell whether it was."""
        return await _first(within, turn.woken, self._closing) is turn.woken

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless the end comes meanwhile and leaves no time for what is behind it. Raises `LineStopped`."""
        until = self._clock() + seconds
        if await _first(seconds, self._closing) is None:
            return
        deadline = min((turn.line.deadline for turn in self._turns), default=until)
        if until >= deadline:
            raise LineStopped(OVER)
        await asyncio.sleep(until - self._clock())


async def _first(within: float, *events: asyncio.Event) -> asyncio.Event | None:
    """Wait for one of the events; return the first one in this order that is set, None after so many seconds."""
    if not any(event.is_set() for event in events):
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            timeout = within if math.isfinite(within) else None
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    return next((event for event in events if event.is_set()), None)
