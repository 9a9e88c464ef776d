"""What runs in a worker process: it looks at the nodes that its parent names, and ends when its parent does."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from auditor.errors import ProbeError, WgauditError
from auditor.nodes.interface import NodeSource, TableStore, surprise
from auditor.nodes.processes.messages import (
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
from auditor.values.models import RouteTable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a sweep, and reaches its whole process group, or all of a service."""
_PATIENCE = 1.0
"""Seconds in which connections are closed properly after the parent has gone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker is started with. It is pickled: functions are those of modules, or a `partial` of one."""

    build: Callable[[], NodeSource]
    """Makes its node source."""
    run: Callable[[Coroutine[Any, Any, int]], int]
    """What runs the loop, such as `asyncio.run`."""
    levels: Mapping[str, int]
    """The parent's log levels, by logger; "" is the root."""


def work(sock: socket.socket, job: Job) -> None:
    """A worker's whole life. What it must be told of goes to the parent's log."""
    for number in SIGNALS:
        # The parent ends the sweep and then its workers. Handled, not ignored: what ssh's ProxyCommand
        # starts here would inherit that.
        signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    sys.exit(job.run(_life(sock, job)))


def _nothing(number: int, frame: FrameType | None) -> None:
    """Ends nothing."""


async def _life(sock: socket.socket, job: Job) -> int:
    channel = await Channel.open(sock)
    _log_through(channel, job.levels)
    try:
        await _Worker(channel, job.build()).serve()
    except WgauditError as error:
        # The parent has built the same one, so that this came up in between: a file that went away.
        log.error("a worker process cannot start: %s", error)
        return 1
    except Exception as error:
        log.error("a worker process failed: %s: %s", type(error).__name__, error)
        log.debug("internal error", exc_info=True)
        return 1
    finally:
        await asyncio.sleep(0)  # what was logged is on its way now
        await channel.close()
    return 0


class _Worker:
    def __init__(self, channel: Channel, nodes: NodeSource) -> None:
        self._channel = channel
        self._nodes = nodes
        self._looks: dict[int, _Look] = {}

    async def serve(self) -> None:
        """Does what it is told until the parent goes away."""
        try:
            while (message := await self._channel.receive()) is not None:
                self._take(message)
        finally:
            # Nobody waits for an answer any more, whether the parent closed the channel or was killed.
            tasks = [look.task for look in self._looks.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_PATIENCE)

    def _take(self, message: object) -> None:
        match message:
            case Ask(number):
                tables = _TablesOfParent(self._channel, number)
                look = _Look(asyncio.create_task(self._answer(message, tables)), tables)
                self._looks[number] = look
                look.task.add_done_callback(lambda _: self._looks.pop(number))
            case Known(number) | Fetch(number) if number in self._looks:
                self._looks[number].tables.told(known=isinstance(message, Known))
            case Cancel(number) if number in self._looks:
                self._looks[number].task.cancel()
            case Expect(registrations):
                self._nodes.expect(registrations)
            case _:
                # About a look that ended while the message was under way.
                return

    async def _answer(self, ask: Ask, tables: _TablesOfParent) -> None:
        reply: Seen | Unseen
        try:
            observation = await self._nodes.observe(ask.registration, tables)
            reply = Seen(ask.number, observation, tuple(tables.tables.values()))
        except ProbeError as error:
            reply = Unseen(ask.number, error.reason, error.detail)
        except Exception as error:
            log.debug("unexpected error while looking at %s", ask.registration.node, exc_info=True)
            unseen = surprise(error)
            reply = Unseen(ask.number, unseen.reason, unseen.detail)
        await self._channel.send(reply)


class _TablesOfParent(TableStore):
    """The parent's store, as one look sees it. A text that goes to the parent is not kept here."""

    def __init__(self, channel: Channel, number: int) -> None:
        super().__init__()
        self._channel = channel
        self._number = number
        self._known: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def obtain(self, digest: str, fetch: Callable[[], Awaitable[RouteTable]]) -> str:
        """As in the base class, but the parent says whether to fetch: a text is fetched once in all workers."""
        self._known = asyncio.get_running_loop().create_future()
        await self._channel.send(Wanted(self._number, digest))
        if await self._known:
            return digest
        table = await fetch()
        await self._channel.send(Fetched(self._number, table))
        return table.digest

    def told(self, *, known: bool) -> None:
        """The parent's answer."""
        if not self._known.done():
            self._known.set_result(known)


@dataclass(frozen=True, slots=True)
class _Look:
    task: asyncio.Task[None]
    tables: _TablesOfParent


class _ToParent(logging.Handler):
    """Hands each line to the parent, whose log has one form and one place."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Sends one line, from whatever thread."""
        line = packed(Logged(record.name, record.levelno, self.format(record)))
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._channel.write, line)


def _log_through(channel: Channel, levels: Mapping[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().handlers = [_ToParent(channel)]
