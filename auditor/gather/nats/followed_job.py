"""One job of a collector that follows a region's nodes, on the auditor's side: its course, and what is said to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nats.aio.subscription import Subscription
from nats.errors import Error, NoRespondersError

from auditor.errors import InvalidValue, ProbeError
from auditor.gather.nats.believed_words import BelievedWords
from auditor.gather.nats.connection import EXPECTED, NatsConnection
from auditor.gather.nats.follow_messages import (
    MOST_MET,
    MOST_UNREAD,
    Again,
    BeginRound,
    ChangeAssignment,
    EndFollowing,
    Keep,
    MeetPeers,
    NumberedNode,
    OfAuditor,
    WantTable,
    written,
)
from auditor.gather.nats.following_reading import FollowingReading, TakenJob
from auditor.gather.nats.message_parts import room_of
from auditor.gather.nats.messages import (
    SILENT,
    NodeToAsk,
    job_subject,
)
from auditor.gather.nats.pieces import Cutting
from auditor.gather.nats.publishing import heeding_cancel, publish
from auditor.gather.nats.sent_assignment import SentAssignment
from auditor.gather.newest_words import NewestWords
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import Prefix
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Registration

log = logging.getLogger(__name__)

READ_EACH = MOST_UNREAD // 8
"""Messages after which the collector is told how far its words are read."""
CHANGE_PAUSE = 0.25
"""Seconds between two changes of the assignment, at least."""
WHOLE_PAUSE = 10.0
"""Seconds after which the assignment is sent whole, where the collector does not say that it has it."""
MOST_AHEAD = 8192
"""Messages that wait here, after which the collector is given up: it heeds no `MOST_UNREAD`, and takes the time of all
others. In pieces, those have some 2,000 at most."""
PENDING, PENDING_BYTES = 2 * MOST_AHEAD, 128 * 1024 * 1024
"""Messages, and bytes of them, that may wait; more are lost."""
MET_WITHIN = 60.0
"""Seconds within which observers say whom they meet."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Times of a following, in seconds."""

    keep: float = 5.0
    """Between two signs of life of the auditor. A collector that is gone is found out by the next one."""
    silent: float = SILENT
    """Without a message of the collector, after which it is lost."""
    tick: float = 1.0
    """Between two looks at what did not come."""


class FollowedJob:
    """Job that a collector took; `run` it once."""

    def __init__(
        self,
        place: TakenJob,
        connection: NatsConnection,
        subscription: Subscription,
        words: BelievedWords,
        news: NewestWords,
        tables: TableStore,
        *,
        device: str,
        silence: float,
        rhythm: Rhythm,
    ) -> None:
        """device: which each node shows. words: what was told of the nodes so far. silence: see `NatsFollower`."""
        self._place = place
        self._connection = connection
        self._subscription = subscription
        self._words = words
        self._news = news
        self._silence = silence
        self._rhythm = rhythm
        self._subject = job_subject(place.region, place.job)
        self._cutting = Cutting(place.job, room_of(connection.max_payload))
        self._sent = SentAssignment()
        self._wanted: tuple[tuple[Registration, NodeToAsk], ...] = ()
        self._mesh: tuple[Prefix, ...] = ()
        self._to_change = False
        self._whole_needed = True
        self._changed_at = 0.0
        self._came_back_at = 0.0
        self._reconnects = connection.client.stats["reconnects"]
        self._told_read = 0
        self._round = False
        self._wake = asyncio.Event()
        self._reading = FollowingReading(
            place, words, news, tables, self._sent, self._wake.set, device=device
        )

    # -- what is asked of it

    def assign(self, nodes: Iterable[tuple[Registration, NodeToAsk]], mesh: Iterable[Prefix]) -> None:
        """Set the nodes to follow, each with what travels of it, and the mesh addresses of the whole registry."""
        self._wanted, self._mesh = tuple(nodes), tuple(mesh)
        self._to_change = True
        self._wake.set()

    def knows(self, node: NodeId) -> bool:
        """Tell whether the collector was told of a node."""
        return self._sent.number(node) is not None

    def begin_round(self) -> None:
        """Have each node looked at that cannot be followed."""
        self._round = True
        self._wake.set()

    async def meet(self, observers: Collection[NodeId]) -> tuple[PeersMet, ...]:
        """Ask followed nodes where they meet their peers; those that do not answer in time are left out."""
        numbers = [number for node in observers if (number := self._sent.number(node)) is not None]
        if not numbers:
            return ()
        question = self._reading.expect(numbers[:MOST_MET])
        ask = MeetPeers(job=self._place.job, question=question.number, observers=numbers[:MOST_MET])
        try:
            await self._publish(ask)
            async with asyncio.timeout(MET_WITHIN):
                await question.answered.wait()
        except TimeoutError:
            log.info("region %s: some observers did not say in time whom they meet", self._place.region)
        except EXPECTED as error:
            log.info("region %s: observers were not asked: %s", self._place.region, type(error).__name__)
        finally:
            self._reading.forget(question)
        return tuple(question.met)

    # -- its course

    async def run(self) -> ProbeError:
        """Follow until the collector is lost. Returns why it is."""
        self._words.begin()
        self._reading.heard_at = self._now()
        parts = [
            asyncio.create_task(work()) for work in (self._read, self._write, self._keep, self._look_out)
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            await self._reading.close()
            await self._say_the_end()

    async def _say_the_end(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self._publish(EndFollowing(job=self._place.job))
        except EXPECTED as error:
            log.debug("region %s: the end was not told: %s", self._place.region, type(error).__name__)

    async def _keep(self) -> ProbeError:
        """Say in turn that the auditor is there. It is asked for an answer that never comes: but where nobody is left
        to hear it, the server says so at once."""
        while True:
            await asyncio.sleep(self._rhythm.keep / 2)
            if not self._connection.client.is_connected:
                continue
            keep = Keep(job=self._place.job, read=self._words.last)
            try:
                asked = self._connection.client.request(
                    self._subject, written(keep), timeout=self._rhythm.keep / 2
                )
                await heeding_cancel(asked)
            except NoRespondersError:
                # Behind a server that was started anew, it may not be back yet: that has its time.
                if self._reading.heard_at >= self._back_at():
                    return self._reading.lost("is gone")
            except TimeoutError:
                continue
            except EXPECTED as error:
                log.info("region %s: %s", self._place.region, type(error).__name__)

    def _back_at(self) -> float:
        """Return the time when the connection was back after its last loss, as far as that is noticed."""
        reconnects = self._connection.client.stats["reconnects"]
        if reconnects != self._reconnects or not self._connection.client.is_connected:
            self._reconnects, self._came_back_at = reconnects, self._now()
        return self._came_back_at

    async def _look_out(self) -> ProbeError:
        """Look out for what does not come: words of single nodes, or anything at all."""
        error = self._reading.lost("sent no word of it for three beats that could be believed")
        looked_at = 0.0
        while True:
            if await _is_set(self._connection.closed, self._rhythm.tick):
                return self._reading.lost("cannot be heard: the connection to NATS is lost")
            now = self._now()
            if now - max(self._reading.heard_at, self._back_at()) > self._rhythm.silent:
                return self._reading.lost(f"was silent for {self._rhythm.silent:g} s")
            if now - looked_at >= self._rhythm.keep:
                looked_at = now
                for heard in self._words.silent(now, self._silence, error):
                    self._news.put(heard)
            self._wake.set()

    # -- to the collector

    async def _write(self) -> ProbeError:
        while True:
            try:
                await self._write_once()
            except InvalidValue as error:
                return self._reading.lost(f"cannot be told which nodes to follow: {error}")
            except EXPECTED as error:
                # Its loss is found out otherwise; what was not sent is sent whole.
                log.info("region %s: %s", self._place.region, type(error).__name__)
                self._whole_needed = True
                await asyncio.sleep(self._rhythm.tick)
            await self._wake.wait()
            self._wake.clear()

    async def _write_once(self) -> None:
        now = self._now()
        if self._words.last - self._told_read >= READ_EACH:
            await self._publish(Keep(job=self._place.job, read=self._words.last))
            self._told_read = self._words.last
        await self._send_assignment(now)
        if (question := self._words.question(now)) is not None:
            log.info("region %s: messages are missing; all states are asked for", self._place.region)
            await self._publish(Again(job=self._place.job, question=question))
        if self._round:
            self._round = False
            await self._publish(BeginRound(job=self._place.job))
        while self._reading.to_want:
            digest = self._reading.to_want.pop(0)
            await self._publish(WantTable(job=self._place.job, digest=digest))

    async def _send_assignment(self, now: float) -> None:
        since = now - self._changed_at
        behind = self._reading.generation != self._sent.generation and since > WHOLE_PAUSE
        whole = self._whole_needed or self._reading.lacks or behind
        if not (self._to_change or whole):
            return
        if since < CHANGE_PAUSE and self._sent.generation:
            asyncio.get_running_loop().call_later(CHANGE_PAUSE - since, self._wake.set)
            return
        travelling = {registration.node: form for registration, form in self._wanted}
        change = self._sent.change((item for item, _ in self._wanted), self._mesh, whole=whole)
        self._to_change = self._whole_needed = self._reading.lacks = False
        if change is None:
            return
        self._changed_at = now
        await self._publish(
            ChangeAssignment(
                job=self._place.job,
                generation=change.generation,
                base=change.base,
                nodes=[
                    NumberedNode(number=number, node=travelling[registration.node])
                    for number, registration in change.nodes.items()
                ],
                gone=list(change.gone),
                mesh=list(change.mesh),
                not_mesh=list(change.not_mesh),
            )
        )

    async def _publish(self, message: OfAuditor) -> None:
        for raw in self._cutting.cut(written(message)):
            await publish(self._connection.client, self._subject, raw)

    # -- from the collector

    async def _read(self) -> ProbeError:
        while True:
            if self._subscription.pending_msgs > MOST_AHEAD:
                return self._reading.lost("sends messages faster than they are taken")
            try:
                raw = (await self._subscription.next_msg(None)).data
            except (Error, TimeoutError) as error:
                return self._reading.lost(f"cannot be heard any more: {type(error).__name__}")
            if (lost := self._reading.take(raw, self._now())) is not None:
                return lost
            unread = self._words.last - self._told_read
            if unread >= READ_EACH or self._whole_needed or self._reading.lacks:
                self._wake.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _is_set(event: asyncio.Event, within: float) -> bool:
    """Wait for an event, so many seconds at most."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False
