"""Delivery of the outbox to the other side: each notifier on its own, in order, within one budget.

A notification leaves the outbox only after the other side took it or refused it for good. Whoever is
killed in between sends it again with the next sweep, under the same dedup_key. What was sent and never clearly
answered is sent three times at most, however many sweeps that takes: then it is a dead letter too, and what waits
behind it goes on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from alerts.memory.notices import MAX_DETAIL, Row
from alerts.memory.notification_log import NotificationLog
from alerts.models import Receipt
from alerts.notifiers.interface import Notifier
from auditor.errors import DeliveryError, StateError
from auditor.values.text import one_line

LONGEST_WAIT = 30.0
"""Seconds between two attempts at most. The first wait is one, each doubles, and up to one more is jitter."""
LONGEST_RETRY_AFTER = 3600.0
"""Seconds. Whoever asks for a longer silence is not believed: alerts must not be muted from outside."""
OVER = "the time for delivery was over"
MOST_UNCLEAR = 3
"""Posts of one notification whose answers nobody could read, before it is put aside."""


async def deliver(
    store: NotificationLog,
    notifiers: Sequence[Notifier],
    *,
    budget: float,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock: Callable[[], float] = monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tuple[Receipt, ...]:
    """Send all pending notifications, also those of earlier sweeps; return receipts by notifier and in order.

    Ends after `budget` seconds: the rest stays in the outbox, in order, and its receipt says so. A
    notifier that fails, hangs or breaks holds up no other. Nothing is raised for it, nor where the state
    database fails: that is a receipt too, and nothing more is sent that could not be recorded.
    """
    deadline = clock() + budget
    waiting = _waiting(store)
    if isinstance(waiting, StateError):
        return tuple(
            Receipt(notifier.name, accepted=False, detail=str(waiting), attempts=0) for notifier in notifiers
        )
    lines = [_Queue(store, notifier, deadline, now, clock, sleep) for notifier in notifiers]
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


def _bounded(seconds: float) -> float:
    """Bound the wait that the other side asked for, in seconds."""
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _waiting(store: NotificationLog) -> dict[str, int] | StateError:
    try:
        return store.waiting()
    except StateError as error:
        return error


class _PutAside(Exception):
    """Part of the batch, posted too often without a clear answer, became dead letters; the rest is to be tried anew."""


class _Stopped(Exception):
    """End of this notifier's turn; the text says why, the rest waits for the next sweep."""


@dataclass
class _Queue:
    """Queue of one notifier during one delivery."""

    store: NotificationLog
    notifier: Notifier
    deadline: float
    now: Callable[[], datetime]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    receipts: list[Receipt] = field(default_factory=list)
    called_at: float | None = None
    """Clock time when the last call ended; the next one keeps its distance."""

    async def run(self) -> list[Receipt]:
        """Send the waiting notifications, batch by batch, until none is left or it must stop."""
        try:
            await self._hold()
            while batch := self._batch():
                await self._deliver(batch)
        except _Stopped as stop:
            self._left(str(stop))
        except StateError as error:
            self._add_receipt(str(error), accepted=False)
        except Exception as error:  # noqa: BLE001  (one notifier's fault must not end the others)
            self._left(_internal(error))
        return self.receipts

    async def _hold(self) -> None:
        """Keep the wait that the other side asked for, perhaps in an earlier sweep. Raises `_Stopped`."""
        until = self.store.not_before(self.notifier.name)
        if until is None or not self.store.pending(self.notifier.name, 1):
            return
        seconds = (until - self.now()).total_seconds()
        if not 0 < seconds <= LONGEST_RETRY_AFTER:
            return  # it is over; or the clock was set back since, and nobody asked for that long
        if self.clock() + seconds >= self.deadline:
            raise _Stopped(f"the other side asked to be left alone until {until:%Y-%m-%d %H:%M:%S}Z")
        await self.sleep(seconds)

    def _batch(self) -> list[Row]:
        """Select the next rows to go in one call. Never two of one incident: a resolve waits for its trigger."""
        batch: list[Row] = []
        marks: set[str] = set()
        for row in self.store.pending(self.notifier.name, max(1, self.notifier.max_per_message)):
            mark = row.notification.incident.fingerprint
            if mark in marks:
                break
            marks.add(mark)
            batch.append(row)
        return batch

    async def _deliver(self, batch: list[Row]) -> None:
        """Deliver one batch; if it is refused, try its notifications one by one to find the one at fault."""
        try:
            outcome, attempts = await self._attempts(batch)
        except _PutAside:
            return
        if isinstance(outcome, str):
            try:
                self.store.accepted(batch, outcome, self.now())
            except StateError as error:
                raise StateError(
                    f"{outcome}, but that could not be recorded, so it will be sent again: {error}"
                ) from None
            self._add_receipt(outcome, accepted=True, attempts=attempts)
        elif len(batch) > 1:
            for row in batch:
                await self._deliver([row])
        else:
            self.store.refused(batch, str(outcome), self.now())
            self._add_receipt(str(outcome), accepted=False, attempts=attempts, permanent=True)

    async def _attempts(self, batch: list[Row]) -> tuple[str | DeliveryError, int]:
        """Call until there is an answer or a permanent refusal; return it with the number of calls.

        Raises `_Stopped`, and `_PutAside` where no answer was clear and some of the batch was posted too often.
        """
        try:
            payload = self.notifier.payload([row.notification for row in batch])
        except DeliveryError as error:
            return error, 0
        except Exception as error:  # noqa: BLE001  (the next line says what becomes of it)
            # It would fail alike with every sweep, and hold up all that comes after it.
            return DeliveryError(f"no message could be made of it: {_internal(error)}", permanent=True), 0
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            wait=_wait,
            stop=lambda state: self.clock() + state.upcoming_sleep >= self.deadline,
            after=lambda state: self._postpone(batch, _failure(state)),
            sleep=self.sleep,
            reraise=True,
        )
        try:
            answer: str = await retrying(self._call, batch, payload)
        except DeliveryError as error:
            if error.local:
                self.store.declined(batch)
                self.store.postponed(batch, str(error), None, self.now())
            if not error.permanent:
                raise _Stopped(str(error)) from None
            return error, retrying.statistics["attempt_number"]
        return answer, retrying.statistics["attempt_number"]

    async def _call(self, batch: list[Row], payload: bytes) -> str:
        """Make one call, at its distance from the one before and cut off by the budget."""
        if self.called_at is not None:
            distance = self.called_at + self.notifier.pause - self.clock()
            if distance > 0 and self.clock() + distance < self.deadline:
                await self.sleep(distance)
            elif distance > 0:
                raise _Stopped(OVER)
        left = self.deadline - self.clock()
        if left <= 0:
            raise _Stopped(OVER)
        self.store.calling(batch)
        try:
            async with asyncio.timeout(left) as limit:
                return await self.notifier.send(payload)
        except DeliveryError as error:
            if error.permanent:
                self.store.declined(batch)
            raise
        except Exception as error:  # noqa: BLE001  (reported by its type; its text could hold the URL or the key)
            why = OVER if limit.expired() else _internal(error)
            # Perhaps it arrived: then it arrives twice, under one dedup_key.
            self.store.postponed(batch, why, None, self.now())
            if limit.expired():
                self._unclear(batch, why)
            raise _Stopped(why) from None
        finally:
            self.called_at = self.clock()

    def _postpone(self, batch: list[Row], failure: DeliveryError) -> None:
        """Record a failed attempt, and the wait that the other side asked for."""
        asked = failure.retry_after
        until = None if asked is None else self.now() + timedelta(seconds=_bounded(asked))
        self.store.postponed(batch, str(failure), until, self.now())
        if failure.unclear and self._unclear(batch, str(failure)):
            raise _PutAside

    def _unclear(self, batch: list[Row], why: str) -> bool:
        """Count a call of unknown outcome; tell whether some notifications became dead letters for it."""
        posts = self.store.unanswered(batch)
        given_up = [row for row in batch if posts[row.id] >= MOST_UNCLEAR]
        if given_up:
            said = f"it may have arrived: sent {MOST_UNCLEAR} times, and no answer was clear: {why}"
            self.store.refused(given_up, said, self.now())
            self._add_receipt(said, accepted=False, attempts=MOST_UNCLEAR, permanent=True)
        return bool(given_up)

    def _left(self, why: str) -> None:
        try:
            count = self.store.waiting().get(self.notifier.name, 0)
        except StateError as error:
            why = f"{why}; {error}"
        else:
            why = f"{why}; {count} left for the next sweep"
        self._add_receipt(why, accepted=False)

    def _add_receipt(
        self, detail: str, *, accepted: bool, attempts: int = 0, permanent: bool = False
    ) -> None:
        self.receipts.append(
            Receipt(self.notifier.name, accepted, one_line(detail, most=MAX_DETAIL), attempts, permanent)
        )


def _failure(state: RetryCallState) -> DeliveryError:
    error = state.outcome.exception() if state.outcome is not None else None
    assert isinstance(error, DeliveryError)  # noqa: S101  (only these are tried again)
    return error


def _may_pass(error: BaseException) -> bool:
    """Tell whether another attempt in the same delivery may help: a fault on this side stays for a while."""
    return isinstance(error, DeliveryError) and not error.permanent and not error.local


_backoff = wait_exponential_jitter(max=LONGEST_WAIT)


def _wait(state: RetryCallState) -> float:
    """Return the seconds until the next attempt: the wait asked for, and never less than the backoff."""
    return max(_backoff(state), _bounded(_failure(state).retry_after or 0.0))


def _internal(error: Exception) -> str:
    return f"internal error: {type(error).__name__}"
