"""The collector as a process: its parts, its connection for as long as it lives, its jobs, and its signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from auditor.errors import ConfigError, JobRefused, NatsAway
from auditor.gather.following import LocalFollower
from auditor.gather.local import LocalCollector
from auditor.gather.nats.collector_service import CollectorIdentity, CollectorService
from auditor.gather.nats.connection import open_nats
from auditor.gather.nats.following_job import FollowingJob
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.look_job import LookJob
from auditor.gather.nats.mesh_addresses import KnownAddresses
from auditor.gather.nats.messages import COLLECTOR_INBOX, OpenJob
from auditor.gather.nats.nats_login import NatsLogin, read_login
from auditor.nodes.table_store import TableStore
from auditor.service import open_files, parts
from auditor.service.pulse import Pulse
from auditor.service.service_manager import ServiceManager
from auditor.service.version import VERSION
from auditor.settings.file import Config
from auditor.values.addresses import Prefix
from auditor.values.text import count

DRAIN, LAST_WORDS = 2.0, 0.7
"""Seconds that jobs at hand have after a signal, and then to say that they end unfinished. With what closing takes, it
ends within five."""
CANCELS, CANCEL_EACH = 4, 0.4
"""Times that what does not end is cancelled, and seconds between."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds between two tries for a server that is away: twice as many each time, up to the longest."""
PULSE_EACH = 2.0
STATUS_EACH = 5.0


class CollectorLog(Protocol):
    """Log of the collector."""

    def say(self, line: str) -> None:
        """Write what happened."""
        ...

    def complain(self, line: str) -> None:
        """Write what failed and did not end the collector."""
        ...


class RunningCollector:
    """One collector, from its start to its end."""

    def __init__(
        self,
        config: Config,
        path: Path | None,
        region: str,
        log: CollectorLog,
        environment: Mapping[str, str],
    ) -> None:
        """Build what can be built without the network. path: of the configuration, for the log.

        Raises `ConfigError` for a key, certificate or setting that cannot be used.
        """
        self._login: NatsLogin = read_login(config.collectors, config.mesh.pools)
        parts.build_nodes(config)  # what is configured wrongly ends it now, and not its first job
        self._config, self._path, self._region, self._log = config, path, region, log
        self._manager = ServiceManager(environment, log.complain)
        self._stop = asyncio.Event()
        self._addresses = KnownAddresses()
        self._pulse = Pulse()
        self._service = CollectorService(
            CollectorIdentity(region, socket.gethostname(), os.getpid(), VERSION),
            config.mesh.device,
            {"look": self._look, "follow": self._follow},
            self._addresses,
            log.say,
            log.complain,
        )

    async def run(self) -> None:
        """Serve until a signal ends it, through every loss of the server. Raises `ConfigError` for one in the mesh."""
        open_files.raise_to_most()
        self._log.say(f"collector {VERSION}, configured by {self._path or 'nothing: the defaults apply'}")
        beside = [
            asyncio.create_task(work, name=f"collector: {name}")
            for name, work in (("pulse", self._beat()), ("service manager", self._manager.feed(self._pulse)))
        ]
        serving = asyncio.create_task(self._serve(), name="collector")
        try:
            with self._signals():
                stopping = asyncio.ensure_future(self._stop.wait())
                await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if self._stop.is_set():
                    self._manager.stopping()
                    await self._service.drain(DRAIN, LAST_WORDS)
        finally:
            await _ended({serving, *beside})
        if serving.done() and not serving.cancelled():
            serving.result()
        self._log.say("ended")

    async def _serve(self) -> None:
        """Connect and serve, again and again. Raises `ConfigError` for a server in the mesh."""
        said, pause = "", FIRST_PAUSE
        while True:
            try:
                async with (
                    open_nats(self._login, COLLECTOR_INBOX, self._log.complain) as connection,
                    self._service.serving(connection),
                ):
                    said, pause = "", FIRST_PAUSE
                    self._log.say(f"collects for {self._region}, by {self._login.server}")
                    self._manager.ready(self._status())
                    await connection.closed.wait()
            except NatsAway as away:
                if str(away) != said:
                    said = str(away)
                    self._log.complain(f"{said}; trying again")
                self._manager.status(said)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _beat(self) -> None:
        """Beat for the watchdog while the loop turns, and tell how the collector fares."""
        clock = asyncio.get_running_loop().time
        told_at = clock()
        while True:
            self._pulse.beat()
            await asyncio.sleep(PULSE_EACH)
            if clock() - told_at >= STATUS_EACH and self._service.load.jobs:
                told_at = clock()
                self._manager.status(self._status())

    def _status(self) -> str:
        load = self._service.load
        return f"collects for {self._region}: {count(load.jobs, 'job')}, {count(load.nodes, 'node')}"

    # -- jobs

    async def _look(self, opened: OpenJob, channel: JobChannel, jobs: int) -> Callable[[], Awaitable[None]]:
        """Prepare a look. Jobs under way share what one may take: `ssh.concurrency`, and room for open files."""
        config = job_config(self._config, opened)
        try:
            # Keys and known_hosts are read for each job: what was changed meanwhile counts.
            nodes = await asyncio.to_thread(
                parts.build_nodes,
                config,
                handshakes=opened.handshakes,
                transfer=opened.transfer,
            )
        except ConfigError as error:
            raise JobRefused(f"its own configuration cannot be used: {error}") from None

        def room(wanted: int) -> int:
            return max(1, open_files.room_for(wanted * jobs, self._log.complain) // jobs)

        collector = LocalCollector(nodes, max(1, config.ssh.concurrency // jobs), room)
        return LookJob(opened, channel, collector, self._addresses).run

    async def _follow(self, opened: OpenJob, channel: JobChannel, jobs: int) -> Callable[[], Awaitable[None]]:
        """Prepare a following, which goes on until its auditor ends it."""
        config = job_config(self._config, opened)
        try:
            nodes = await asyncio.to_thread(parts.build_nodes, config, handshakes=False)
        except ConfigError as error:
            raise JobRefused(f"its own configuration cannot be used: {error}") from None
        room = partial(open_files.room_to_follow, complain=self._log.complain)
        follower = LocalFollower(nodes, opened.interval, max(1, config.ssh.concurrency // jobs), room=room)
        return FollowingJob(follower, TableStore(), channel).run

    # -- signals

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT, at once on a second one."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end() -> None:
            if self._stop.is_set() and task is not None:
                task.cancel()
            self._stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel tasks, some times if need be: the library, and asyncio up to Python 3.11, swallow one now and then."""
    for _ in range(CANCELS):
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=CANCEL_EACH)
        if not tasks:
            return


def job_config(config: Config, opened: OpenJob) -> Config:
    """Take over what an auditor may say of a look: pools, devices of further addresses, and whether endpoints are asked
    for. All else is this collector's own: how nodes are reached, and every command.
    """
    mesh = config.mesh.model_copy(
        update={
            "pools": tuple(map(Prefix, opened.pools)),
            "address_devices": tuple(opened.address_devices),
        }
    )
    ssh = config.ssh.model_copy(update={"endpoints": opened.endpoints})
    return config.model_copy(update={"mesh": mesh, "ssh": ssh})
