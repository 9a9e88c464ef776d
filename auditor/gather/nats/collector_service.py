"""Service of a collector on NATS: takes jobs of its region, a few at once, and says how busy it is.

A job is run by the runner of its mode; whatever an auditor asks for, nothing else is run.
"""

from __future__ import annotations

import asyncio
import logging
import re
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nats import micro
from nats.errors import Error
from nats.micro.service import EndpointStats, ServiceConfig

from auditor.errors import InvalidValue, JobRefused, NatsAway
from auditor.gather.nats.connection import NatsConnection
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.mesh_addresses import KnownAddresses
from auditor.gather.nats.messages import (
    MOST_NODES,
    SERVICE,
    JobAnswer,
    OpenJob,
    collect_subject,
    read_open,
    written,
)
from auditor.values.text import count, for_detail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.micro.request import Request
    from nats.micro.service import Service

log = logging.getLogger(__name__)

MOST_JOBS = 8
"""Jobs at once: of a few auditors, each with a sweep, a watch and a second look."""
QUEUE = "wgaudit-collector"
"""Queue group of the collectors of a region: one of them gets each request."""
LONGEST_REFUSAL = 500
_NOBODYS_JOB = "0" * 32


@dataclass(frozen=True, slots=True)
class CollectorIdentity:
    """Name of a collector, for people and for `$SRV.PING`."""

    region: str
    host: str
    pid: int
    version: str

    @property
    def name(self) -> str:
        """Host and process."""
        return f"{self.host}/{self.pid}"


class CollectorLoad(NamedTuple):
    """Load of a collector."""

    jobs: int
    """Jobs under way."""
    nodes: int
    """Nodes that they are about."""


JobRunner = Callable[[OpenJob, JobChannel, int], Awaitable[Callable[[], Awaitable[None]]]]
"""Prepares a job: of its request, its channel, and how many jobs are under way with it, makes what runs it to its end.

Raises `JobRefused`. What runs it raises `NatsAway` and nothing else for a fault of a node, an auditor or a network.
"""


class CollectorService:
    """Collector of one region. It outlives its connection: `serving` is entered once for each.

    device: the WireGuard device that it looks at. runners: by the mode of a job. say, complain: receive a line each.
    """

    def __init__(
        self,
        identity: CollectorIdentity,
        device: str,
        runners: Mapping[str, JobRunner],
        addresses: KnownAddresses,
        say: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self.identity = identity
        self._device = device
        self._runners = runners
        self._addresses = addresses
        self._say, self._complain = say, complain
        self._opening: set[str] = set()
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._channels: dict[str, JobChannel] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._service: Service | None = None

    @property
    def load(self) -> CollectorLoad:
        """Return how busy it is now."""
        return CollectorLoad(len(self._jobs), sum(channel.nodes for channel in self._channels.values()))

    @asynccontextmanager
    async def serving(self, connection: NatsConnection) -> AsyncIterator[None]:
        """Serve by this connection, until left; then its jobs have ended. Raises `NatsAway` where the server does not
        let it serve."""
        try:
            self._service = await self._start(connection)
            yield
        finally:
            await self._take_no_more()
            for task in (*self._jobs.values(), *self._answering):
                task.cancel()
            await asyncio.gather(*self._jobs.values(), *self._answering, return_exceptions=True)

    async def _start(self, connection: NatsConnection) -> Service:
        identity = self.identity

        async def asked(request: Request) -> None:
            # Requests are handed over one after another: none waits for another one's job to open.
            task = asyncio.create_task(self._answer(connection, request))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

        before = len(connection.refusals)
        try:
            config = ServiceConfig(
                name=SERVICE,
                version=semantic_version(identity.version),
                description="Looks at the WireGuard nodes of a region",
                metadata={
                    "region": identity.region,
                    "host": identity.host,
                    "pid": str(identity.pid),
                    "version": identity.version,
                },
                stats_handler=self._stats,
            )
            with warnings.catch_warnings():
                # The library asks for the time in a way that newer Pythons warn of.
                warnings.simplefilter("ignore", DeprecationWarning)
                service = await micro.add_service(connection.client, config)
            await service.add_endpoint(
                name="collect", subject=collect_subject(identity.region), queue_group=QUEUE, handler=asked
            )
            await connection.settle()
        except (Error, OSError) as error:
            raise NatsAway(f"NATS: {for_detail(str(error)) or type(error).__name__}") from None
        if refused := connection.refusals[before:]:
            raise NatsAway(
                f"the NATS server does not let this user collect for {identity.region}: {refused[0]}; see "
                "docs/collectors.md for the permissions"
            )
        return service

    def _stats(self, _: EndpointStats) -> dict[str, int]:
        return {**self.load._asdict(), "most_jobs": MOST_JOBS}

    async def drain(self, within: float, ends_within: float) -> None:
        """Take no more jobs, give those at hand so many seconds, and then so many to say that they end unfinished."""
        await self._take_no_more()
        self._stopping.set()
        if self._jobs:
            await asyncio.wait(self._jobs.values(), timeout=within)
        for channel in self._channels.values():
            channel.stopping.set()
        if self._jobs:
            await asyncio.wait(self._jobs.values(), timeout=ends_within)

    async def _take_no_more(self) -> None:
        """Leave the queue group: requests go to the region's other collectors."""
        service, self._service = self._service, None
        if service is None:
            return
        try:
            async with asyncio.timeout(0.5):
                await service.stop()
        except (Error, OSError) as error:
            log.debug("ending the service: %s", type(error).__name__)

    # -- requests

    async def _answer(self, connection: NatsConnection, request: Request) -> None:
        """Answer a request for a job, and run it where it is accepted."""
        job = _NOBODYS_JOB
        try:
            try:
                opened = read_open(request.data)
            except InvalidValue as error:
                raise JobRefused(f"unreadable request: {error}") from None
            job = opened.job
            self._check(opened)
            self._opening.add(job)
            try:
                await self._begin(connection, opened)
            finally:
                self._opening.discard(job)
        except JobRefused as refused:
            await self._respond(request, self._answer_to(job, str(refused)))
            return
        has = opened.addresses is not None and self._addresses.has(opened.addresses)
        answer = self._answer_to(job, "").model_copy(update={"accepted": True, "has_addresses": has})
        await self._respond(request, answer)

    def _check(self, opened: OpenJob) -> None:
        """Raise `JobRefused` for a job that is not taken here, or not now."""
        if opened.region != self.identity.region:
            raise JobRefused(f"this is a collector of {self.identity.region}")
        if not opened.nodes:
            raise JobRefused("no nodes")
        if opened.nodes > MOST_NODES:
            raise JobRefused(f"more than {MOST_NODES:,} nodes")
        if self._stopping.is_set():
            raise JobRefused("it is about to end")
        if opened.device != self._device:
            raise JobRefused(f"it looks at {self._device}, and not at {opened.device} (mesh.device)")
        if opened.mode not in self._runners:
            raise JobRefused(f"this version knows no job of mode {opened.mode}")
        if opened.job in self._jobs or opened.job in self._opening:
            raise JobRefused("it has a job of this name")
        if len(self._jobs) + len(self._opening) >= MOST_JOBS:
            raise JobRefused(f"it has {count(MOST_JOBS, 'job')} under way, and takes no more")

    async def _begin(self, connection: NatsConnection, opened: OpenJob) -> None:
        """Listen to the job's auditor, and run it. Raises `JobRefused`."""
        job = opened.job
        channel = JobChannel(connection, self.identity.region, job, asyncio.Event())
        run = await self._runners[opened.mode](opened, channel, len(self._jobs) + len(self._opening))
        try:
            await channel.open()
        except NatsAway as away:
            raise JobRefused(str(away)) from None
        self._channels[job] = channel
        self._jobs[job] = task = asyncio.create_task(self._run(opened, channel, run))
        task.add_done_callback(lambda _: self._forget(job))

    def _answer_to(self, job: str, refused: str) -> JobAnswer:
        return JobAnswer(
            job=job,
            accepted=False,
            refused=for_detail(refused)[:LONGEST_REFUSAL],
            collector=self.identity.name,
            version=self.identity.version,
        )

    async def _respond(self, request: Request, answer: JobAnswer) -> None:
        try:
            await request.respond(written(answer))
        except (Error, OSError, ValueError) as error:
            log.debug("a request is not answered: %s", type(error).__name__)

    async def _run(self, opened: OpenJob, channel: JobChannel, run: Callable[[], Awaitable[None]]) -> None:
        what = f"job {opened.job[:8]} ({opened.mode}, {count(opened.nodes, 'node')})"
        self._say(f"begins {what}")
        try:
            await run()
        except NatsAway as away:
            self._complain(f"{what} is given up: {away}")
        except Exception as error:
            # One job's unforeseen error must not end the others: its auditor hears no more, and makes gaps.
            log.debug("unexpected error in a job", exc_info=True)
            self._complain(f"{what} is given up: {type(error).__name__}; run with --verbose for more")
        else:
            self._say(f"ends {what}")
        finally:
            await channel.close()

    def _forget(self, job: str) -> None:
        self._jobs.pop(job, None)
        self._channels.pop(job, None)


def semantic_version(version: str) -> str:
    """Write a version of Python's form as NATS wants a service's: `0.2.0.dev1` is `0.2.0-dev1`."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(.*)", version)
    if found is None:
        return "0.0.0"
    *numbers, rest = found.groups()
    rest = re.sub(r"[^0-9A-Za-z-]+", "-", rest).strip("-")
    return ".".join(str(int(number)) for number in numbers) + (f"-{rest}" if rest else "")
