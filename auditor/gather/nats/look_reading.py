"""PURE: what an auditor believes of the messages that a collector sends about one look."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from pydantic import ValidationError

from auditor.errors import InvalidValue, StreamBroken
from auditor.gather.collector import Seen
from auditor.gather.nats.message_parts import ReadingLines, ReadingTexts, RowReading, WholeText
from auditor.gather.nats.messages import (
    CollectorMessage,
    Failed,
    Last,
    NodeSeen,
    NodeUnseen,
    SeenBatch,
    TableDifference,
    TextPart,
    gap_of_node,
    read_from_collector,
    read_long,
)
from auditor.state.recorded_forms import node_id, read_observation
from auditor.values.models import NodeId
from auditor.values.text import for_detail, without_login

SPARE_BYTES = 64 * 1024 * 1024
"""Bytes that the messages of any look may have."""
BYTES_A_NODE = 16 * 1024
"""Bytes for each node of the look beyond."""
BYTES_A_PEER = 256
"""Bytes for each registered node of each of them, where endpoints are asked for."""
TEXT_BYTES_A_PEER = 4096
"""Bytes of a route table for each registered node, beside `SPARE_TEXT_BYTES`."""
SPARE_TEXT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class LookBounds:
    """Bounds of what a collector may send. `of` makes them as a fleet needs them."""

    all_bytes: int
    """Bytes of all messages but those of texts that were asked for."""
    text_bytes: int
    """Bytes of one text."""

    @staticmethod
    def of(nodes: int, registered: int, *, endpoints: bool, most_text: int) -> LookBounds:
        """Bound a look at so many nodes of a registry of so many. most_text: bytes of any route table."""
        a_node = BYTES_A_NODE + (registered * BYTES_A_PEER if endpoints else 0)
        text = min(most_text, SPARE_TEXT_BYTES + registered * TEXT_BYTES_A_PEER)
        return LookBounds(SPARE_BYTES + nodes * a_node, text)


@dataclass(slots=True)
class Believed:
    """What one message made believable, or brought."""

    results: list[Seen] = field(default_factory=list)
    """Results of the messages before, for which this one vouches; one of each node."""
    texts: list[WholeText] = field(default_factory=list)
    """Texts that were asked for. Whether one has its digest is for who asked to tell."""


class LookReading:
    """Reader of the messages of one look.

    nodes: those of the job; nothing is believed of another one. device: which each of them shows.
    """

    def __init__(self, job: str, nodes: Collection[NodeId], device: str, bounds: LookBounds) -> None:
        self._reading: RowReading[CollectorMessage] = RowReading(job, read_from_collector)
        self._device = device
        self._bounds = bounds
        self._bytes_left = bounds.all_bytes
        self._nodes = frozenset(nodes)
        self._unheard = set(nodes)
        self._held: list[Seen] = []
        self._texts = ReadingTexts(bounds.text_bytes)
        self._wanted: set[str] = set()
        self._pushed: dict[str, bytes] = {}
        self.lines = ReadingLines()
        self.differences: dict[str, TableDifference] = {}
        """Tables that were told as differences, by digest."""
        self.ended = False
        """Whether the results came to their end."""
        self.failed = ""
        """Why the collector gave up, in its words; "" where it did not."""

    @property
    def number(self) -> int:
        """Messages of the row that were taken so far."""
        return self._reading.number

    def want(self, digest: str) -> None:
        """Note that a text was asked for."""
        self._wanted.add(digest)
        # JSON and its envelope take some more than the text has.
        self._bytes_left += 2 * self._bounds.text_bytes

    def words(self) -> str:
        """Word what was left out, for the detail of a gap; "" where nothing was."""
        return self._reading.words()

    def take(self, raw: bytes) -> Believed:
        """Take the next message. Raises `StreamBroken` where nothing further can be believed."""
        self._bytes_left -= len(raw)
        if self._bytes_left < 0:
            raise StreamBroken(f"more than was agreed: {self._bounds.all_bytes:,} bytes and the texts")
        message = self._reading.take(raw)
        believed = Believed()
        if message is None:
            return believed
        believed.results, self._held = self._held, []
        match message:
            case SeenBatch():
                self._take_results(message)
            case TextPart():
                if (whole := self._texts.take(message)) is not None:
                    self._take_text(whole, believed)
            case Failed():
                self.failed = without_login(for_detail(message.detail)) or "without a reason"
            case Last():
                if (message.count, message.sha256) != (message.number, message.before):
                    raise StreamBroken(f"what its last message says of the others does not fit{self.words()}")
                self.ended = True
        return believed

    def _take_text(self, whole: WholeText, believed: Believed) -> None:
        if whole.digest in self._wanted:
            self._wanted.discard(whole.digest)
            believed.texts.append(whole)
        elif whole.fits:
            self._pushed[whole.digest] = whole.text
        else:
            self._reading.leave_out("a text of another digest")

    def _take_results(self, message: SeenBatch) -> None:
        if self.ended:
            self._reading.leave_out("results behind the last message")
            return
        self.lines.take(message.lines)
        self.lines.count(message.differences)
        for difference in message.differences:
            self.differences.setdefault(difference.digest, difference)
        for form in message.observations:
            self._take_observation(form)
        for digest in message.long:
            if (text := self._pushed.pop(digest, None)) is None:
                raise StreamBroken("an observation names a text that did not come")
            try:
                self._take_observation(read_long(text, self._bounds.text_bytes))
            except InvalidValue as error:
                self._reading.leave_out(f"unreadable ({error})")
        for gap in message.gaps:
            if self._first_of(gap):
                self._held.append(gap_of_node(gap))

    def _take_observation(self, form: NodeSeen) -> None:
        if form.device != self._device:
            self._reading.leave_out("of another device")
            return
        if not self._first_of(form):
            return
        try:
            self._held.append(read_observation(form))
        except ValidationError:
            self._unheard.add(node_id(form))
            self._reading.leave_out("unreadable (an observation)")

    def _first_of(self, form: NodeSeen | NodeUnseen) -> bool:
        """Tell whether this is the first result of a node of the job."""
        node = NodeId(form.datacenter, form.name)
        if node in self._unheard:
            self._unheard.discard(node)
            return True
        self._reading.leave_out(
            "a second result of a node" if node in self._nodes else "of a node that it was not to look at"
        )
        return False
