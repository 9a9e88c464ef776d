"""Jump hosts: one connection to each, shared by all the nodes behind it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import unquote

import asyncssh

from auditor.errors import ConfigError, ProbeError
from auditor.nodes.framing import cleaned
from auditor.nodes.ssh.turns import Turns

_HOP = re.compile(
    r"(?:(?P<user>[^,\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:,\s\[\]/]+)(?::(?P<port>[0-9]{1,5}))?/?"
)
MOST_STAYING = 400
"""Nodes that are followed over one connection to a jump host: its sshd has a file open for each, of some thousand."""
MOST_HOPS = 16
"""Jump hosts one behind the other."""

OpenHop = Callable[
    [str, asyncssh.SSHClientConnection | None, AsyncExitStack], Awaitable[asyncssh.SSHClientConnection]
]
"""Opens one hop, `[user@]host[:port]`, through the one before it. Raises `ProbeError`."""


class Jumps:
    """Open connections to jump hosts, by the hops that lead there; `most` nodes pass each at one time."""

    def __init__(self, open_hop: OpenHop, most: int) -> None:
        self._open_hop = open_hop
        self._turns = Turns(most)
        self._jumps: dict[str, _Jump] = {}

    async def connection(
        self, hops: str, stack: AsyncExitStack, turn: AsyncExitStack | None = None
    ) -> asyncssh.SSHClientConnection:
        """Get the connection to the last of `hops`, shared by the nodes behind it; the last user closes it.

        `turn`: holds the turn, where a user stays for long; None: the turn ends with the use.
        """
        most = None if turn is None else MOST_STAYING
        # A user that waits for a turn counts already: the connection stays open for the next in line.
        jump = self._enter(hops, stack, most)
        await (turn or stack).enter_async_context(self._turns.at(hops))
        if jump.is_lost():
            jump = self._enter(hops, stack, most)
        try:
            # One that gives up must not take the connection away from the others that wait for it.
            connection, _ = await asyncio.shield(jump.opening)
        except ProbeError as error:
            raise ProbeError(error.reason, f"jump host {error.detail}") from None
        return connection

    def _enter(self, hops: str, stack: AsyncExitStack, most: int | None) -> _Jump:
        jump = self._jumps.get(hops)
        if jump is None or jump.is_over() or (most is not None and jump.users >= most):
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
        """Tell whether it failed or was lost, so that the next user needs a new one."""
        return self._failed() or self.is_lost()

    def is_lost(self) -> bool:
        """Tell whether it was open and is lost. A user that waited while it failed to open gets that failure."""
        return self.opening.done() and not self._failed() and self.opening.result()[0].is_closed()

    def _failed(self) -> bool:
        return self.opening.done() and (self.opening.cancelled() or self.opening.exception() is not None)

    async def close(self) -> None:
        self.opening.cancel()
        await asyncio.wait([self.opening])
        if not self.opening.cancelled() and self.opening.exception() is None:
            await self.opening.result()[1].aclose()


@dataclass(frozen=True)
class Hop:
    """One jump host."""

    user: str | None
    host: str
    port: int | None

    def __str__(self) -> str:
        """Spell the hop: `[user@]host[:port]`."""
        user = "" if self.user is None else f"{self.user}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return user + host + ("" if self.port is None else f":{self.port}")


def check_jump(hops: str, place: str = "ssh.proxy_jump") -> list[Hop]:
    """Read `[user@]host[:port],…`, each also as `ssh://` URI. Raises `ConfigError`."""
    found = []
    for text in hops.split(","):
        uri = text.strip().removeprefix("ssh://")
        match = _HOP.fullmatch(uri)
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 1 <= port <= 65_535):
            raise ConfigError(f"{place}: not [user@]host[:port]: {cleaned(text)}")
        user = match["user"]
        if user is not None and uri != text.strip():
            user = unquote(user.partition(";")[0])
            if not user or any(character in ",@" or character.isspace() for character in user):
                raise ConfigError(f"{place}: not a user's name: {cleaned(user)}")
        found.append(Hop(user, match["host"].strip("[]"), port))
    return found


def jump_chain(hops: str, before: Callable[[Hop], tuple[str, str]], place: str = "ssh.proxy_jump") -> str:
    """Find all hops, with those that lead to the first one: ssh follows its configuration, too.

    `before`: gives the hops before a jump host, and where they stand. Raises `ConfigError`.
    """
    chain = check_jump(hops, place)
    seen = set(chain)
    while True:
        earlier, place = before(chain[0])
        if not earlier:
            return ",".join(map(str, chain))
        found = check_jump(earlier, place)
        if seen.intersection(found) or len(found) + len(chain) > MOST_HOPS:
            raise ConfigError(f"{place}: the jump hosts lead in a circle: {cleaned(str(found[0]))}")
        seen.update(found)
        chain = found + chain
