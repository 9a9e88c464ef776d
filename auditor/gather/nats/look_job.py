"""One look at the nodes of a job, on the collector's side: the assignment is read, its nodes are looked at, and what
they showed is sent as it comes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import aclosing

from pydantic import ValidationError

from auditor.errors import GapReason, InvalidValue, StreamBroken
from auditor.gather.collector import Assignment, Collector, Seen
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.mesh_addresses import KnownAddresses
from auditor.gather.nats.message_parts import (
    ENVELOPE,
    RowReading,
    RowWriting,
    WritingLines,
    batches,
    line_batches,
    text_parts,
)
from auditor.gather.nats.messages import (
    ALIVE,
    BATCH,
    BATCH_SECONDS,
    LONGEST_DETAIL,
    WINDOW,
    Alive,
    Assign,
    AuditorMessage,
    Beat,
    EndJob,
    Failed,
    JobMessage,
    Last,
    NodeSeen,
    NodeUnseen,
    OpenJob,
    SeenBatch,
    TableDifference,
    Want,
    node_unseen,
    read_from_auditor,
    registration_to_ask,
    written,
)
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import Prefix
from auditor.values.models import Gap, NodeId, Observation, Registration
from auditor.values.text import count, for_detail

MOST_ADDRESSES = 2_000_000
"""Mesh addresses of a registry."""
MOST_TIMES = 8
"""Times that one text is sent in a job: it is asked for once, and again where the auditor lost it."""
_UNSAYABLE = "what it sent cannot be passed on by its collector"


class LookJob:
    """One look. `collector`: looks at its nodes; `addresses`: keeps registries' mesh addresses between jobs."""

    def __init__(
        self, opened: OpenJob, channel: JobChannel, collector: Collector, addresses: KnownAddresses
    ) -> None:
        self._opened = opened
        self._channel = channel
        self._collector = collector
        self._addresses = addresses
        self._tables = TableStore()
        self._reading: RowReading[AuditorMessage] = RowReading(opened.job, read_from_auditor)
        self._sender = _LookSender(opened.job, channel, self._tables)
        self._wanted: asyncio.Queue[str] = asyncio.Queue()

    async def run(self) -> None:
        """Run it to its end: all was sent and the auditor wants nothing more, or it is silent, or this collector ends.

        Raises `NatsAway` where nothing can be sent any more.
        """
        try:
            assignment = await self._assignment()
            if assignment is not None:
                await self._work(assignment)
        except StreamBroken as broken:
            await self._sender.fail(str(broken))

    async def _assignment(self) -> Assignment | None:
        """Read the assignment; None: the auditor went away before it was whole. Raises `StreamBroken`."""
        nodes: list[Registration] = []
        mesh: list[Prefix] = []
        while True:
            message = await self._next()
            if message is None:
                return None
            if isinstance(message, Assign):
                nodes += map(registration_to_ask, message.nodes)
                mesh += map(Prefix, message.addresses)
                if len(nodes) > self._opened.nodes:
                    raise StreamBroken(f"more nodes than the {self._opened.nodes:,} that were announced")
                if len(mesh) > MOST_ADDRESSES:
                    raise StreamBroken(f"more than {MOST_ADDRESSES:,} mesh addresses")
                if message.whole:
                    break
            elif isinstance(message, Want):
                raise StreamBroken("a table was asked for before any node was named")
        if len(nodes) != message.count:
            raise StreamBroken(f"{count(len(nodes), 'node')} came where {message.count:,} were sent")
        self._channel.nodes = len(nodes)
        # The other registrations did not travel: of them no more is needed than how no node is reached.
        registry = Registration(NodeId("", ""), None, self._addresses.of(self._opened.addresses, mesh))
        return Assignment(tuple(nodes), (registry,))

    async def _next(self) -> AuditorMessage | None:
        """Wait for the next message that counts; None: it is over. Raises `StreamBroken`."""
        while (raw := await self._channel.next()) is not None:
            message = self._reading.take(raw)
            if isinstance(message, EndJob):
                return None
            if isinstance(message, Beat):
                self._sender.heard(message.taken)
            elif message is not None:
                return message
        return None

    async def _work(self, assignment: Assignment) -> None:
        """Look, answer and listen until the auditor wants nothing more. Raises `StreamBroken` and `NatsAway`."""
        listening = asyncio.create_task(self._listen())
        working = [
            asyncio.create_task(self._look(assignment)),
            asyncio.create_task(self._answer()),
            asyncio.create_task(self._sender.live()),
        ]
        pending = {listening, *working}
        try:
            while not listening.done():
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (listening, *working):
                task.cancel()
            await asyncio.gather(listening, *working, return_exceptions=True)

    async def _listen(self) -> None:
        """Take what the auditor says, until it says that this is the end, or nothing."""
        while (message := await self._next()) is not None:
            if isinstance(message, Want):
                for digest in message.digests:
                    self._wanted.put_nowait(digest)
            elif isinstance(message, Assign):
                raise StreamBroken("a look has one assignment")

    async def _answer(self) -> None:
        """Send the texts that are wanted, one after the other."""
        while True:
            await self._sender.text(await self._wanted.get())

    async def _look(self, assignment: Assignment) -> None:
        """Look at the nodes, and send what they show, in batches; then say that this was all."""
        stop = Stop(self._opened.seconds, self._channel.stopping)
        results: asyncio.Queue[Seen | None] = asyncio.Queue()

        async def look() -> None:
            try:
                async with aclosing(self._collector.collect(assignment, self._tables, stop)) as stream:
                    async for seen in stream:
                        results.put_nowait(seen)
            finally:
                results.put_nowait(None)

        looking = asyncio.create_task(look())
        try:
            more = True
            while more:
                batch, more = await _batch(results)
                await self._sender.results(batch)
            await looking
        finally:
            stop.close()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        left = len(assignment.nodes) - self._sender.sent
        if left > 0:
            why = "it was told to end" if self._channel.stopping.is_set() else stop.reason or "left out"
            raise StreamBroken(f"{count(left, 'node')} not looked at by the collector: {why}")
        await self._sender.last()


async def _batch(results: asyncio.Queue[Seen | None]) -> tuple[list[Seen], bool]:
    """Wait for a result, and for those that come soon after it. Returns them, and whether more may come."""
    batch: list[Seen] = []
    loop = asyncio.get_running_loop()
    until: float | None = None
    while len(batch) < BATCH:
        try:
            async with asyncio.timeout_at(until):
                seen = await results.get()
        except TimeoutError:
            break
        if seen is None:
            return batch, False
        batch.append(seen)
        until = until or loop.time() + BATCH_SECONDS
    return batch, True


class _LookSender:
    """Sender of a job's messages, each in its place of the row."""

    def __init__(self, job: str, channel: JobChannel, tables: TableStore) -> None:
        self._channel = channel
        self._tables = tables
        self._writing = RowWriting(job, channel.most_bytes)
        self._lines = WritingLines()
        self._turn = asyncio.Lock()
        """Held for a message, from its number to its sending."""
        self._taken = 0
        self._room = asyncio.Event()
        """Set while the auditor is near enough for a further message."""
        self._room.set()
        self._text_turn = asyncio.Lock()
        """Held for a whole text: parts of two do not mix."""
        self._shown: set[str] = set()
        """Digests of tables that were named."""
        self._bases: dict[bytes, str] = {}
        self._texts: Counter[str] = Counter()
        """How many times each text was asked for."""
        self.sent = 0
        """Nodes whose result was sent."""

    def heard(self, taken: int) -> None:
        """Take from the auditor how many messages it has taken."""
        self._taken = max(self._taken, taken)
        self._see_room()

    def _see_room(self) -> None:
        if self._writing.number < self._taken + WINDOW:
            self._room.set()
        else:
            self._room.clear()

    async def send(self, message: JobMessage) -> None:
        """Send a message, once the auditor has taken enough of those before.

        Raises `InvalidValue` for one that is too long, and `NatsAway`.
        """
        async with self._turn:
            await self._publish(message)

    async def _publish(self, message: JobMessage) -> None:
        await self._room.wait()
        raw = self._writing.write(message)
        self._see_room()
        await self._channel.publish(raw)

    async def live(self) -> None:
        """Say each few seconds that the job goes on, until cancelled."""
        while True:
            await asyncio.sleep(ALIVE)
            await self.send(Alive(job=self._writing.job, done=self.sent))

    async def last(self) -> None:
        """Say that all was sent."""
        async with self._turn:
            await self._room.wait()
            writing = self._writing
            message = Last(job=writing.job, count=writing.number, sha256=writing.before)
            await self._publish(message)

    async def fail(self, detail: str) -> None:
        """Say why the job cannot go on, however far the auditor is."""
        message = Failed(job=self._writing.job, detail=for_detail(detail)[:LONGEST_DETAIL])
        async with self._turn:
            await self._channel.publish(self._writing.write(message))

    async def results(self, batch: Sequence[Seen]) -> None:
        """Send results, and before them what their tables' digests stand for."""
        observations: list[NodeSeen] = []
        gaps: list[NodeUnseen] = []
        long: list[str] = []
        for seen in batch:
            form = _form(seen)
            if isinstance(form, NodeUnseen):
                gaps.append(form)
            elif len(raw := written(form)) > self._writing.most_bytes - ENVELOPE:
                await self._send_text(raw)
                long.append(hashlib.sha256(raw).hexdigest())
            else:
                observations.append(form)
            self.sent += 1
        differences = self._differences(seen.table for seen in batch if isinstance(seen, Observation))
        job = self._writing.job
        lines = self._lines.new()
        whole = SeenBatch(
            job=job, lines=lines, differences=differences, observations=observations, long=long, gaps=gaps
        )
        if whole.model_fields_set == {"job"}:
            return
        try:
            await self.send(whole)
        except InvalidValue:
            await self._send_apart(whole)

    async def _send_apart(self, whole: SeenBatch) -> None:
        """Send what is too long for one message in several, what others stand on first."""
        job, most = self._writing.job, self._writing.most_bytes
        for lines in line_batches(whole.lines, most):
            await self.send(SeenBatch(job=job, lines=lines))
        for differences in batches(whole.differences, most):
            await self.send(SeenBatch(job=job, differences=differences))
        for observations in batches(whole.observations, most, BATCH):
            await self.send(SeenBatch(job=job, observations=observations))
        for gaps in batches(whole.gaps, most, BATCH):
            await self.send(SeenBatch(job=job, gaps=gaps))
        if whole.long:
            await self.send(SeenBatch(job=job, long=whole.long))

    def _differences(self, digests: Iterable[str]) -> list[TableDifference]:
        """Write the tables that are named for the first time, and are held as differences."""
        made = []
        for digest in digests:
            if digest in self._shown:
                continue
            self._shown.add(digest)
            table = self._tables.tables[digest]
            if not table.without and not table.plus:
                continue
            base = self._bases.get(table.base)
            if base is None:
                base = self._bases[table.base] = hashlib.sha256(table.base).hexdigest()
            if (difference := self._lines.difference(digest, base, table)) is not None:
                made.append(difference)
        return made

    async def text(self, digest: str) -> None:
        """Send the text of a digest that was named. Raises `StreamBroken` for another one."""
        self._texts[digest] += 1
        if self._texts[digest] > MOST_TIMES:
            raise StreamBroken(f"the table {digest[:12]}… was asked for more than {MOST_TIMES} times")
        text = next((base for base, known in self._bases.items() if known == digest), None)
        if text is None:
            if digest not in self._shown:
                raise StreamBroken(f"no node showed the table {digest[:12]}…")
            text = self._tables.tables[digest].text
        await self._send_text(text)

    async def _send_text(self, text: bytes) -> None:
        async with self._text_turn:
            try:
                parts = text_parts(self._writing.job, text, self._writing.most_bytes)
                for part in parts:
                    await self.send(part)
            except InvalidValue as error:
                raise StreamBroken(f"a route table cannot be sent: {error}") from None


def _form(seen: Seen) -> NodeSeen | NodeUnseen:
    """Write one result; of one that cannot be passed on, that it cannot."""
    form: NodeSeen | NodeUnseen
    try:
        form = node_unseen(seen) if isinstance(seen, Gap) else NodeSeen.model_validate(seen)
        written(form)
    except (InvalidValue, ValidationError):
        node = (
            (seen.node, seen.datacenter) if isinstance(seen, Gap) else (seen.node.name, seen.node.datacenter)
        )
        name, datacenter = node
        reason = seen.reason if isinstance(seen, Gap) else GapReason.INTERNAL
        return NodeUnseen(name=name or "", datacenter=datacenter or "", reason=reason, detail=_UNSAYABLE)
    return form
