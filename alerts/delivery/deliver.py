"""Delivery of the outbox to the other side: each notifier on its own, in order, within one budget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import monotonic

from alerts.delivery.line import NotifierLine
from alerts.memory.notification_log import NotificationLog
from alerts.models import Receipt
from alerts.notifiers.interface import Notifier
from auditor.errors import StateError


async def deliver(
    store: NotificationLog,
    notifiers: Sequence[Notifier],
    *,
    budget: float,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    may_send: Callable[[], bool] = lambda: True,
) -> tuple[Receipt, ...]:
    """Send all pending notifications, also those of earlier sweeps; return receipts by notifier and in order.

    Ends after `budget` seconds: the rest stays in the outbox, in order, and its receipt says so. A
    notifier that fails, hangs or breaks holds up no other. Nothing is raised for it, nor where the state
    database fails: that is a receipt too, and nothing more is sent that could not be recorded.
    may_send: asked right before each message leaves.
    """
    deadline = clock() + budget
    waiting = _waiting(store)
    if isinstance(waiting, StateError):
        return tuple(
            Receipt(notifier.name, accepted=False, detail=str(waiting), attempts=0) for notifier in notifiers
        )
    lines = [
        NotifierLine(store, notifier, deadline, now, clock, sleep, may_send=may_send)
        for notifier in notifiers
    ]
    by_line = await asyncio.gather(*(line.run() for line in lines))
    receipts = [receipt for found in by_line for receipt in found]
    receipts += [
        Receipt(
            name,
            accepted=False,
            detail=f"{waiting[name]} wait for it, but the configuration has no notifier of this name; "
            "`wgaudit alerts list` shows them",
            attempts=0,
        )
        for name in sorted(waiting.keys() - {notifier.name for notifier in notifiers})
    ]
    return tuple(receipts)


def _waiting(store: NotificationLog) -> dict[str, int] | StateError:
    try:
        return store.waiting()
    except StateError as error:
        return error
