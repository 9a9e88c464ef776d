"""Opening and closing connections: to a node, through its jump hosts, logged in."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncssh

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.ssh.failures import EXPECTED, Watch, from_connecting, host_key_detail
from auditor.nodes.ssh.host_keys import Lookup
from auditor.nodes.ssh.jump import Jumps, check_jump
from auditor.nodes.ssh.lean import connect
from auditor.nodes.ssh.login import Destination, Login
from auditor.nodes.ssh.turns import ConnectWait, Turns
from auditor.settings.ssh import SshSettings


class _NoCommonHostKeyError(Exception):
    """The server showed no host key: perhaps it has none of the kinds that are known for it."""


class _HostKeyUnsettledError(Exception):
    """The short lookup of a host key did not settle it; the whole one says whether it is known."""


class Connections:
    """Opens connections for one set of settings. Raises `ConfigError` if they cannot be used."""

    def __init__(self, settings: SshSettings) -> None:
        self._connect_wait = ConnectWait(settings.connect_timeout)
        self._logins = Turns(settings.logins_per_host)
        self._login = Login(settings)
        self._jumps = Jumps(self._open_hop, settings.per_jump)
        if settings.proxy_jump:
            check_jump(settings.proxy_jump)

    async def open(self, host: str, port: int | None, stack: AsyncExitStack) -> asyncssh.SSHClientConnection:
        """Open a logged-in connection, closed when the stack is. `port` None: ssh's own choice. Raises `ProbeError`."""
        try:
            destination = await self._login.destination(host, port)
        except EXPECTED as error:
            raise from_connecting(error, host) from None
        tunnel = await self._jumps.connection(destination.jump, stack) if destination.jump else None
        return await self._dial(destination, tunnel, stack)

    async def _open_hop(
        self, last: str, tunnel: asyncssh.SSHClientConnection | None, stack: AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        """Open a connection to one jump host. Raises `ProbeError`."""
        try:
            user, host, port = check_jump(last)
        except ConfigError as error:
            raise ProbeError(GapReason.NO_HOST, str(error)) from None
        try:
            destination = await self._login.destination(host, port, user=user, jumped=True)
        except EXPECTED as error:
            raise from_connecting(error, host) from None
        return await self._dial(destination, tunnel, stack)

    async def _dial(
        self, destination: Destination, tunnel: asyncssh.SSHClientConnection | None, stack: AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        connection = await self._trusted(destination, tunnel)
        stack.push_async_callback(_close, connection)
        return connection

    async def _trusted(
        self, destination: Destination, tunnel: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        *short, whole = self._login.known_hosts.lookups(destination.names)
        if destination.options.config.get("HostKeyAlgorithms"):
            # Somebody has said which kinds to ask for, and in which order.
            short = []
        for lookup in short:
            try:
                return await self._attempt(destination, tunnel, lookup, lookup.preferred)
            except _HostKeyUnsettledError:
                continue
        try:
            return await self._attempt(destination, tunnel, whole, "")
        except _NoCommonHostKeyError:
            # The library asks for keys of the known kinds alone, and the server has none and hangs up. Asked
            # for any kind, it shows the one that it has, and the refusal can say which.
            return await self._attempt(destination, tunnel, whole, "default")

    async def _attempt(
        self,
        destination: Destination,
        tunnel: asyncssh.SSHClientConnection | None,
        lookup: Lookup,
        algorithms: str,
    ) -> asyncssh.SSHClientConnection:
        watch = Watch(lookup.trusts)
        seconds = self._connect_wait.seconds(str(destination))
        try:
            # The wait for a turn is not the host's: its time begins when it is asked.
            async with (
                self._logins.at(f"{destination.jump} {destination.options.host or destination.host}"),
                asyncio.timeout(seconds),
            ):
                connection = await connect(
                    destination.options,
                    destination.host,
                    destination.port,
                    tunnel=tunnel,
                    user=destination.user,
                    keys=self._login.keys(),
                    known_hosts=lookup,
                    algorithms=algorithms,
                    client_factory=lambda: watch,
                )
            self._connect_wait.answered(str(destination))
            return connection
        except TimeoutError:
            self._connect_wait.timed_out(str(destination))
            state = "connected, but the login did not end" if watch.connected else "no answer"
            raise ProbeError(
                GapReason.CONNECT_TIMEOUT, f"{destination}: {state} within {seconds:g} s"
            ) from None
        except asyncssh.HostKeyNotVerifiable as error:
            if not lookup.whole:
                raise _HostKeyUnsettledError from None
            detail = host_key_detail(error, watch, lookup.found, str(destination), lookup.place)
            raise ProbeError(GapReason.HOST_KEY, detail) from None
        except EXPECTED as error:
            if watch.ended_before_host_key(error):
                if not lookup.whole:
                    raise _HostKeyUnsettledError from None
                if not algorithms and lookup.found:
                    raise _NoCommonHostKeyError from None
            raise from_connecting(error, str(destination)) from None


async def _close(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    await connection.wait_closed()
