"""Opening and closing connections: the way to a node, over jump hosts that many nodes share."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncssh

from auditor.config import SshSettings
from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.probe import cleaned
from auditor.nodes.ssh.failures import EXPECTED, Watch, from_connecting, host_key_detail
from auditor.nodes.ssh.login import Login, Way

_HOP = re.compile(
    r"(?:(?P<user>[^@,\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:,\s\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
)


class _NoCommonHostKeyError(Exception):
    """The server showed no host key: perhaps it has none of the kinds that are known for it."""


class Connections:
    """Opens connections for one set of settings. Raises `ConfigError` if they cannot be used."""

    def __init__(self, settings: SshSettings) -> None:
        self._seconds = settings.connect_timeout
        self._login = Login(settings)
        self._jumps: dict[str, _Jump] = {}
        if settings.proxy_jump:
            check_jump(settings.proxy_jump)

    async def open(self, host: str, port: int | None, stack: AsyncExitStack) -> asyncssh.SSHClientConnection:
        """A logged-in connection, closed when the stack is. Raises `ProbeError`."""
        try:
            way = await self._login.way(host, port)
        except EXPECTED as error:
            raise from_connecting(error, host) from None
        tunnel = await self._jump(way.jump, stack) if way.jump else None
        return await self._dial(way, tunnel, stack)

    async def _dial(
        self, way: Way, tunnel: asyncssh.SSHClientConnection | None, stack: AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        try:
            connection = await self._attempt(way, tunnel, algorithms=())
        except _NoCommonHostKeyError:
            # The library asks for keys of the known kinds alone, and the server has none and hangs up. Asked
            # for any kind, it shows the one that it has, and the refusal can say which.
            connection = await self._attempt(way, tunnel, algorithms="default")
        stack.push_async_callback(_close, connection)
        return connection

    async def _attempt(
        self, way: Way, tunnel: asyncssh.SSHClientConnection | None, *, algorithms: str | tuple[()]
    ) -> asyncssh.SSHClientConnection:
        watch = Watch()
        lookup = self._login.known_hosts.lookup()
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncssh.connect(
                    way.host,
                    way.port,
                    options=way.options,
                    config=None,
                    tunnel=tunnel,
                    username=way.user,
                    client_keys=self._login.keys(),
                    known_hosts=lookup,
                    server_host_key_algs=algorithms,
                    client_factory=lambda: watch,
                )
        except TimeoutError:
            state = "connected, but the login did not end" if watch.connected else "no answer"
            raise ProbeError(
                GapReason.CONNECT_TIMEOUT, f"{way}: {state} within {self._seconds:g} s"
            ) from None
        except asyncssh.HostKeyNotVerifiable as error:
            file = self._login.known_hosts.file
            detail = host_key_detail(error, watch, lookup.found, str(way), file)
            raise ProbeError(GapReason.HOST_KEY, detail) from None
        except EXPECTED as error:
            if not algorithms and lookup.found and watch.ended_before_host_key(error):
                raise _NoCommonHostKeyError from None
            raise from_connecting(error, str(way)) from None

    async def _jump(self, hops: str, stack: AsyncExitStack) -> asyncssh.SSHClientConnection:
        """The connection to the last of `hops`, shared by all who pass it; the last one to leave closes it."""
        jump = self._jumps.get(hops)
        if jump is None or jump.is_over():
            jump = self._jumps[hops] = _Jump(asyncio.ensure_future(self._open_jump(hops)))
        jump.users += 1
        stack.push_async_callback(self._leave, hops, jump)
        try:
            # One who gives up must not take the connection away from the others who wait for it.
            connection, _ = await asyncio.shield(jump.opening)
        except ProbeError as error:
            raise ProbeError(error.reason, f"jump host {error.detail}") from None
        return connection

    async def _open_jump(self, hops: str) -> tuple[asyncssh.SSHClientConnection, AsyncExitStack]:
        before, _, last = hops.rpartition(",")
        try:
            user, host, port = check_jump(last)
        except ConfigError as error:
            raise ProbeError(GapReason.NO_HOST, str(error)) from None
        async with AsyncExitStack() as stack:
            tunnel = await self._jump(before, stack) if before else None
            try:
                way = await self._login.way(host, port, user=user, jumped=True)
            except EXPECTED as error:
                raise from_connecting(error, host) from None
            connection = await self._dial(way, tunnel, stack)
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
        """Whether it failed or was lost, so that whoever comes next needs a new one."""
        if not self.opening.done():
            return False
        if self.opening.cancelled() or self.opening.exception() is not None:
            return True
        return self.opening.result()[0].is_closed()

    async def close(self) -> None:
        self.opening.cancel()
        await asyncio.wait([self.opening])
        if not self.opening.cancelled() and self.opening.exception() is None:
            await self.opening.result()[1].aclose()


def check_jump(hops: str) -> tuple[str | None, str, int | None]:
    """User, host and port of the last hop of `[user@]host[:port],…`. Raises `ConfigError`."""
    last: tuple[str | None, str, int | None] = (None, "", None)
    for hop in hops.split(","):
        match = _HOP.fullmatch(hop.strip())
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 1 <= port <= 65_535):
            raise ConfigError(f"ssh.proxy_jump: not [user@]host[:port]: {cleaned(hop)}")
        last = match["user"], match["host"].strip("[]"), port
    return last


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()
