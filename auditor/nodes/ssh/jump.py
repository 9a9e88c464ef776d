"""Jump hosts: one connection to each, shared by all the nodes behind it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncssh

from auditor.errors import ConfigError, ProbeError
from auditor.nodes.framing import cleaned
from auditor.nodes.ssh.turns import Turns

_HOP = re.compile(
    r"(?:(?P<user>[^@,\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:,\s\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
)

OpenHop = Callable[
    [str, asyncssh.SSHClientConnection | None, AsyncExitStack], Awaitable[asyncssh.SSHClientConnection]
]
"""Opens one hop, `[user@]host[:port]`, through the one before it. Raises `ProbeError`."""


class Jumps:
    """The open connections to jump hosts, by the hops that lead there; `most` nodes pass each at one time."""

    def __init__(self, open_hop: OpenHop, most: int) -> None:
        self._open_hop = open_hop
        self._turns = Turns(most)
        self._jumps: dict[str, _Jump] = {}

    async def connection(self, hops: str, stack: AsyncExitStack) -> asyncssh.SSHClientConnection:
        """Get the connection to the last of `hops`, shared by all nodes behind it; the last user closes it."""
        # A user that waits for a turn counts already: the connection stays open for the next in line.
        jump = self._enter(hops, stack)
        await stack.enter_async_context(self._turns.at(hops))
        if jump.is_lost():
            jump = self._enter(hops, stack)
        try:
            # One that gives up must not take the connection away from the others that wait for it.
            connection, _ = await asyncio.shield(jump.opening)
        except ProbeError as error:
            raise ProbeError(error.reason, f"jump host {error.detail}") from None
        return connection

    def _enter(self, hops: str, stack: AsyncExitStack) -> _Jump:
        jump = self._jumps.get(hops)
        if jump is None or jump.is_over():
            jump = self._jumps[hops] = _Jump(asyncio.ensure_future(self._open(hops)))
        jump.users += 1
        stack.push_async_callback(self._leave, hops, jump)
        return jump

    async def _open(self, hops: str) -> tuple[asyncssh.SSHClientConnection, AsyncExitStack]:
        before, _, last = hops.rpartition(",")
        async with AsyncExitStack() as stack:
            tunnel = await self.connection(before, stack) if before else None
            connection = await self._open_hop(last, tunnel, stack)
            return connection, stack.pop_all()

    async def _leave(self, hops: str, jump: _Jump) -> None:
        jump.users -= 1
        if jump.users:
            return
        if self._jumps.get(hops) is jump:
            del self._jumps[hops]
        await jump.close()


@dataclass
class _Jump:
    opening: asyncio.Future[tuple[asyncssh.SSHClientConnection, AsyncExitStack]]
    users: int = 0

    def is_over(self) -> bool:
        """Whether it failed or was lost, so that the next user needs a new one."""
        return self._failed() or self.is_lost()

    def is_lost(self) -> bool:
        """Whether it was open once and is no more. A user that waited while it failed to open gets that failure."""
        return self.opening.done() and not self._failed() and self.opening.result()[0].is_closed()

    def _failed(self) -> bool:
        return self.opening.done() and (self.opening.cancelled() or self.opening.exception() is not None)

    async def close(self) -> None:
        self.opening.cancel()
        await asyncio.wait([self.opening])
        if not self.opening.cancelled() and self.opening.exception() is None:
            await self.opening.result()[1].aclose()


def check_jump(hops: str) -> tuple[str | None, str, int | None]:
    """Read user, host and port of the last hop of `[user@]host[:port],…`. Raises `ConfigError`."""
    last: tuple[str | None, str, int | None] = (None, "", None)
    for hop in hops.split(","):
        match = _HOP.fullmatch(hop.strip())
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 1 <= port <= 65_535):
            raise ConfigError(f"ssh.proxy_jump: not [user@]host[:port]: {cleaned(hop)}")
        last = match["user"], match["host"].strip("[]"), port
    return last
