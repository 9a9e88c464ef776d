"""Access to nodes over SSH, for looking and for changing: one login, one check of where it leads, one execution."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncssh

from auditor.nodes.framing import Framing, Request
from auditor.nodes.ssh.connect import Connections
from auditor.nodes.ssh.execute import Output, execute
from auditor.nodes.underlay import (
    check_host_template,
    check_not_mesh,
    mesh_addresses,
    target_for,
    uses_mesh_address,
)
from auditor.settings.ssh import SshSettings
from auditor.values.models import Registration

# The library tells each connection's story at INFO; --verbose asks for this program's own.
asyncssh.set_log_level(logging.WARNING)


class SshAccess:
    """Opens sessions on nodes for one set of settings. Built once; holds nothing open between sessions.

    Raises `ConfigError` if an identity, known_hosts, ssh's configuration or a setting cannot be used.
    """

    def __init__(self, settings: SshSettings) -> None:
        check_host_template(settings.host)
        self.settings = settings
        self._mesh_addresses: frozenset[str] = frozenset()
        self._connections = Connections(settings)

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Take the mesh addresses of the whole registry: no node is reached by one of them unasked."""
        self._mesh_addresses = mesh_addresses(registrations)
        self._connections.begin()

    @asynccontextmanager
    async def session(self, registration: Registration) -> AsyncIterator[NodeSession]:
        """Log in to a node. Raises `ProbeError`."""
        target = target_for(registration, self.settings, self._mesh_addresses)
        async with AsyncExitStack() as stack:
            connection = await self._connections.open(target.host, target.port, stack)
            self._check_peer(connection, registration)
            yield NodeSession(connection, target.host, self.settings)

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

    async def run(self, request: Request, framing: Framing) -> Output:
        """Run one script, bounded in seconds and bytes. Raises `ProbeError`."""
        first, self._first = self._first, False
        return await execute(
            self._connection,
            request,
            framing,
            seconds=self._settings.command_timeout,
            limit=self._settings.max_output,
            where=self.host,
            first=first,
        )

    def host_key(self) -> str | None:
        """Fingerprint of the key that the server showed."""
        key = self._connection.get_server_host_key()
        return key.get_fingerprint() if key is not None else None
