"""Line of one notifier: what waits for it in the outbox goes in order, at the pace of the other side.

A notification leaves the outbox only after the other side took it or refused it for good. Whoever is
killed in between sends it again with the next sweep, under the same dedup_key. What was sent and never clearly
answered is sent three times at most, however many sweeps that takes: then it is a dead letter too, and what waits
behind it goes on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from alerts.memory.notices import MAX_DETAIL, Row
from alerts.memory.notification_log import NotificationLog
from alerts.models import Receipt
from alerts.notifiers.interface import Notifier
from alerts.notifiers.permission import sending_while
from auditor.errors import DeliveryError, LineStopped, NotLeading, StateError
from auditor.values.text import one_line

LONGEST_WAIT = 30.0
"""Seconds between two attempts at most. The first wait is one, each doubles, and up to one more is jitter."""
LONGEST_RETRY_AFTER = 3600.0
"""Seconds. Whoever asks for a longer silence is not believed: alerts must not be muted from outside."""
OVER = "the time for delivery was over"
MOST_IN_ONE = 1000
"""Notifications in one message of a notifier that sums up what it cannot tell in full."""
MOST_ONE_BY_ONE = 40
"""Notifications of a refused message that are tried one by one; a larger one is halved."""
MOST_UNCLEAR = 3
"""Posts of one notification whose answers nobody could read, before it is put aside."""


def _bounded(seconds: float) -> float:
    """Bound the wait that the other side asked for, in seconds."""
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


class _PutAside(Exception):
    """Part of the batch, posted too often without a clear answer, became dead letters; the rest is to be tried anew."""


@dataclass
class NotifierLine:
    """Line of one notifier: what waits for it goes in order, batch by batch."""

    store: NotificationLog
    notifier: Notifier
    deadline: float
    now: Callable[[], datetime]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    settle: Callable[[], Awaitable[None]] | None = None
    """Awaited before each message: returns once what waits may go."""
    trouble: Callable[[str], None] | None = None
    """Told of each attempt that failed and is tried again, in one line without secrets."""
    noted: Callable[[Receipt], None] | None = None
    """Told of each receipt when it comes."""
    may_send: Callable[[], bool] = lambda: True
    """Asked right before a message leaves: False: another auditor tells by now, and nothing is sent."""
    receipts: list[Receipt] = field(default_factory=list)
    called_at: float | None = None
    """Clock time when the last call ended; the next one keeps its distance."""
    broken: StateError | None = None
    """Fault of the state that ended the last run; None: it had none."""
    stopped: bool = False
    """True: the last run ended with notifications left."""

    async def run(self) -> list[Receipt]:
        """Send the waiting notifications, batch by batch, until none is left or it must stop; return the receipts."""
        self.receipts, self.broken, self.stopped = [], None, False
        try:
            await self._hold()
            while batch := await self._next_batch():
                await self._deliver(batch)
        except LineStopped as stop:
            self._left(str(stop))
        except NotLeading:
            self.stopped = True  # the one that leads has the same outbox
        except StateError as error:
            self.broken, self.stopped = error, True
            self._add_receipt(str(error), accepted=False)
        except Exception as error:  # noqa: BLE001  (one notifier's fault must not end the others)
            self._left(_internal(error))
        return self.receipts

    async def _hold(self) -> None:
        """Keep the wait that the other side asked for, perhaps in an earlier sweep. Raises `LineStopped`."""
        until = self.store.not_before(self.notifier.name)
        if until is None or not self.store.pending(self.notifier.name, 1):
            return
        seconds = (until - self.now()).total_seconds()
        if not 0 < seconds <= LONGEST_RETRY_AFTER:
            return  # it is over; or the clock was set back since, and nobody asked for that long
        if self.clock() + seconds >= self.deadline:
            raise LineStopped(f"the other side asked to be left alone until {until:%Y-%m-%d %H:%M:%S}Z")
        await self.sleep(seconds)

    async def _next_batch(self) -> list[Row]:
        if self.settle is not None:
            await self.settle()
        return self._batch()

    def _batch(self) -> list[Row]:
        """Select the next rows to go in one call. Never two of one incident: a resolve waits for its trigger."""
        batch: list[Row] = []
        marks: set[str] = set()
        most = MOST_IN_ONE if self.notifier.sums_up else max(1, self.notifier.max_per_message)
        for row in self.store.pending(self.notifier.name, most):
            mark = row.notification.incident.fingerprint
            if mark in marks:
                break
            marks.add(mark)
            batch.append(row)
        return batch

    async def _deliver(self, batch: list[Row]) -> None:
        """Deliver one batch; if it is refused, try its parts to find the notification at fault."""
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
            for part in _parts(batch):
                await self._deliver(part)
        else:
            self.store.refused(batch, str(outcome), self.now())
            self._add_receipt(str(outcome), accepted=False, attempts=attempts, permanent=True)

    async def _attempts(self, batch: list[Row]) -> tuple[str | DeliveryError, int]:
        """Call until there is an answer or a permanent refusal; return it with the number of calls.

        Raises `LineStopped`, and `_PutAside` where no answer was clear and some of the batch was posted too often.
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
                raise LineStopped(str(error)) from None
            return error, retrying.statistics["attempt_number"]
        return answer, retrying.statistics["attempt_number"]

    async def _call(self, batch: list[Row], payload: bytes) -> str:
        """Make one call, at its distance from the one before and cut off by the budget."""
        if self.called_at is not None:
            distance = self.called_at + self.notifier.pause - self.clock()
            if distance > 0 and self.clock() + distance < self.deadline:
                await self.sleep(distance)
            elif distance > 0:
                raise LineStopped(OVER)
        left = self.deadline - self.clock()
        if left <= 0:
            raise LineStopped(OVER)
        self.store.calling(batch)
        try:
            async with asyncio.timeout(left if math.isfinite(left) else None) as limit:
                with sending_while(self.may_send):
                    return await self.notifier.send(payload)
        except DeliveryError as error:
            if error.permanent:
                self.store.declined(batch)
            raise
        except NotLeading:
            raise
        except Exception as error:  # noqa: BLE001  (reported by its type; its text could hold the URL or the key)
            why = OVER if limit.expired() else _internal(error)
            # Perhaps it arrived: then it arrives twice, under one dedup_key.
            self.store.postponed(batch, why, None, self.now())
            if limit.expired():
                self._unclear(batch, why)
            raise LineStopped(why) from None
        finally:
            self.called_at = self.clock()

    def _postpone(self, batch: list[Row], failure: DeliveryError) -> None:
        """Record a failed attempt, and the wait that the other side asked for."""
        asked = failure.retry_after
        if self.trouble is not None:
            self.trouble(one_line(str(failure), most=MAX_DETAIL))
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
        self.stopped = True
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
        detail = one_line(detail, most=MAX_DETAIL)
        receipt = Receipt(self.notifier.name, accepted, detail, attempts, permanent)
        self.receipts.append(receipt)
        if self.noted is not None:
            self.noted(receipt)


def _parts(batch: list[Row]) -> list[list[Row]]:
    """Part a refused batch."""
    if len(batch) <= MOST_ONE_BY_ONE:
        return [[row] for row in batch]
    middle = len(batch) // 2
    return [batch[:middle], batch[middle:]]


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
