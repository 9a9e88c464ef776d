"""The node source that speaks SSH: one connection a node, its digest first, its table only where it is new."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AsyncExitStack

import asyncssh

from auditor.errors import GapReason, ProbeError
from auditor.nodes.interface import TableStore
from auditor.nodes.probe.probe import (
    VERSION,
    Mode,
    ProbeAnswer,
    Request,
    cleaned,
    inline_request,
    installed_request,
    parse_answer,
)
from auditor.nodes.ssh.connect import Connections
from auditor.nodes.ssh.execute import execute
from auditor.nodes.underlay import Target, check_host_template, check_not_mesh, target_for, uses_mesh_address
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import format_prefix, is_host
from auditor.values.models import Observation, Registration, RouteTable

# The library tells each connection's story at INFO; whoever asks this program for more wants its own.
asyncssh.set_log_level(logging.WARNING)


class SshNodes:
    """Looks at nodes over SSH. Built once, used for the whole fleet; holds nothing open between nodes.

    Raises `ConfigError` if an identity, known_hosts, ssh's configuration or a setting cannot be used.
    """

    def __init__(
        self,
        settings: SshSettings,
        device: str,
        region_command: str = "",
    ) -> None:
        check_host_template(settings.host)
        self._settings = settings
        self._device = device
        self._mesh_addresses: set[str] = set()
        self._connections = Connections(settings)
        self._requests: dict[Mode, Request] = {
            mode: _request(mode, settings, device, region_command) for mode in ("digest", "text")
        }

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Learns the mesh addresses of the whole registry, which no node may be reached by unasked."""
        for registration in registrations:
            self._mesh_addresses.update(map(format_prefix, filter(is_host, registration.addresses)))

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Looks at one node once. Raises `ProbeError` with its `GapReason`; bounded in time and size."""
        target = target_for(registration, self._settings, self._mesh_addresses)
        async with AsyncExitStack() as stack:
            connection = await self._connections.open(target.host, target.port, stack)
            self._check_peer(connection, registration)
            return await self._look(connection, _Asked(registration, target), tables)

    async def _look(
        self, connection: asyncssh.SSHClientConnection, asked: _Asked, tables: TableStore
    ) -> Observation:
        answer = await self._ask(connection, "digest", asked)
        digested = answer.digest is not None

        async def fetch() -> RouteTable:
            nonlocal answer
            answer = await self._ask(connection, "text", asked)
            if answer.table is None:
                raise ProbeError(GapReason.UNREADABLE_OUTPUT, f"{asked}: asked for the table, got none")
            return answer.table

        # Where the table is fetched, the second answer stands for the node, whole: it is of one moment.
        if answer.digest is not None:
            table = await tables.obtain(answer.digest, fetch)
        else:
            table = tables.add(await fetch())
        key = connection.get_server_host_key()
        return Observation(
            node=asked.registration.node,
            device=answer.device,
            table=table,
            region=answer.region,
            host_key=key.get_fingerprint() if key is not None else None,
            endpoints=answer.endpoints,
            digested=digested,
        )

    async def _ask(self, connection: asyncssh.SSHClientConnection, mode: Mode, asked: _Asked) -> ProbeAnswer:
        settings = self._settings
        output = await execute(
            connection,
            self._requests[mode],
            seconds=settings.command_timeout,
            limit=settings.max_output,
            where=str(asked),
        )
        try:
            answer = parse_answer(output.data, self._device)
        except ProbeError as error:
            if error.reason is not GapReason.UNREADABLE_OUTPUT:
                raise
            said = cleaned(output.errors.strip().partition(b"\n")[0])
            hint = ""
            if settings.probe == "installed" and not output.data:
                hint = "; does authorized_keys force the file that `wgaudit probe-script` prints?"
            # A whole answer that tells of an error says all: the probe's own exit code would only confuse.
            whole = output.data.endswith(f"{VERSION} end\n".encode())
            how = said if whole else f"{output.ended}{': ' + said if said else ''}"
            raise ProbeError(error.reason, f"{error.detail}{f' ({how})' if how else ''}{hint}") from None
        if settings.endpoints and answer.endpoints is None:
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, "endpoints were asked for, and none came")
        return answer

    def _check_peer(self, connection: asyncssh.SSHClientConnection, registration: Registration) -> None:
        """A name may resolve to a mesh address. Behind a jump host that cannot be seen from here."""
        peer = connection.get_extra_info("peername")
        if peer and not uses_mesh_address(self._settings.host):
            check_not_mesh(str(peer[0]).partition("%")[0], registration, self._mesh_addresses)


class _Asked:
    """Whom an answer is from, for details."""

    def __init__(self, registration: Registration, target: Target) -> None:
        self.registration = registration
        self._target = target

    def __str__(self) -> str:
        return self._target.host


def _request(mode: Mode, settings: SshSettings, device: str, region_command: str) -> Request:
    if settings.probe == "installed":
        return installed_request(mode, endpoints=settings.endpoints)
    return inline_request(
        mode,
        device=device,
        sudo=settings.sudo,
        endpoints=settings.endpoints,
        region_command=region_command,
    )
