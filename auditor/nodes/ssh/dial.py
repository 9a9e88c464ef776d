"""Dialling of a server: a socket to one of its addresses, or to a proxy command."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import zip_longest

from auditor.errors import NotReached
from auditor.nodes.ssh.config_file import user_shell

STAGGER = 0.25
"""Seconds after which the next address is tried beside one that has not answered (RFC 8305)."""
_LAST_WORDS = 0.3
"""Seconds to wait for what a command that failed still says."""
MOST_WORDS = 2048
"""Bytes kept of what a command says on stderr."""


@dataclass
class Approach:
    """Progress of the connection to a server, for messages."""

    silent: list[str] = field(default_factory=list)
    """Addresses that did not answer yet."""
    faults: list[tuple[str, OSError]] = field(default_factory=list)
    command_said: bytearray = field(default_factory=bytearray)
    """Output of a proxy command on stderr."""

    listening: asyncio.Future[None] | None = None
    """Ends when the command has closed its stderr."""

    async def hear_out(self) -> None:
        """Wait a moment for the last words of a proxy command, which may come after its end."""
        if self.listening is not None:
            await asyncio.wait([self.listening], timeout=_LAST_WORDS)

    def said(self) -> str:
        """Return the command's output on stderr as text."""
        return bytes(self.command_said).decode("utf-8", "replace").strip()


async def reach(
    way: Approach, host: str, port: int, *, family: int, bind: str, seconds: float
) -> socket.socket:
    """Connect to the first address of a host that answers; each has its share of `seconds`.

    Raises `OSError` of the only address, `socket.gaierror`, or `NotReached` where there are several.
    """
    infos = await _addresses(host, port, family)
    if len(infos) == 1:
        return await _connected(infos[0], bind)
    share = max(seconds / len(infos), STAGGER)
    attempts: dict[asyncio.Task[socket.socket], _Attempt] = {}
    try:
        for number, info in enumerate(infos):
            attempt = _Attempt(info, bind)
            way.silent.append(attempt.name)
            attempts[asyncio.ensure_future(attempt.run())] = attempt
            last = number == len(infos) - 1
            found = await _first(way, attempts, None if last else share)
            if found is not None:
                return found
        raise NotReached(way.faults)
    finally:
        for task in attempts:
            task.cancel()
        for result in await asyncio.gather(*attempts, return_exceptions=True):
            if isinstance(result, socket.socket):
                result.close()


class _Attempt:
    """Attempt at one address of several; it has answered when its server sends data, as SSH servers do at once."""

    def __init__(self, info: _Info, bind: str) -> None:
        self._info, self._bind = info, bind
        self.name = str(info[1][0])
        self.connected = False

    async def run(self) -> socket.socket:
        found = await _connected(self._info, self._bind)
        self.connected = True
        loop = asyncio.get_running_loop()
        speaks: asyncio.Future[None] = loop.create_future()
        number = found.fileno()
        loop.add_reader(found, lambda: None if speaks.done() else speaks.set_result(None))
        try:
            await speaks
        except asyncio.CancelledError:
            loop.remove_reader(number)
            found.close()
            raise
        loop.remove_reader(number)
        return found


async def _first(
    way: Approach, attempts: dict[asyncio.Task[socket.socket], _Attempt], share: float | None
) -> socket.socket | None:
    """Wait for a socket; None: the next address is due, or all have failed. `share` None: there is no next one."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while attempts:
        # A server that is there and does not speak is busy rather than gone: not asked twice at once.
        busy = any(attempt.connected for attempt in attempts.values())
        left = None if share is None else began + (share if busy else STAGGER) - loop.time()
        if left is not None and left <= 0:
            return None
        done, _ = await asyncio.wait(attempts, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        failed = False
        for task in done:
            attempt = attempts.pop(task)
            way.silent.remove(attempt.name)
            error = task.exception()
            if error is None:
                return task.result()
            if not isinstance(error, OSError):
                raise error
            way.faults.append((attempt.name, error))
            failed = True
        if failed and share is not None:
            return None
    return None


_Info = tuple[int, tuple[str, int] | tuple[str, int, int, int]]


async def _addresses(host: str, port: int, family: int) -> list[_Info]:
    for literal in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(literal, host)
        except OSError:
            continue
        return [(literal, (host, port))]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    infos: list[_Info] = list(dict.fromkeys((info[0], info[4]) for info in found))  # type: ignore[misc]
    if not infos:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    first = [info for info in infos if info[0] == infos[0][0]]
    other = [info for info in infos if info[0] != infos[0][0]]
    return [info for pair in zip_longest(first, other) for info in pair if info is not None]


async def _connected(info: _Info, bind: str) -> socket.socket:
    family, address = info
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setblocking(False)
        if bind:
            found.bind((bind, 0))
        await asyncio.get_running_loop().sock_connect(found, address)
    except BaseException:
        found.close()
        raise
    return found


async def run_proxy(way: Approach, command: str, stack: AsyncExitStack) -> socket.socket:
    """Run a proxy command through the user's shell, as ssh does; it ends with the stack. Raises `OSError`."""
    ours, its = socket.socketpair()
    ours.setblocking(False)
    stack.callback(ours.close)
    with its:
        process = await asyncio.create_subprocess_exec(
            user_shell(),
            "-c",
            f"exec {command}",
            stdin=its.fileno(),
            stdout=its.fileno(),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    way.listening = listening = asyncio.ensure_future(_listen(way, process))
    stack.push_async_callback(_end, process, listening)
    return ours


async def _listen(way: Approach, process: asyncio.subprocess.Process) -> None:
    while process.stderr is not None and (words := await process.stderr.read(4096)):
        way.command_said.extend(words[: MOST_WORDS - len(way.command_said)])


async def _end(process: asyncio.subprocess.Process, listening: asyncio.Future[None]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
    try:
        async with asyncio.timeout(1):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    listening.cancel()
    await asyncio.wait([listening])
