"""One job of a collector that follows a region's nodes, on the auditor's side: what is said to it, and what it says."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from nats.aio.subscription import Subscription
from nats.errors import Error, NoRespondersError
from pydantic import ValidationError

from auditor.errors import GapReason, InvalidValue, ProbeError, StreamBroken
from auditor.gather.collector import Seen
from auditor.gather.nats.believed_words import Arrival, BelievedWords
from auditor.gather.nats.connection import EXPECTED, NatsConnection
from auditor.gather.nats.follow_messages import (
    LONGEST_MESSAGE,
    MOST_MET,
    MOST_UNREAD,
    Again,
    BeginRound,
    ChangeAssignment,
    EndedFollowing,
    EndFollowing,
    Keep,
    MeetPeers,
    MetPeers,
    NodeState,
    NumberedNode,
    OfAuditor,
    OfCollector,
    Piece,
    SaidAll,
    States,
    StillSo,
    TableText,
    WantTable,
    Working,
    read_of_collector,
    written,
)
from auditor.gather.nats.message_parts import ReadingLines, read_table, room_of
from auditor.gather.nats.messages import (
    SILENT,
    NodeToAsk,
    TableDifference,
    gap_of_node,
    job_subject,
)
from auditor.gather.nats.pieces import Cutting, Joining
from auditor.gather.nats.promptness import Promptness
from auditor.gather.nats.publishing import heeding_cancel, publish
from auditor.gather.nats.sent_assignment import SentAssignment
from auditor.gather.newest_words import NewestWords
from auditor.nodes.table_store import TableStore
from auditor.state.recorded_forms import read_observation
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Observation, Registration
from auditor.values.route_table import RouteTable
from auditor.values.text import for_detail, without_login

log = logging.getLogger(__name__)

LATE = 2.0
"""Seconds by which a message may be later than the quickest one lately: then its beats are not believed."""
READ_EACH = MOST_UNREAD // 8
"""Messages after which the collector is told how far its words are read."""
CHANGE_PAUSE = 0.25
"""Seconds between two changes of the assignment, at least."""
WHOLE_PAUSE = 10.0
"""Seconds after which the assignment is sent whole, where the collector does not say that it has it."""
TEXT_WITHIN = 20.0
"""Seconds within which the text of a table comes that was asked for."""
MET_WITHIN = 60.0
"""Seconds within which observers say whom they meet."""
MOST_LEFT_OUT = 1000
"""Messages that are left out, after which the job is given up: each costs time."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Times of a following, in seconds."""

    keep: float = 5.0
    """Between two signs of life of the auditor. A collector that is gone is found out by the next one."""
    silent: float = SILENT
    """Without a message of the collector, after which it is lost."""
    tick: float = 1.0
    """Between two looks at what did not come."""


class TakenJob(NamedTuple):
    """Job that a collector took."""

    job: str
    region: str
    collector: str
    """Which one took it, for people."""


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
        self._tables = tables
        self._device = device
        self._silence = silence
        self._rhythm = rhythm
        self._subject = job_subject(place.region, place.job)
        self._cutting = Cutting(place.job, room_of(connection.max_payload))
        self._joining = Joining()
        self._promptness = Promptness()
        self._sent = SentAssignment()
        self._wanted: tuple[tuple[Registration, NodeToAsk], ...] = ()
        self._mesh: tuple[Prefix, ...] = ()
        self._to_change = False
        self._whole_needed = True
        self._changed_at = 0.0
        self._has = 0
        """Generation of the assignment that the collector says it has."""
        self._heard_at = 0.0
        self._came_back_at = 0.0
        self._reconnects = connection.client.stats["reconnects"]
        self._told_read = 0
        self._round = False
        self._wake = asyncio.Event()
        self._texts: dict[str, asyncio.Future[RouteTable]] = {}
        self._to_want: list[str] = []
        self._coming: dict[NodeId, _Coming] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions: dict[int, _Question] = {}
        self._question = 0
        self._left_out: Counter[str] = Counter()

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
        self._question += 1
        question = self._questions[self._question] = _Question(set(numbers[:MOST_MET]))
        ask = MeetPeers(job=self._place.job, question=self._question, observers=numbers[:MOST_MET])
        try:
            await self._publish(ask)
            async with asyncio.timeout(MET_WITHIN):
                await question.answered.wait()
        except TimeoutError:
            log.info("region %s: some observers did not say in time whom they meet", self._place.region)
        except EXPECTED as error:
            log.info("region %s: observers were not asked: %s", self._place.region, type(error).__name__)
        finally:
            self._questions = {number: one for number, one in self._questions.items() if one is not question}
        return tuple(question.met)

    # -- its course

    async def run(self) -> ProbeError:
        """Follow until the collector is lost. Returns why it is."""
        self._words.begin()
        self._heard_at = self._now()
        parts = [
            asyncio.create_task(work()) for work in (self._read, self._write, self._keep, self._look_out)
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            return next(iter(done)).result()
        finally:
            left = [*parts, *self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            for question in self._questions.values():
                question.answered.set()
            await self._say_the_end()

    async def _say_the_end(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self._publish(EndFollowing(job=self._place.job))
        except EXPECTED as error:
            log.debug("region %s: the end was not told: %s", self._place.region, type(error).__name__)

    def _lost(self, why: str) -> ProbeError:
        left_out = ""
        if self._left_out:
            most = ", ".join(f"{number:,} {what}" for what, number in self._left_out.most_common(3))
            left_out = f" (left out: {most})"
        return ProbeError(
            GapReason.COLLECTOR_LOST,
            f"{self._place.collector} of the region {self._place.region} {why}{left_out}",
        )

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
                if self._heard_at >= self._back_at():
                    return self._lost("is gone")
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
        error = self._lost("sent no word of it for three beats that could be believed")
        looked_at = 0.0
        while True:
            if await _is_set(self._connection.closed, self._rhythm.tick):
                return self._lost("cannot be heard: the connection to NATS is lost")
            now = self._now()
            if now - max(self._heard_at, self._back_at()) > self._rhythm.silent:
                return self._lost(f"was silent for {self._rhythm.silent:g} s")
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
                return self._lost(f"cannot be told which nodes to follow: {error}")
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
        while self._to_want:
            await self._publish(WantTable(job=self._place.job, digest=self._to_want.pop(0)))

    async def _send_assignment(self, now: float) -> None:
        since = now - self._changed_at
        behind = self._has != self._sent.generation and since > WHOLE_PAUSE
        whole = self._whole_needed or behind
        if not (self._to_change or whole):
            return
        if since < CHANGE_PAUSE and self._sent.generation:
            asyncio.get_running_loop().call_later(CHANGE_PAUSE - since, self._wake.set)
            return
        travelling = {registration.node: form for registration, form in self._wanted}
        change = self._sent.change((item for item, _ in self._wanted), self._mesh, whole=whole)
        self._to_change = self._whole_needed = False
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
            try:
                raw = (await self._subscription.next_msg(None)).data
            except (Error, TimeoutError) as error:
                return self._lost(f"cannot be heard any more: {type(error).__name__}")
            arrived = self._now()
            try:
                message = self._whole(raw)
            except InvalidValue as error:
                if (lost := self._leave_out(f"unreadable ({error})")) is not None:
                    return lost
                continue
            if message is None:
                continue
            if isinstance(message, EndedFollowing):
                return self._lost(f"gave up: {without_login(for_detail(message.detail))}")
            if (lost := self._take(message, arrived)) is not None:
                return lost

    def _whole(self, raw: bytes) -> OfCollector | None:
        """Read a message; None: further pieces of it are to come. Raises `InvalidValue`."""
        message = read_of_collector(raw, self._place.job)
        if not isinstance(message, Piece):
            return message
        self._heard_at = self._now()
        whole = self._joining.take(message)
        return None if whole is None else read_of_collector(whole, self._place.job, LONGEST_MESSAGE)

    def _leave_out(self, what: str) -> ProbeError | None:
        """Count a message that is left out. Returns the end of the job where there are too many."""
        if what not in self._left_out and len(self._left_out) >= 16:
            what = "unreadable"
        if what not in self._left_out:
            log.warning("region %s: left out a message: %s", self._place.region, what)
        self._left_out[what] += 1
        return self._lost("sends what is not agreed") if self._left_out.total() > MOST_LEFT_OUT else None

    def _take(self, message: OfCollector, arrived: float) -> ProbeError | None:
        if isinstance(message, Piece):
            return self._leave_out("piece in a piece")
        match self._words.arrived(message.number):
            case Arrival.KNOWN:
                return self._leave_out("doubled or late")
            case Arrival.AFTER_LOSS:
                self._wake.set()
            case Arrival.NEXT:
                pass
        self._heard_at = arrived
        late = self._promptness.late(message.at, arrived) > LATE
        match message:
            case States():
                self._take_states(message, late=late)
            case StillSo():
                self._take_beats(message.nodes, arrived, followed=True, late=late)
                self._take_beats(message.unfollowed, arrived, followed=False, late=late)
            case TableText():
                self._take_text(message)
            case _:
                self._take_answer(message)
        if self._words.last - self._told_read >= READ_EACH or self._whole_needed:
            self._wake.set()
        return None

    def _take_answer(self, message: Working | SaidAll | MetPeers | EndedFollowing) -> None:
        match message:
            case Working():
                self._has = message.generation
                self._whole_needed = self._whole_needed or message.lacks
            case SaidAll():
                self._words.whole(message.question)
            case MetPeers():
                self._take_met(message)

    def _take_beats(self, numbers: Iterable[int], now: float, *, followed: bool, late: bool) -> None:
        for number in numbers:
            node = self._sent.node(number)
            if node is None:
                continue
            if (coming := self._coming.get(node)) is not None:
                coming.beat_at = None if late else now
            elif (word := self._words.beat(node, now, followed=followed, late=late)) is not None:
                self._news.put(word)

    def _take_met(self, message: MetPeers) -> None:
        question = self._questions.get(message.question)
        if question is None or message.observer not in question.asked:
            return
        question.asked.discard(message.observer)
        node = self._sent.node(message.observer)
        if node is not None and message.peers is not None:
            endpoints = {
                PublicKey(peer.key): peer.endpoint for peer in message.peers if peer.endpoint is not None
            }
            ages = {PublicKey(peer.key): peer.age for peer in message.peers if peer.age is not None}
            question.met.append(PeersMet(node, endpoints, ages))
        if not question.asked:
            question.answered.set()

    # -- states, and the tables that they name

    def _take_states(self, message: States, *, late: bool) -> None:
        try:
            differences = _Differences(message)
        except StreamBroken as error:
            self._leave_out(str(error))
            differences = None
        for state in message.states:
            node = self._sent.node(state.number)
            if node is None:
                continue  # it left, while this was under way
            try:
                seen = self._read_state(node, state)
            except ProbeError as error:
                self._coming.pop(node, None)
                self._unseen(node, error)
                continue
            coming = _Coming(seen, state, late, differences)
            if isinstance(seen, Observation):
                self._take_observation(node, coming)
            else:
                self._coming.pop(node, None)
                self._tell(node, coming)

    def _read_state(self, node: NodeId, state: NodeState) -> Seen:
        """Read a state. Raises `ProbeError` where it is none of this node."""
        form = state.seen or state.unseen
        if form is None or (form.datacenter, form.name) != tuple(node):
            raise self._lost("told of another node in its place")
        if state.unseen is not None:
            return gap_of_node(state.unseen)
        if state.seen is None or state.seen.device != self._device:
            raise self._lost("told of another device")
        try:
            return read_observation(state.seen)
        except ValidationError:
            raise self._lost("told what no node shows") from None

    def _take_observation(self, node: NodeId, coming: _Coming) -> None:
        waits = node in self._coming
        self._coming[node] = coming
        # No beat is for the state before any more, however long this one's table takes.
        self._words.coming(node)
        if not waits:
            task = asyncio.create_task(self._with_table(node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _with_table(self, node: NodeId) -> None:
        """Tell a node's newest state once its table is at hand."""
        while (coming := self._coming.get(node)) is not None:
            try:
                await self._obtain(coming)
            except ProbeError as error:
                if self._coming.get(node) is coming:
                    del self._coming[node]
                    self._unseen(node, error)
            else:
                if self._coming.get(node) is coming:
                    del self._coming[node]
                    self._tell(node, coming)
                    self._tell_beat(node, coming)

    def _tell_beat(self, node: NodeId, coming: _Coming) -> None:
        """Tell that a state was confirmed while its table was awaited, if that did not take too long."""
        now = self._now()
        if coming.beat_at is not None and now - coming.beat_at < LATE:
            word = self._words.beat(node, now, followed=coming.state.followed)
            if word is not None:
                self._news.put(word)

    def _unseen(self, node: NodeId, error: ProbeError) -> None:
        if (word := self._words.unseen(node, error)) is not None:
            self._news.put(word)

    def _tell(self, node: NodeId, coming: _Coming) -> None:
        state = coming.state
        word = self._words.state(
            node, coming.seen, self._now(), followed=state.followed, again=state.again, late=coming.late
        )
        if word is not None:
            self._news.put(word)

    async def _obtain(self, coming: _Coming) -> None:
        """Have the table of a state at hand. Raises `ProbeError`."""
        if not isinstance(coming.seen, Observation):
            return
        digest, differences = coming.seen.table, coming.differences
        difference = differences.of(digest) if differences is not None else None
        if difference is None or differences is None:
            await self._tables.obtain(digest, lambda: self._text(digest))
            return
        reading = differences.lines

        def changed(base: RouteTable) -> RouteTable:
            try:
                return reading.table(difference, base)
            except StreamBroken as error:
                raise ProbeError(GapReason.COLLECTOR_LOST, str(error)) from None

        await self._tables.obtain_difference(
            digest, difference.base, lambda: self._text(difference.base), changed
        )

    async def _text(self, digest: str) -> RouteTable:
        """Have a table's text sent. Raises `ProbeError`."""
        coming = self._texts.get(digest)
        if coming is None:
            coming = self._texts[digest] = asyncio.get_running_loop().create_future()
            self._to_want.append(digest)
            self._wake.set()
        try:
            async with asyncio.timeout(TEXT_WITHIN):
                return await asyncio.shield(coming)
        except TimeoutError:
            raise self._lost(f"did not send the table {digest[:12]}") from None
        finally:
            if self._texts.get(digest) is coming:
                del self._texts[digest]

    def _take_text(self, message: TableText) -> None:
        coming = self._texts.get(message.digest)
        if coming is None or coming.done():
            return
        if message.lines is None:
            coming.set_exception(self._lost(f"has the table {message.digest[:12]} no more"))
            return
        text = "".join(f"{line}\n" for line in message.lines).encode("utf-8", "replace")
        try:
            table = read_table(text)
        except InvalidValue as error:
            coming.set_exception(self._lost(f"sent a table that is none: {error}"))
            return
        if table.digest != message.digest:
            coming.set_exception(self._lost(f"sent another text for the table {message.digest[:12]}"))
            return
        coming.set_result(table)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _is_set(event: asyncio.Event, within: float) -> bool:
    """Wait for an event, so many seconds at most."""
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False


@dataclass(slots=True, eq=False)
class _Coming:
    """State whose table is awaited."""

    seen: Seen
    state: NodeState
    late: bool
    differences: _Differences | None
    beat_at: float | None = None
    """When it was confirmed; None: it was not."""


class _Differences:
    """Tables that one message tells as differences. Raises `StreamBroken` for lines that no node sends."""

    def __init__(self, message: States) -> None:
        self.lines = ReadingLines()
        self.lines.take(message.lines)
        self._of = {item.digest: item for item in message.differences}

    def of(self, digest: str) -> TableDifference | None:
        """Find the difference that tells a table."""
        return self._of.get(digest)


class _Question:
    """Question to observers whom they meet."""

    def __init__(self, asked: set[int]) -> None:
        self.asked = asked
        """Those that have not answered yet."""
        self.met: list[PeersMet] = []
        self.answered = asyncio.Event()
