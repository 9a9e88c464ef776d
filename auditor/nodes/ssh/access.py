"""Access to nodes over SSH, for looking and for changing: one login, one check of where it leads, one execution."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import asyncssh

from auditor.errors import ProbeError
from auditor.nodes.framing import Framing, Request
from auditor.nodes.ssh.connect import Connections
from auditor.nodes.ssh.execute import Output, execute
from auditor.nodes.ssh.onward import (
    OnwardConnection,
    ShownHostKey,
    counts_failed_logins,
    onward,
    shown_host_key,
)
from auditor.nodes.ssh.stream import NodeStream, open_stream
from auditor.nodes.underlay import (
    check_host_template,
    check_not_mesh,
    mesh_addresses,
    target_for,
    uses_mesh_address,
)
from auditor.settings.ssh import SshSettings
from auditor.values.models import NodeId, Registration

# The library tells each connection's story at INFO; --verbose asks for this program's own.
asyncssh.set_log_level(logging.WARNING)


MOST_HELD = 8 * 1024 * 1024
"""Bytes of one answer of a followed node, which never tells its whole table unasked."""


class SshAccess:
    """Opens sessions on nodes for one set of settings. Built once; holds nothing open between sessions.

    Raises `ConfigError` if an identity, known_hosts, ssh's configuration or a setting cannot be used.
    """

    def __init__(self, settings: SshSettings) -> None:
        check_host_template(settings.host)
        self.settings = settings
        self._mesh_addresses: frozenset[str] = frozenset()
        self._connections = Connections(settings)
        self._counting: set[NodeId] = set()

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Take the mesh addresses of the whole registry: no node is reached by one of them unasked."""
        self._mesh_addresses = mesh_addresses(registrations)
        self._connections.begin()

    def way(self, registration: Registration) -> tuple[str, int | None]:
        """Tell where a node is reached: host, and port if one is named. Where it is not reached, why, in words."""
        try:
            target = target_for(registration, self.settings, self._mesh_addresses)
        except ProbeError as error:
            return str(error), None
        return target.host, target.port

    @asynccontextmanager
    async def session(self, registration: Registration, *, stays: bool = False) -> AsyncIterator[NodeSession]:
        """Log in to a node. `stays`: for long, which must hold up nobody else. Raises `ProbeError`."""
        target = target_for(registration, self.settings, self._mesh_addresses)
        async with AsyncExitStack() as stack:
            connection = await self._connections.open(target.host, target.port, stack, stays=stays)
            self._check_peer(connection, registration)
            if counts_failed_logins(str(connection.get_extra_info("server_version", ""))):
                self._counting.add(registration.node)
            yield NodeSession(connection, target.host, self.settings)

    def counts_failed_logins(self, node: NodeId) -> bool:
        """Tell whether a node's SSH server is known to count connections without a login, from a session with it."""
        return node in self._counting

    def _check_peer(self, connection: asyncssh.SSHClientConnection, registration: Registration) -> None:
        """Refuse a name that resolved to a mesh address. Behind a jump host that cannot be seen from here."""
        peer = connection.get_extra_info("peername")
        if peer and not uses_mesh_address(self.settings.host):
            check_not_mesh(str(peer[0]).partition("%")[0], registration, self._mesh_addresses)


class NodeSession:
    """One logged-in connection to a node."""

    def __init__(self, connection: asyncssh.SSHClientConnection, host: str, settings: SshSettings) -> None:
        self._connection = connection
        self.host = host
        """Name that was connected to, for details."""
        self._settings = settings
        self._first = True

    async def run(
        self, request: Request, framing: Framing, *, beside: bool = False, longer: float = 0.0
    ) -> Output:
        """Run one script, bounded in seconds and bytes. Raises `ProbeError`.

        `longer`: seconds that it may take beside those that each one may.
        `beside`: another one runs meanwhile, so a server that allows no second one does not allow it a moment later.
        """
        first, self._first = self._first or beside, False
        return await execute(
            self._connection,
            request,
            framing,
            seconds=self._settings.command_timeout + longer,
            limit=self._settings.max_output,
            where=self.host,
            first=first,
        )

    async def start(self, request: Request, framing: Framing, words: tuple[str, ...]) -> NodeStream:
        """Start a script that goes on speaking, in answers and these words. Raises `ProbeError`.

        Its end is the caller's to bring about: close it, or leave the connection.
        """
        first, self._first = self._first, False
        return await open_stream(
            self._connection,
            request,
            framing,
            words,
            limit=min(self._settings.max_output, MOST_HELD),
            where=self.host,
            first=first,
        )

    def dial(self, host: str, port: int) -> AbstractAsyncContextManager[OnwardConnection]:
        """Have the node's sshd connect on; nothing runs there. Raises `ProbeError`; the caller bounds the time."""
        return onward(self._connection, host, port)

    async def shown_host_key(self, host: str, port: int) -> ShownHostKey:
        """Have an SSH server, reached from the node, show its key. Raises `ProbeError`; the caller bounds the time."""
        return await shown_host_key(self._connection, host, port)

    def abandon(self) -> None:
        """End the connection without another word to a server that may not read it."""
        self._connection.abort()

    def host_key(self) -> str | None:
        """Fingerprint of the key that the server showed."""
        key = self._connection.get_server_host_key()
        return key.get_fingerprint() if key is not None else None
