"""Connections to nodes: opened through their jump hosts, logged in, and closed."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import AsyncExitStack

import asyncssh

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.ssh.dial import Approach, reach, run_proxy
from auditor.nodes.ssh.failures import EXPECTED, Watch, from_connecting, host_key_detail, timed_out
from auditor.nodes.ssh.host_keys import Lookup
from auditor.nodes.ssh.jump import Jumps, check_jump
from auditor.nodes.ssh.lean import connect
from auditor.nodes.ssh.login import Destination, Login
from auditor.nodes.ssh.turns import ConnectWait, Turns
from auditor.settings.ssh import SshSettings

log = logging.getLogger(__name__)


class _NoCommonHostKeyError(Exception):
    """Server without a host key: perhaps it has none of the kinds that are known for it."""


class _HostKeyUnsettledError(Exception):
    """Host key that the short lookup did not settle; the whole one decides."""


class Connections:
    """Opens connections for one set of settings. Raises `ConfigError` if they cannot be used."""

    def __init__(self, settings: SshSettings) -> None:
        self._connect_wait = ConnectWait(settings.connect_timeout)
        self._logins = Turns(settings.logins_per_host)
        self._settings = settings
        self._login = Login(settings)
        self._jumps = Jumps(self._open_hop, settings.per_jump)
        if settings.proxy_jump:
            check_jump(settings.proxy_jump)

    def begin(self) -> None:
        """Begin a new sweep, or a round of a watch: facts of this machine that may have changed are read again.

        Files that changed and cannot be used now are a warning, and what was read of them before stays.
        """
        if self._login.is_outdated():
            try:
                self._login = Login(self._settings)
            except ConfigError as error:
                log.warning("%s; logins go on as before", error)
                self._login.stay()
        self._login.begin()

    async def open(
        self, host: str, port: int | None, stack: AsyncExitStack, *, stays: bool = False
    ) -> asyncssh.SSHClientConnection:
        """Open a logged-in connection, closed when the stack is. `port` None: ssh's own choice. Raises `ProbeError`.

        `stays`: for long; then others may pass the jump host as soon as the login is done.
        """
        destination = await self._login.destination(host, port)
        if not destination.jump:
            return await self._dial(destination, None, stack)
        async with AsyncExitStack() as turn:
            tunnel = await self._jumps.connection(destination.jump, stack, turn if stays else None)
            return await self._dial(destination, tunnel, stack)

    async def _open_hop(
        self, last: str, tunnel: asyncssh.SSHClientConnection | None, stack: AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        """Open a connection to one jump host. Raises `ProbeError`."""
        (hop,) = check_jump(last)
        destination = await self._login.destination(hop.host, hop.port, user=hop.user, jumped=True)
        return await self._dial(destination, tunnel, stack)

    async def _dial(
        self, destination: Destination, tunnel: asyncssh.SSHClientConnection | None, stack: AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        async with AsyncExitStack() as mine:
            connection = await self._trusted(destination, tunnel, mine)
            mine.push_async_callback(_close, connection)
            stack.push_async_callback(mine.pop_all().aclose)
            return connection

    async def _trusted(
        self,
        destination: Destination,
        tunnel: asyncssh.SSHClientConnection | None,
        stack: AsyncExitStack,
    ) -> asyncssh.SSHClientConnection:
        *short, whole = destination.known_hosts.lookups(destination.names)
        if destination.algorithms:
            # The configuration names the kinds to ask for, and their order.
            return await self._attempt(destination, tunnel, whole, destination.algorithms, stack)
        for lookup in short:
            try:
                return await self._attempt(destination, tunnel, lookup, lookup.preferred, stack)
            except _HostKeyUnsettledError:
                continue
        try:
            return await self._attempt(destination, tunnel, whole, "", stack)
        except _NoCommonHostKeyError:
            # The library asks for keys of the known kinds alone, and the server has none and hangs up. Asked
            # for any kind, it shows the one that it has, and the refusal can say which.
            return await self._attempt(destination, tunnel, whole, "default", stack)

    async def _attempt(
        self,
        destination: Destination,
        tunnel: asyncssh.SSHClientConnection | None,
        lookup: Lookup,
        algorithms: str,
        stack: AsyncExitStack,
    ) -> asyncssh.SSHClientConnection:
        async with AsyncExitStack() as mine:
            keys = await self._login.keys(destination, mine)
            connection = await self._asked(destination, tunnel, lookup, algorithms, keys, mine)
            stack.push_async_callback(mine.pop_all().aclose)
            return connection

    async def _asked(
        self,
        destination: Destination,
        tunnel: asyncssh.SSHClientConnection | None,
        lookup: Lookup,
        algorithms: str,
        keys: list[asyncssh.SSHKeyPair],
        stack: AsyncExitStack,
    ) -> asyncssh.SSHClientConnection:
        watch, way, where = Watch(lookup.trusts), Approach(), str(destination)
        seconds = self._connect_wait.seconds(where)
        try:
            # The wait for a turn is not the host's: its time begins when it is asked.
            async with (
                self._logins.at(f"{destination.jump} {destination.host}"),
                asyncio.timeout(seconds),
            ):
                connection = await connect(
                    destination,
                    tunnel=tunnel,
                    sock=await self._socket(destination, way, seconds, stack) if tunnel is None else None,
                    keys=keys,
                    known_hosts=lookup,
                    algorithms=algorithms,
                    client_factory=lambda: watch,
                )
            self._connect_wait.answered(where)
            return connection
        except TimeoutError:
            self._connect_wait.timed_out(where)
            reason = GapReason.LOGIN_TIMEOUT if watch.greeted else GapReason.CONNECT_TIMEOUT
            raise ProbeError(reason, f"{where}: {timed_out(watch, way)} within {seconds:g} s") from None
        except asyncssh.HostKeyNotVerifiable as error:
            if not lookup.whole:
                raise _HostKeyUnsettledError from None
            detail = host_key_detail(error, watch, lookup.found, where, lookup.place)
            raise ProbeError(GapReason.HOST_KEY, detail) from None
        except EXPECTED as error:
            if watch.ended_before_host_key(error):
                if not lookup.whole:
                    raise _HostKeyUnsettledError from None
                if not algorithms and lookup.found:
                    raise _NoCommonHostKeyError from None
            await way.hear_out()
            raise from_connecting(
                error,
                where,
                said=watch.said() or way.said(),
                banner=watch.banner,
                agent=destination.identities.fault,
            ) from None

    async def _socket(
        self, destination: Destination, way: Approach, seconds: float, stack: AsyncExitStack
    ) -> socket.socket:
        if destination.proxy_command:
            return await run_proxy(way, destination.proxy_command, stack)
        return await reach(
            way,
            destination.host,
            destination.port,
            family=destination.family,
            bind=destination.bind,
            seconds=seconds,
        )


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()
