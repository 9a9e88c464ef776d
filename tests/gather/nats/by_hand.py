"""A collector's service in this process, and an auditor that speaks to it message by message."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.subscription import Subscription

from auditor.gather.collector import Collector
from auditor.gather.local import LocalCollector
from auditor.gather.nats.collector_service import CollectorIdentity, CollectorService
from auditor.gather.nats.connection import NatsConnection, open_nats
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.look_job import LookJob
from auditor.gather.nats.mesh_addresses import KnownAddresses
from auditor.gather.nats.message_parts import (
    RowReading,
    RowWriting,
    addresses_digest,
    mesh_addresses_of,
    room_of,
)
from auditor.gather.nats.messages import (
    AUDITOR_INBOX,
    COLLECTOR_INBOX,
    Alive,
    Assign,
    Beat,
    CollectorMessage,
    EndJob,
    JobAnswer,
    JobMessage,
    OpenJob,
    collect_subject,
    job_subject,
    node_to_ask,
    read_answer,
    read_from_collector,
    seen_subject,
    written,
)
from auditor.gather.nats.nats_login import NatsLogin, read_login
from auditor.nodes.interface import NodeSource
from auditor.settings.collectors import CollectorSettings
from auditor.values.models import Registration
from tests.parts.nats import NatsServer

WITHIN = 30.0


def login_at(server: NatsServer) -> NatsLogin:
    """How everybody comes in at a server without TLS."""
    return read_login(CollectorSettings(nats=f"nats://127.0.0.1:{server.port}"), ())


class ServedRegion:
    """Service of one region, in this process, over nodes in memory."""

    def __init__(self, nodes: NodeSource, region: str = "fra", pid: int = 7) -> None:
        self.log: list[str] = []
        self.addresses = KnownAddresses()
        self.collector: Callable[[], Collector] = lambda: LocalCollector(nodes)
        self.service = CollectorService(
            CollectorIdentity(region, "here", pid, "0.1.0"),
            "wg0",
            {"look": self._look},
            self.addresses,
            self.log.append,
            self.log.append,
        )

    async def _look(self, opened: OpenJob, channel: JobChannel, _: int) -> Callable[[], Awaitable[None]]:
        return LookJob(opened, channel, self.collector(), self.addresses).run

    @asynccontextmanager
    async def at(self, login: NatsLogin) -> AsyncIterator[None]:
        """Serve at a server."""
        async with (
            open_nats(login, COLLECTOR_INBOX, self.log.append) as connection,
            self.service.serving(connection),
        ):
            yield


class AskingByHand:
    """An auditor that sends what a test has it send."""

    def __init__(self, connection: NatsConnection, region: str = "fra") -> None:
        self.connection = connection
        self.region = region
        self.job = secrets.token_hex(16)
        self.writing = RowWriting(self.job, room_of(connection.max_payload))
        self.reading: RowReading[CollectorMessage] = RowReading(self.job, read_from_collector)
        self.raw: list[bytes] = []
        """What came, in order."""
        self._subscription: Subscription | None = None

    async def open(self, nodes: int, **more: Any) -> JobAnswer:
        """Asks the region to take a job."""
        self._subscription = await self.connection.client.subscribe(seen_subject(self.region, self.job))
        opened = OpenJob.model_validate(
            {"job": self.job, "region": self.region, "nodes": nodes, "device": "wg0", **more}
        )
        return await self.ask(written(opened))

    async def ask(self, raw: bytes) -> JobAnswer:
        """Sends a request as it is."""
        answer = await self.connection.client.request(collect_subject(self.region), raw, WITHIN)
        return read_answer(answer.data)

    async def say(self, message: JobMessage) -> None:
        """Sends the next message of the job."""
        await self.connection.client.publish(job_subject(self.region, self.job), self.writing.write(message))

    async def assign(self, registrations: Iterable[Registration], *, part: int = 1000) -> None:
        """Sends an assignment, in parts of so many nodes."""
        nodes = [node_to_ask(item, ()) for item in registrations]
        for place in range(0, len(nodes), part):
            await self.say(Assign(job=self.job, nodes=nodes[place : place + part]))
        await self.say(Assign(job=self.job, whole=True, count=len(nodes)))

    async def look(self, registrations: Iterable[Registration], **more: Any) -> None:
        """Opens a job for these nodes and assigns them."""
        listed = list(registrations)
        answer = await self.open(len(listed), **more)
        assert answer.accepted, answer.refused
        await self.assign(listed)

    async def next(self, within: float = WITHIN) -> CollectorMessage:
        """The next message that counts, signs of life aside."""
        assert self._subscription is not None
        while True:
            raw = (await self._subscription.next_msg(within)).data
            self.raw.append(raw)
            message = self.reading.take(raw)
            assert message is not None, self.reading.words()
            if self.reading.number % 16 == 0:
                await self.say(Beat(job=self.job, taken=self.reading.number))
            if not isinstance(message, Alive):
                return message

    async def until(self, *kinds: type[JobMessage]) -> list[CollectorMessage]:
        """All messages up to the first of these kinds."""
        came: list[CollectorMessage] = []
        while not came or not isinstance(came[-1], kinds):
            came.append(await self.next())
        return came

    async def end(self) -> None:
        """Wants nothing more."""
        await self.say(EndJob(job=self.job))


@asynccontextmanager
async def asking(login: NatsLogin, region: str = "fra") -> AsyncIterator[AskingByHand]:
    """An auditor by hand."""
    async with open_nats(login, AUDITOR_INBOX, print) as connection:
        yield AskingByHand(connection, region)


async def until(condition: Callable[[], bool]) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110  (what a server has done, nobody is told)
            await asyncio.sleep(0.01)


def registry_digest(registered: Iterable[Registration]) -> str:
    """Digest of a registry's mesh addresses."""
    return addresses_digest(mesh_addresses_of(registered))
