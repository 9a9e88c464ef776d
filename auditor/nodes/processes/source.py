"""The parent's side: starts workers when the fleet's size is known, deals nodes out to them, and ends them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Self

from auditor.errors import GapReason, ProbeError
from auditor.nodes.interface import NodeSource, TableStore
from auditor.nodes.processes.count import fitting, usable_cores
from auditor.nodes.processes.messages import (
    About,
    Ask,
    Cancel,
    Channel,
    Expect,
    Fetch,
    Fetched,
    Known,
    Logged,
    Seen,
    Unseen,
    Wanted,
    packed,
)
from auditor.nodes.processes.worker import SIGNALS, Job, work
from auditor.values.models import NodeId, Observation, Registration, RouteTable

_GRACE = 3.0
"""Seconds that a worker has to end by itself."""

log = logging.getLogger(__name__)

Build = Callable[[int], NodeSource]


class Processes:
    """Looks at nodes from several processes; with one, from this one. To be entered before it is used.

    `build` makes the node source, here and in each worker; it is told among how many processes the bounds
    of what happens at one time are shared out. `count` is the number of processes; None: what fits the
    number of nodes, once it is known. `run` runs a worker's loop. Both functions are pickled: functions of
    modules, or a `partial` of one. Raises what `build` raises, before anything is started.
    """

    def __init__(
        self,
        build: Build,
        count: int | None = None,
        *,
        run: Callable[[Coroutine[Any, Any, int]], int] = asyncio.run,
    ) -> None:
        self._own = build(1)
        self._build = build
        self._count = count
        self._run = run
        self._workers: list[_Worker] = []
        self._dealt: dict[NodeId, _Worker] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends all workers, and waits until they have."""
        workers, self._workers = self._workers, []
        self._dealt.clear()
        await asyncio.gather(*(worker.close() for worker in workers))

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Starts the workers that a fleet of this size deserves, and tells them who belongs to the mesh."""
        known = tuple(registrations)
        if not self._workers:
            self._start(self._count or fitting(len(known), usable_cores()))
        if not self._workers:
            self._own.expect(known)
            return
        log.info("%d worker processes look at %d nodes", len(self._workers), len(known))
        told = packed(Expect(known))
        for worker in self._workers:
            worker.expect(told)

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Looks at one node once, from the worker that had least to do when it first came. Raises `ProbeError`."""
        if not self._workers:
            return await self._own.observe(registration, tables)
        return await self._worker(registration.node).observe(registration, tables)

    def _worker(self, node: NodeId) -> _Worker:
        # A node that is asked again is asked by the same process: its source may have learnt about it.
        dealt = self._dealt.get(node)
        if dealt is not None and dealt.alive:
            return dealt
        living = [worker for worker in self._workers if worker.alive]
        if not living:
            raise ProbeError(GapReason.INTERNAL, f"no worker process is left: {self._workers[-1].ended}")
        self._dealt[node] = least = min(living, key=lambda worker: worker.load)
        return least

    def _start(self, count: int) -> None:
        if count == 1:
            return
        job = Job(partial(self._build, count), self._run, _levels())
        try:
            for _ in range(count):
                self._workers.append(_Worker(job))
        except OSError as error:
            # Fewer processes see the same, only later; with none, this one sees it.
            log.warning("started %d worker processes of %d: %s", len(self._workers), count, error.strerror)


class _Worker:
    """One worker process, as its parent sees it. Raises OSError if it cannot be started."""

    def __init__(self, job: Job) -> None:
        self.alive = True
        self.ended = "a worker process ended"
        self._closing = self._reaped = False
        self._looks: dict[int, _Look] = {}
        self._numbers = itertools.count()
        self._told = b""
        self._channel: Channel | None = None
        self._ready = asyncio.Event()
        self._socket, theirs = socket.socketpair()
        with theirs:
            # Started anew and not forked: this process has threads, connections and a running loop.
            context = multiprocessing.get_context("spawn")
            self._process = context.Process(target=work, args=(theirs, job), daemon=True)
            try:
                with _signals_held_back():
                    self._process.start()
            except OSError:
                self._socket.close()
                raise
        self._life = asyncio.create_task(self._listen())

    @property
    def load(self) -> int:
        """The nodes that it is looking at."""
        return len(self._looks)

    def expect(self, told: bytes) -> None:
        """Sends this before any node that is asked for from now on."""
        self._told = told
        if self._channel is not None:
            self._channel.write(told)

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Has the worker look at one node. Raises `ProbeError`, also if the worker ends meanwhile."""
        number = next(self._numbers)
        look = self._looks[number] = _Look(number)
        try:
            await self._ready.wait()
            if self._channel is None or not self.alive:
                raise ProbeError(GapReason.INTERNAL, self.ended)
            return await look.observe(registration, tables, self._channel)
        finally:
            del self._looks[number]
            if self._channel is not None and not look.over:
                self._channel.write(packed(Cancel(number)))

    async def close(self) -> None:
        """Ends the process, and waits until it has."""
        self._closing = True
        self._life.cancel()
        await asyncio.wait([self._life])
        self._socket.close()  # where its channel was never opened
        await self._reap()

    async def _listen(self) -> None:
        try:
            self._channel = await Channel.open(self._socket)
            self._channel.write(self._told)
            self._ready.set()
            while (message := await self._channel.receive()) is not None:
                self._take(message)
        finally:
            self.alive = False
            if self._channel is not None:
                self._channel.abort()
            await self._reap()
            self._ready.set()
            for look in self._looks.values():
                look.heard.put_nowait(self.ended)

    def _take(self, message: object) -> None:
        match message:
            case Logged(name, level, text):
                logger = logging.getLogger(name)
                logger.handle(logger.makeRecord(name, level, "", 0, text, (), None))
            case Wanted(number) | Fetched(number) | Seen(number) | Unseen(number) if number in self._looks:
                self._looks[number].heard.put_nowait(message)
            case _:
                # About a look that was cancelled while the message was under way.
                return

    async def _reap(self) -> None:
        if self._reaped:
            return
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, gone.set)
        try:
            async with asyncio.timeout(_GRACE):
                await gone.wait()
        except TimeoutError:
            self._process.kill()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        self._reaped = True
        code = self._process.exitcode or 0
        self._process.close()
        self.ended = f"a worker process ended ({f'signal {-code}' if code < 0 else f'exit {code}'})"
        if not self._closing:
            log.warning("%s; the nodes that it was looking at are gaps: %d", self.ended, self.load)


class _Look:
    """One look at one node, as the worker tells of it."""

    def __init__(self, number: int) -> None:
        self.over = False
        """Whether the worker has said its last word about it."""
        self.heard: asyncio.Queue[About | str] = asyncio.Queue()
        """What the worker says, or that it has ended. Its length is bounded by what there is to say."""
        self._number = number

    async def observe(self, registration: Registration, tables: TableStore, channel: Channel) -> Observation:
        """The whole conversation. Raises `ProbeError`."""
        await channel.send(Ask(self._number, registration))
        while isinstance(message := await self._hear(), Wanted):
            await self._obtain(message.digest, tables, channel)
        if not isinstance(message, Seen):
            raise TypeError(f"not what a worker says here: {type(message).__name__}")
        for table in message.tables:
            tables.add(table)
        return message.observation

    async def _obtain(self, digest: str, tables: TableStore, channel: Channel) -> None:
        fetched = False

        async def fetch() -> RouteTable:
            nonlocal fetched
            fetched = True
            await channel.send(Fetch(self._number))
            message = await self._hear()
            if not isinstance(message, Fetched):
                raise TypeError(f"not what a worker says here: {type(message).__name__}")
            return message.table

        await tables.obtain(digest, fetch)
        if not fetched:
            await channel.send(Known(self._number))

    async def _hear(self) -> Wanted | Fetched | Seen:
        message = await self.heard.get()
        self.over = isinstance(message, Seen | Unseen | str)
        if isinstance(message, str):
            raise ProbeError(GapReason.INTERNAL, message)
        if isinstance(message, Unseen):
            raise ProbeError(message.reason, message.detail)
        return message


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """What is started in this block is born deaf to what ends a sweep, until it can decide for itself."""
    # Or a Ctrl-C while a worker's interpreter starts would end it with a traceback. The helper process of
    # multiprocessing comes first, because its start lets the signals through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _levels() -> dict[str, int]:
    named = logging.getLogger().manager.loggerDict.items()
    levels = {name: logger.level for name, logger in named if isinstance(logger, logging.Logger)}
    return {"": logging.getLogger().level} | levels
