"""Job of a collector that follows nodes: what it hears goes to the auditor, as fast as that one reads."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import aclosing
from functools import lru_cache

from pydantic import ValidationError

from auditor.errors import GapReason, InvalidValue, NatsAway, ProbeError
from auditor.gather.collector import Follower, gap_of
from auditor.gather.following import MEET_AT_ONCE
from auditor.gather.nats.follow_messages import (
    LONGEST_MESSAGE,
    MOST_UNREAD,
    Again,
    BeginRound,
    ChangeAssignment,
    EndedFollowing,
    EndFollowing,
    Keep,
    MeetPeers,
    MetPeer,
    MetPeers,
    NodeState,
    OfAuditor,
    OfCollector,
    Piece,
    SaidAll,
    States,
    StillSo,
    TableText,
    WantTable,
    Working,
    read_of_auditor,
    written,
)
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.message_parts import WritingLines
from auditor.gather.nats.messages import (
    ALIVE,
    BATCH,
    BATCH_SECONDS,
    NodeSeen,
    node_unseen,
    registration_to_ask,
)
from auditor.gather.nats.pieces import Cutting, Joining
from auditor.gather.nats.sent_assignment import AssignmentChange, TakenAssignment
from auditor.gather.nats.words_to_send import StateToSend, WordsToSend
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import Prefix
from auditor.values.meetings import PeersMet
from auditor.values.models import Observation

log = logging.getLogger(__name__)

BEATS_EACH = 1.0
"""Seconds between two messages with beats."""
FORGET_EACH = 60.0
"""Seconds between two times of forgetting tables that no node shows any more."""
UNREAD_BYTES = 8 * 1024 * 1024
"""Bytes that may be under way to the auditor: a server cuts off who is too slow for more."""
MOST_ANSWERS = 256
"""Answers that wait to be sent; of more questions, some are not answered."""


class FollowingJob:
    """Job that follows nodes; `run` it once. What is held is bounded by the nodes, however slowly the auditor reads."""

    def __init__(
        self,
        follower: Follower,
        tables: TableStore,
        channel: JobChannel,
        *,
        clock: Callable[[], float] = time.monotonic,
        alive: float = ALIVE,
    ) -> None:
        """clock: seconds of a steady clock. alive: seconds after which something is said in any case."""
        self._follower = follower
        self._tables = tables
        self._channel = channel
        self._clock = clock
        self._alive = alive
        self._cutting = Cutting(channel.job, channel.most_bytes)
        self._joining = Joining()
        self._assigned = TakenAssignment()
        self._words = WordsToSend()
        self._answers: deque[Callable[[int, float], OfCollector]] = deque()
        self._asked: set[asyncio.Task[None]] = set()
        self._meeting = asyncio.Semaphore(MEET_AT_ONCE)
        self._said_all: int | None = None
        self._wake = asyncio.Event()
        self._sent = 0
        """Number of the newest message."""
        self._read = 0
        """Number of the newest one that the auditor has read."""
        self._unread: deque[tuple[int, int]] = deque()
        """Number and bytes of each message that it has not read."""
        self._lacks = False
        self._say_working = True
        self._beats_at = 0.0
        self._working_at = 0.0

    async def run(self) -> None:
        """Follow until the auditor wants no more of it, or is not heard of."""
        works = (self._listen, self._hear, self._send, self._forget, self._channel.stopping.wait)
        parts = [asyncio.create_task(work()) for work in works]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            if self._channel.stopping.is_set():
                await self._say_the_end("it is about to end")
            for part in done:
                if (error := part.exception()) is not None:
                    if not isinstance(error, NatsAway):
                        await self._say_the_end(f"{type(error).__name__}; its log has more with --verbose")
                    raise error
        finally:
            left = [*parts, *self._asked]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    # -- from the auditor

    async def _listen(self) -> None:
        while (raw := await self._channel.next()) is not None:
            try:
                message = read_of_auditor(raw, self._channel.job)
                if isinstance(message, Piece):
                    whole = self._joining.take(message)
                    if whole is None:
                        continue
                    message = read_of_auditor(whole, self._channel.job, LONGEST_MESSAGE)
            except InvalidValue as error:
                log.warning("job %s: left out what is no message: %s", self._channel.job, error)
                continue
            if isinstance(message, EndFollowing):
                return
            self._take(message)
            self._wake.set()

    def _take(self, message: OfAuditor) -> None:
        match message:
            case ChangeAssignment():
                self._change(message)
            case Keep():
                self._read = max(self._read, min(message.read, self._sent))
            case Again():
                self._said_all = message.question
                self._words.everything_again(self._clock())
            case BeginRound():
                # Files of this machine that may have changed are looked at again.
                self._follower.assign(self._assigned.assignment())
                self._follower.look_again()
            case WantTable():
                self._answer(lambda number, at: self._text(message.digest, number, at))
            case MeetPeers():
                task = asyncio.create_task(self._meet(message))
                self._asked.add(task)
                task.add_done_callback(self._asked.discard)
            case _:
                log.warning("job %s: left out a message of kind %s", self._channel.job, message.kind)

    def _change(self, message: ChangeAssignment) -> None:
        change = AssignmentChange(
            message.generation,
            message.base,
            {item.number: registration_to_ask(item.node) for item in message.nodes},
            tuple(message.gone),
            tuple(map(Prefix, message.mesh)),
            tuple(map(Prefix, message.not_mesh)),
        )
        before = self._assigned.nodes
        self._lacks = not self._assigned.take(change)
        self._say_working = True
        if not self._lacks:
            for node in before - self._assigned.nodes:
                self._words.forget(node)
            self._channel.nodes = len(self._assigned.nodes)
            self._follower.assign(self._assigned.assignment())

    # -- from the nodes

    async def _hear(self) -> None:
        async with aclosing(self._follower.follow(self._tables)) as words:
            async for word in words:
                if self._assigned.number(word.node) is not None:
                    self._words.hear(word, self._clock())
                    self._wake.set()

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(FORGET_EACH)
            self._tables.keep_only(self._words.tables_in_use())

    async def _meet(self, question: MeetPeers) -> None:
        """Ask observers whom they meet, and answer for each of them."""

        async def ask(number: int) -> None:
            node = self._assigned.node(number)
            async with self._meeting:
                met = await self._follower.meet([node]) if node is not None else ()
            self._answer(lambda count, at: self._met(question.question, number, met, count, at))

        await asyncio.gather(*map(ask, question.observers))

    def _answer(self, answer: Callable[[int, float], OfCollector]) -> None:
        if len(self._answers) < MOST_ANSWERS:
            self._answers.append(answer)
            self._wake.set()

    # -- to the auditor

    async def _send(self) -> None:
        """Send what there is, as far as the auditor has read; a sign of life in any case."""
        while True:
            now = self._clock()
            if self._say_working or now - self._working_at >= self._alive:
                self._say_working, self._working_at = False, now
                await self._publish(self._working(now))
            elif not self._room or not await self._send_some(now):
                due = self._working_at + self._alive
                if self._words.beats and self._room:
                    due = min(due, self._beats_at + BEATS_EACH)
                await self._wait(due - now)

    async def _send_some(self, now: float) -> bool:
        """Send one message, of what there is the most urgent. Returns False where there is nothing."""
        if self._answers:
            await self._publish(self._answers.popleft()(self._sent + 1, now))
        elif self._words.states:
            if self._words.states < BATCH:
                await asyncio.sleep(BATCH_SECONDS)  # what comes together goes together
            await self._publish_states()
        elif self._said_all is not None:
            question, self._said_all = self._said_all, None
            said = SaidAll(job=self._channel.job, number=self._sent + 1, at=now, question=question)
            await self._publish(said)
        elif self._words.beats and now - self._beats_at >= BEATS_EACH:
            self._beats_at = now
            await self._publish_beats()
        else:
            return False
        return True

    async def _wait(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return

    @property
    def _room(self) -> bool:
        """Tell whether the auditor has read enough for more to be sent."""
        while self._unread and self._unread[0][0] <= self._read:
            self._unread.popleft()
        sizes = [size for _, size in self._unread if size]
        return len(sizes) < MOST_UNREAD and sum(sizes) < UNREAD_BYTES

    def _working(self, now: float) -> Working:
        return Working(
            job=self._channel.job,
            number=self._sent + 1,
            at=now,
            generation=self._assigned.generation,
            lacks=self._lacks,
        )

    async def _publish_states(self) -> None:
        taken, at = self._words.take_states(BATCH)
        lines = WritingLines()
        states: list[NodeState] = []
        differences = {}
        for state in taken:
            number = self._assigned.number(state.node)
            if number is None:
                continue
            states.append(form := self._state(number, state))
            digest = form.seen.table if form.seen is not None else None
            if digest is not None and digest not in differences:
                table = self._tables.tables.get(digest)
                if table is not None and (table.without or table.plus):
                    differences[digest] = lines.difference(digest, _digest(table.base), table)
        if states:
            await self._publish(
                States(
                    job=self._channel.job,
                    number=self._sent + 1,
                    at=at,
                    states=states,
                    lines=lines.new(),
                    differences=[item for item in differences.values() if item is not None],
                )
            )

    def _state(self, number: int, state: StateToSend) -> NodeState:
        if isinstance(state.seen, Observation):
            try:
                seen = NodeSeen.model_validate(state.seen)
            except ValidationError:
                error = ProbeError(GapReason.UNREADABLE_OUTPUT, "what it shows cannot be told to the auditor")
                gap = gap_of(state.node, error)
            else:
                return NodeState(number=number, seen=seen, followed=state.followed, again=state.again)
        else:
            gap = state.seen
        return NodeState(number=number, unseen=node_unseen(gap), followed=state.followed, again=state.again)

    async def _publish_beats(self) -> None:
        taken, at = self._words.take_beats(self._words.beats)
        numbers: dict[bool, list[int]] = {True: [], False: []}
        for beat in taken:
            if (number := self._assigned.number(beat.node)) is not None:
                numbers[beat.followed].append(number)
        await self._publish(
            StillSo(
                job=self._channel.job,
                number=self._sent + 1,
                at=at,
                nodes=numbers[True],
                unfollowed=numbers[False],
            )
        )

    def _text(self, digest: str, number: int, at: float) -> TableText:
        text = self._text_of(digest)
        lines = text.decode("ascii", "replace").splitlines() if text is not None else None
        return TableText(job=self._channel.job, number=number, at=at, digest=digest, lines=lines)

    def _text_of(self, digest: str) -> bytes | None:
        table = self._tables.tables.get(digest)
        if table is not None:
            return table.text
        for base in {item.base for item in self._tables.tables.values()}:
            if _digest(base) == digest:
                return base
        return None

    def _met(self, question: int, observer: int, met: Iterable[PeersMet], number: int, at: float) -> MetPeers:
        peers = None
        for one in met:
            keys = sorted(one.endpoints.keys() | one.handshake_ages.keys())
            peers = [
                MetPeer(key=key, endpoint=one.endpoints.get(key), age=one.handshake_ages.get(key))
                for key in keys
            ]
        return MetPeers(
            job=self._channel.job, number=number, at=at, question=question, observer=observer, peers=peers
        )

    async def _publish(self, message: OfCollector) -> None:
        try:
            pieces = list(self._cutting.cut(written(message)))
        except InvalidValue as error:
            log.warning(
                "job %s: a message of kind %s is left out: %s", self._channel.job, message.kind, error
            )
            return
        self._sent += 1
        self._unread.append((self._sent, sum(map(len, pieces)) if message.kind != "working" else 0))
        for raw in pieces:
            await self._channel.publish(raw)

    async def _say_the_end(self, detail: str) -> None:
        ended = EndedFollowing(job=self._channel.job, number=self._sent + 1, at=self._clock(), detail=detail)
        try:
            await self._publish(ended)
        except NatsAway as away:
            log.info("job %s: its end was not told: %s", self._channel.job, away)


@lru_cache(maxsize=8)
def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
