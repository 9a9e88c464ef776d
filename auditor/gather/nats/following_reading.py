"""What an auditor reads from a collector that follows nodes: their states, once their tables are here, and beats."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import ValidationError

from auditor.errors import GapReason, InvalidValue, ProbeError, StreamBroken
from auditor.gather.collector import Seen
from auditor.gather.nats.believed_words import Arrival, BelievedWords
from auditor.gather.nats.follow_messages import (
    LONGEST_MESSAGE,
    EndedFollowing,
    MetPeers,
    NodeState,
    OfCollector,
    Piece,
    SaidAll,
    States,
    StillSo,
    TableText,
    Working,
    read_of_collector,
)
from auditor.gather.nats.message_parts import ReadingLines, read_table
from auditor.gather.nats.messages import TableDifference, gap_of_node
from auditor.gather.nats.pieces import Joining
from auditor.gather.nats.promptness import Promptness
from auditor.gather.nats.sent_assignment import SentAssignment
from auditor.gather.newest_words import NewestWords
from auditor.nodes.table_store import TableStore
from auditor.state.recorded_forms import read_observation
from auditor.values.addresses import PublicKey
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Observation
from auditor.values.route_table import RouteTable
from auditor.values.text import for_detail, without_login

log = logging.getLogger(__name__)

LATE = 2.0
"""Seconds by which a message may be later than the quickest one lately: then its beats are not believed."""
TEXT_WITHIN = 20.0
"""Seconds within which the text of a table comes that was asked for."""
MOST_LEFT_OUT = 1000
"""Messages that are left out, after which the job is given up: each costs time."""


class TakenJob(NamedTuple):
    """Job that a collector took."""

    job: str
    region: str
    collector: str
    """Which one took it, for people."""


class MeetQuestion:
    """Question to observers whom they meet."""

    def __init__(self, number: int, asked: set[int]) -> None:
        self.number = number
        self.asked = asked
        """Those that have not answered yet."""
        self.met: list[PeersMet] = []
        self.answered = asyncio.Event()


class FollowingReading:
    """Reader of what the collector of one job says of its nodes. Close it in the end."""

    def __init__(
        self,
        place: TakenJob,
        words: BelievedWords,
        news: NewestWords,
        tables: TableStore,
        sent: SentAssignment,
        wake: Callable[[], None],
        *,
        device: str,
    ) -> None:
        """words: what was told of the nodes so far. news: takes what is to be told. sent: the assignment, as the
        collector was told it. wake: called when something is to be asked of it. device: which each node shows."""
        self._place = place
        self._words = words
        self._news = news
        self._tables = tables
        self._sent = sent
        self._wake = wake
        self._device = device
        self.heard_at = self._now()
        """Time when the collector was last heard of."""
        self.generation = 0
        """Generation of the assignment that the collector says it has."""
        self.lacks = False
        """True: it said that it needs the assignment whole."""
        self.to_want: list[str] = []
        """Digests of tables whose texts are to be asked for."""
        self._joining = Joining()
        self._promptness = Promptness()
        self._texts: dict[str, asyncio.Future[RouteTable]] = {}
        self._coming: dict[NodeId, _Coming] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._questions: dict[int, MeetQuestion] = {}
        self._question = 0
        self._left_out: Counter[str] = Counter()

    async def close(self) -> None:
        """Wait for no table and no answer any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for question in self._questions.values():
            question.answered.set()

    # -- where observers meet their peers

    def expect(self, observers: Iterable[int]) -> MeetQuestion:
        """Expect answers of these observers to a question, until it is forgotten."""
        self._question += 1
        question = self._questions[self._question] = MeetQuestion(self._question, set(observers))
        return question

    def forget(self, question: MeetQuestion) -> None:
        """Expect no more answers to it."""
        self._questions.pop(question.number, None)

    # -- messages

    def take(self, raw: bytes, arrived: float) -> ProbeError | None:
        """Take the next message, which arrived at this time. Returns the end of the job where that is it."""
        try:
            message = self._whole(raw, arrived)
        except InvalidValue as error:
            return self._leave_out(f"unreadable ({error})")
        if message is None:
            return None
        if isinstance(message, EndedFollowing):
            return self.lost(f"gave up: {without_login(for_detail(message.detail))}")
        return self._take(message, arrived)

    def lost(self, why: str) -> ProbeError:
        """Word the end of the job, and what was left out before it."""
        left_out = ""
        if self._left_out:
            most = ", ".join(f"{number:,} {what}" for what, number in self._left_out.most_common(3))
            left_out = f" (left out: {most})"
        return ProbeError(
            GapReason.COLLECTOR_LOST,
            f"{self._place.collector} of the region {self._place.region} {why}{left_out}",
        )

    def _whole(self, raw: bytes, arrived: float) -> OfCollector | None:
        """Read a message; None: further pieces of it are to come. Raises `InvalidValue`."""
        message = read_of_collector(raw, self._place.job)
        if not isinstance(message, Piece):
            return message
        self.heard_at = arrived
        whole = self._joining.take(message)
        return None if whole is None else read_of_collector(whole, self._place.job, LONGEST_MESSAGE)

    def _leave_out(self, what: str) -> ProbeError | None:
        """Count a message that is left out. Returns the end of the job where there are too many."""
        if what not in self._left_out and len(self._left_out) >= 16:
            what = "unreadable"
        if what not in self._left_out:
            log.warning("region %s: left out a message: %s", self._place.region, what)
        self._left_out[what] += 1
        return self.lost("sends what is not agreed") if self._left_out.total() > MOST_LEFT_OUT else None

    def _take(self, message: OfCollector, arrived: float) -> ProbeError | None:
        if isinstance(message, Piece):
            return self._leave_out("piece in a piece")
        match self._words.arrived(message.number):
            case Arrival.KNOWN:
                return self._leave_out("doubled or late")
            case Arrival.AFTER_LOSS:
                self._wake()
            case Arrival.NEXT:
                pass
        self.heard_at = arrived
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
        return None

    def _take_answer(self, message: Working | SaidAll | MetPeers | EndedFollowing) -> None:
        match message:
            case Working():
                self.generation = message.generation
                self.lacks = self.lacks or message.lacks
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
            raise self.lost("told of another node in its place")
        if state.unseen is not None:
            return gap_of_node(state.unseen)
        if state.seen is None or state.seen.device != self._device:
            raise self.lost("told of another device")
        try:
            return read_observation(state.seen)
        except ValidationError:
            raise self.lost("told what no node shows") from None

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
            self.to_want.append(digest)
            self._wake()
        try:
            async with asyncio.timeout(TEXT_WITHIN):
                return await asyncio.shield(coming)
        except TimeoutError:
            raise self.lost(f"did not send the table {digest[:12]}") from None
        finally:
            if self._texts.get(digest) is coming:
                del self._texts[digest]

    def _take_text(self, message: TableText) -> None:
        coming = self._texts.get(message.digest)
        if coming is None or coming.done():
            return
        if message.lines is None:
            coming.set_exception(self.lost(f"has the table {message.digest[:12]} no more"))
            return
        text = "".join(f"{line}\n" for line in message.lines).encode("utf-8", "replace")
        try:
            table = read_table(text)
        except InvalidValue as error:
            coming.set_exception(self.lost(f"sent a table that is none: {error}"))
            return
        if table.digest != message.digest:
            coming.set_exception(self.lost(f"sent another text for the table {message.digest[:12]}"))
            return
        coming.set_result(table)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


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
