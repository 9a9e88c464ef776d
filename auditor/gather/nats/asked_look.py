"""One look that a collector of a region makes for the auditor, from its opening to its end."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error, NoRespondersError

from auditor.errors import GapReason, InvalidValue, ProbeError, StreamBroken
from auditor.gather.collector import Seen, gap_of
from auditor.gather.nats.look_reading import LookBounds, LookReading
from auditor.gather.nats.message_parts import (
    RowWriting,
    addresses_digest,
    batches,
    fits_alone,
    line_batches,
    read_table,
    room_of,
)
from auditor.gather.nats.messages import (
    BEAT,
    SILENT,
    TAKEN_EACH,
    Assign,
    Beat,
    EndJob,
    JobAnswer,
    JobMessage,
    NodeToAsk,
    OpenJob,
    Want,
    collect_subject,
    job_subject,
    node_to_ask,
    read_answer,
    seen_subject,
    written,
)
from auditor.gather.nats.publishing import publish, reached_nobody
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import Prefix
from auditor.values.models import Gap, NodeId, Observation, Registration
from auditor.values.route_table import RouteTable
from auditor.values.text import for_detail, without_login

log = logging.getLogger(__name__)

OPEN_WITHIN = 5.0
"""Seconds for a collector to take a job or to refuse it."""
TEXT_WITHIN = 30.0
"""Seconds for a text that was asked for."""
READ_WITHIN = 0.5
"""Seconds to read what came, before silence counts."""
CLOSE_WITHIN = 1.0
BACK_WITHIN = 10.0
"""Seconds for a collector to be back behind a server that was started anew."""
PENDING, PENDING_BYTES = 8192, 128 * 1024 * 1024
"""Messages, and bytes of them, that wait here to be taken: more than a collector may be ahead."""
MOST_AHEAD = 4096
"""Messages that wait, after which the collector is no longer listened to: it heeds no `WINDOW`, and takes the time of
all others."""

EXPECTED = (Error, OSError)
"""What the library raises for what a server or a network does."""


@dataclass(frozen=True, slots=True)
class LookTerms:
    """What is asked of each node of a look, whichever collector makes it."""

    device: str
    pools: tuple[Prefix, ...] = ()
    address_devices: tuple[str, ...] = ()
    endpoints: bool = False
    handshakes: bool = False
    transfer: bool = False
    value_names: tuple[str, ...] = ()
    """Values of a registration that travel, beside its fields: those that the template of the host names."""
    seconds: float = 300.0
    """Time for the whole look."""
    most_text: int = 64 * 1024 * 1024
    """Bytes of a route table."""


@dataclass(frozen=True, slots=True)
class RegistrySide:
    """What of the whole registry each job needs."""

    addresses: Sequence[Prefix]
    """Mesh addresses, by none of which a node is reached."""
    digest: str
    nodes: int

    @staticmethod
    def of(addresses: Sequence[Prefix], nodes: int) -> RegistrySide:
        """Hash them, once for all jobs."""
        return RegistrySide(addresses, addresses_digest(addresses), nodes)


class AskedLook:
    """Look by one collector. Open it, take its results, which closes it; or close it."""

    def __init__(
        self,
        client: Client,
        region: str,
        nodes: Collection[Registration],
        registry: RegistrySide,
        terms: LookTerms,
        *,
        silent: float = SILENT,
    ) -> None:
        self._client = client
        self._region = region
        self._job = secrets.token_hex(16)
        self._registry = registry
        self._terms = terms
        self._silent = silent
        self._room = room_of(client.max_payload)
        self._reconnects, self._back_at = client.stats["reconnects"], 0.0
        """Losses of the connection that were noticed, and when the last one was."""
        self._deadline = _now() + terms.seconds
        self._unseen: list[Gap] = []
        self._forms: list[NodeToAsk] = []
        self.registrations = tuple(nodes)
        for registration in nodes:
            try:
                self._forms.append(self._form(registration))
            except InvalidValue as error:
                self._unseen.append(
                    gap_of(registration.node, ProbeError(GapReason.COLLECTOR_REFUSED, str(error)))
                )
        self._left = {NodeId(form.datacenter, form.name) for form in self._forms}
        bounds = LookBounds.of(
            len(self._left), registry.nodes, endpoints=terms.endpoints, most_text=terms.most_text
        )
        self._writing = RowWriting(self._job, self._room)
        self._publishing = asyncio.Lock()
        self._reading = LookReading(self._job, self._left, terms.device, bounds)
        self._subscription: Subscription | None = None
        self._has_addresses = False
        self._collector = ""
        self._lost = ProbeError(GapReason.COLLECTOR_LOST, "the job was not begun")
        self._out: asyncio.Queue[Seen | None] = asyncio.Queue()
        self._obtained: dict[str, str] = {}
        self._waiting: defaultdict[str, list[Observation]] = defaultdict(list)
        self._obtaining: set[asyncio.Task[None]] = set()
        self._texts: dict[str, asyncio.Future[RouteTable]] = {}
        self._beat_due = asyncio.Event()
        self._ended = asyncio.Event()
        self._heard_at = 0.0
        self._waited_on: float | None = None
        """When it was last heard of, as silence was found to be too long, and what waits was read first."""

    def _form(self, registration: Registration) -> NodeToAsk:
        form = node_to_ask(registration, self._terms.value_names)
        if not fits_alone(form, self._room):
            raise InvalidValue("its registration is too long to be sent to a collector")
        return form

    # -- opening

    async def open(self) -> None:
        """Find a collector of the region that takes the job. Raises `ProbeError` with what becomes a gap of each node:
        collector-missing where there is none, collector-refused, collector-lost."""
        terms = self._terms
        question = OpenJob(
            job=self._job,
            region=self._region,
            nodes=len(self._left),
            device=terms.device,
            pools=list(terms.pools),
            address_devices=list(terms.address_devices),
            endpoints=terms.endpoints,
            handshakes=terms.handshakes,
            transfer=terms.transfer,
            seconds=terms.seconds,
            addresses=self._registry.digest,
        )
        if not self._left:
            return
        try:
            self._subscription = await self._client.subscribe(
                seen_subject(self._region, self._job),
                pending_msgs_limit=PENDING,
                pending_bytes_limit=PENDING_BYTES,
            )
            # `wait_for`: while the server is away, the library itself waits without a bound.
            said = await asyncio.wait_for(
                self._client.request(
                    collect_subject(self._region), written(question), timeout=OPEN_WITHIN + 1
                ),
                OPEN_WITHIN,
            )
            answer = read_answer(said.data)
        except NoRespondersError:
            raise ProbeError(
                GapReason.COLLECTOR_MISSING, f"no collector of region {self._region} is there"
            ) from None
        except TimeoutError:
            if not self._client.is_connected:
                raise ProbeError(
                    GapReason.COLLECTOR_MISSING, "no collector can be asked: NATS is away"
                ) from None
            raise ProbeError(
                GapReason.COLLECTOR_LOST,
                f"no collector of region {self._region} answered within {OPEN_WITHIN:.0f} s",
            ) from None
        except EXPECTED as error:
            raise ProbeError(
                GapReason.COLLECTOR_MISSING, f"no collector can be asked: {_words(error)}"
            ) from None
        except InvalidValue as error:
            raise ProbeError(
                GapReason.COLLECTOR_LOST, f"what answers for region {self._region} is no collector: {error}"
            ) from None
        self._take_answer(answer)

    def _take_answer(self, answer: JobAnswer) -> None:
        self._collector = without_login(for_detail(answer.collector)) or "a collector"
        if answer.job != self._job:
            raise ProbeError(GapReason.COLLECTOR_LOST, f"{self._name} answered for another job")
        if not answer.accepted:
            words = without_login(for_detail(answer.refused)) or "without a reason"
            raise ProbeError(GapReason.COLLECTOR_REFUSED, f"{self._name}: {words}")
        self._has_addresses = answer.has_addresses
        log.info("%s takes %d nodes", self._name, len(self._left))

    @property
    def _name(self) -> str:
        return f"{self._collector} of region {self._region}"

    # -- the look

    async def results(self, tables: TableStore, stop: Stop) -> AsyncGenerator[Seen, None]:
        """Yield one observation or gap a node, as `Collector.collect` does; call it once, after `open`."""
        work = asyncio.create_task(self._bounded(tables, stop))
        try:
            for gap in self._unseen:
                yield gap
            while (seen := await self._out.get()) is not None:
                yield seen
            await work
            if not stop.is_set():
                for node in sorted(self._left):
                    yield gap_of(node, self._lost)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await self.close()

    async def close(self) -> None:
        """End the job at the collector; it needs not be told twice."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._publish(EndJob(job=self._job))
                await subscription.unsubscribe()
                await self._client.flush()
        except (*EXPECTED, TimeoutError, StreamBroken) as error:
            log.debug("the end of a job was not told: %s", _words(error))

    async def _bounded(self, tables: TableStore, stop: Stop) -> None:
        try:
            if self._left:
                await stop.bound(self._look(tables))
        finally:
            self._out.put_nowait(None)

    async def _look(self, tables: TableStore) -> None:
        """Look until each node has its result, or nothing further can be had."""
        parts: tuple[Coroutine[Any, Any, None], ...] = (self._send(), self._receive(tables), self._finish())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=self._deadline - _now(), return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise StreamBroken(f"not done within {self._terms.seconds:g} s{self._reading.words()}")
            for task in done:
                task.result()
            if self._left:
                raise StreamBroken(f"it ended without a result{self._reading.words()}")
        except (*EXPECTED, StreamBroken) as error:
            log.warning("%s: %s", self._name, _words(error))
            self._lost = ProbeError(GapReason.COLLECTOR_LOST, f"{self._name}: {_words(error)}")
        finally:
            running = [*tasks, *self._obtaining]
            for each in running:
                each.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _send(self) -> None:
        """Send the assignment, and then signs of life."""
        if not self._has_addresses:
            for addresses in line_batches(self._registry.addresses, self._room):
                await self._publish(Assign(job=self._job, addresses=list(addresses)))
        for nodes in batches(self._forms, self._room):
            await self._publish(Assign(job=self._job, nodes=nodes))
        await self._publish(Assign(job=self._job, whole=True, count=len(self._forms)))
        self._heard_at = max(self._heard_at, _now())
        while True:
            try:
                async with asyncio.timeout(BEAT):
                    await self._beat_due.wait()
            except TimeoutError:
                pass
            self._beat_due.clear()
            if self._may_be_heard():
                await self._publish(Beat(job=self._job, taken=self._reading.number))

    def _may_be_heard(self) -> bool:
        """Tell whether the collector spoke since the connection was lost: what reaches it no more breaks the row."""
        reconnects = self._client.stats["reconnects"]
        if reconnects != self._reconnects or not self._client.is_connected:
            self._reconnects, self._back_at = reconnects, _now()
        return self._heard_at > self._back_at or _now() - self._back_at > BACK_WITHIN

    async def _publish(self, message: JobMessage) -> None:
        async with self._publishing:  # written and sent in one order
            try:
                raw = self._writing.write(message)
            except InvalidValue as error:
                raise StreamBroken(f"a message for it cannot be written: {error}") from None
            to, reply = job_subject(self._region, self._job), seen_subject(self._region, self._job)
            await publish(self._client, to, raw, reply)

    async def _receive(self, tables: TableStore) -> None:
        self._heard_at = _now()
        number = 0
        while True:
            believed = self._reading.take(await self._next())
            if self._reading.number > number:
                number, self._heard_at = self._reading.number, _now()
                if number % TAKEN_EACH == 0:
                    self._beat_due.set()
            for seen in believed.results:
                self._hand_on(seen, tables)
            for whole in believed.texts:
                self._take_text(whole.digest, whole.text, fits=whole.fits)
            if self._reading.ended:
                self._ended.set()
            if self._reading.failed:
                raise StreamBroken(f"it gave up: {self._reading.failed}{self._reading.words()}")

    async def _next(self) -> bytes:
        """Wait for the next message. Raises `StreamBroken` once the collector is gone, or silent for too long."""
        if self._subscription is None:
            raise StreamBroken("the job was closed")
        if self._subscription.pending_msgs > MOST_AHEAD:
            raise StreamBroken(f"it sends messages faster than they are taken{self._reading.words()}")
        while True:
            seconds = self._heard_at + self._silent - _now()
            if seconds <= 0:
                if self._waited_on == self._heard_at:
                    break
                # With a large fleet this process may be too busy to listen: what came meanwhile is still to be read.
                self._waited_on, seconds = self._heard_at, READ_WITHIN
            try:
                message = await self._subscription.next_msg(timeout=seconds)
            except TimeoutError:
                continue
            if reached_nobody(message):
                raise StreamBroken(f"it is gone{self._reading.words()}")
            return message.data
        raise StreamBroken(f"nothing was heard of it for {self._silent:g} s{self._reading.words()}")

    async def _finish(self) -> None:
        """Wait until all results came, and their tables."""
        await self._ended.wait()
        while self._obtaining:
            await asyncio.wait(self._obtaining)

    def _hand_on(self, seen: Seen, tables: TableStore) -> None:
        """Pass a result on, once its table is there."""
        if isinstance(seen, Gap):
            self._put(NodeId(seen.datacenter or "", seen.node or ""), seen)
        elif (table := self._obtained.get(seen.table)) is not None:
            self._put(seen.node, replace(seen, table=table))
        else:
            if seen.table not in self._waiting:
                task = asyncio.create_task(self._obtain(seen.table, tables))
                self._obtaining.add(task)
                task.add_done_callback(self._obtaining.discard)
            self._waiting[seen.table].append(seen)

    def _put(self, node: NodeId, seen: Seen) -> None:
        self._left.discard(node)
        self._out.put_nowait(seen)

    # -- tables

    async def _obtain(self, digest: str, tables: TableStore) -> None:
        """Have the table of a digest in the store, and pass on who shows it; where that fails, a gap of each."""
        try:
            difference = self._reading.differences.get(digest)
            if difference is None:
                found = await tables.obtain(digest, partial(self._fetch, digest))
            else:
                found = await tables.obtain_difference(
                    digest,
                    difference.base,
                    partial(self._fetch, difference.base),
                    partial(self._reading.lines.table, difference),
                )
        except (ProbeError, *EXPECTED, StreamBroken) as error:
            words = error.detail if isinstance(error, ProbeError) else _words(error)
            lost = ProbeError(GapReason.COLLECTOR_LOST, f"{self._name}: its table did not come: {words}")
            for seen in self._waiting.pop(digest):
                self._put(seen.node, gap_of(seen.node, lost))
            return
        self._obtained[digest] = found
        for seen in self._waiting.pop(digest):
            self._put(seen.node, replace(seen, table=found))

    async def _fetch(self, digest: str) -> RouteTable:
        """Ask for the text of a digest. Raises `ProbeError`."""
        text: asyncio.Future[RouteTable] = asyncio.get_running_loop().create_future()
        self._texts[digest] = text
        self._reading.want(digest)
        await self._publish(Want(job=self._job, digests=[digest]))
        try:
            async with asyncio.timeout(TEXT_WITHIN):
                return await text
        except TimeoutError:
            raise ProbeError(
                GapReason.COLLECTOR_LOST, f"it was not sent within {TEXT_WITHIN:.0f} s"
            ) from None

    def _take_text(self, digest: str, text: bytes, *, fits: bool) -> None:
        future = self._texts.pop(digest, None)
        if future is None or future.done():  # another node or region brought the table meanwhile
            return
        try:
            if not fits:
                raise InvalidValue("what came does not have its digest")
            future.set_result(read_table(text))
        except InvalidValue as error:
            future.set_exception(ProbeError(GapReason.COLLECTOR_LOST, str(error)))


def _words(error: BaseException) -> str:
    return for_detail(str(error)).removeprefix("nats: ") or type(error).__name__


def _now() -> float:
    return asyncio.get_running_loop().time()
