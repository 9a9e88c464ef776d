"""The hands that speak SSH: one connection, one request, one answer; nothing is ever tried twice by itself."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack

from auditor.errors import GapReason, ProbeError
from auditor.nodes.change.changes import Change, DeviceState, NodeChanger
from auditor.nodes.change.repair_script import Asked, answered, change_request, look_request, parse_repair
from auditor.nodes.probe.probe import cleaned
from auditor.nodes.ssh.connect import Connections
from auditor.nodes.ssh.execute import Output, execute
from auditor.nodes.underlay import check_host_template, check_not_mesh, target_for, uses_mesh_address
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import format_prefix, is_host
from auditor.values.models import Registration

_FORCED = (
    "its key may run the installed probe and nothing else; for repair, use a configuration with another key "
    '(ssh.identity_files) and ssh.probe = "inline", or make the change by hand: `wgaudit plan --format shell`'
)
_UNABLE_TO_RESOLVE = b"sudo: unable to resolve host "


class SshHands(NodeChanger):
    """Changes nodes over SSH. Holds nothing open between two calls.

    Raises `ConfigError` if an identity, known_hosts, ssh's configuration or a setting cannot be used.
    """

    def __init__(self, settings: SshSettings, device: str) -> None:
        check_host_template(settings.host)
        self._settings = settings
        self._device = device
        self._mesh_addresses: set[str] = set()
        self._connections = Connections(settings)

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Learns the mesh addresses of the whole registry, which no node may be reached by unasked."""
        for registration in registrations:
            self._mesh_addresses.update(map(format_prefix, filter(is_host, registration.addresses)))

    async def look(self, registration: Registration) -> DeviceState:
        """The device as it is now. Raises `ProbeError`."""
        return await self._ask(registration, look_request(self._device, sudo=self._settings.sudo))

    async def change(self, registration: Registration, change: Change) -> DeviceState:
        """Makes one change on the device with the registration's key, once. Raises `ProbeError`."""
        asked = change_request(self._device, registration.public_key, change, sudo=self._settings.sudo)
        return await self._ask(registration, asked)

    async def _ask(self, registration: Registration, asked: Asked) -> DeviceState:
        if self._settings.probe == "installed":
            raise ProbeError(GapReason.AUTH, f"{registration.node}: {_FORCED}")
        target = target_for(registration, self._settings, self._mesh_addresses)
        async with AsyncExitStack() as stack:
            connection = await self._connections.open(target.host, target.port, stack)
            peer = connection.get_extra_info("peername")
            # A name may resolve to a mesh address; a change that takes that address would cut its own way.
            if peer and not uses_mesh_address(self._settings.host):
                check_not_mesh(str(peer[0]).partition("%")[0], registration, self._mesh_addresses)
            output = await execute(
                connection,
                asked.request,
                seconds=self._settings.command_timeout,
                limit=self._settings.max_output,
                where=target.host,
                what="the repair script",
            )
            return self._read(output, asked, registration)

    def _read(self, output: Output, asked: Asked, registration: Registration) -> DeviceState:
        if not answered(output.data):
            self._not_begun(output, registration)
        return parse_repair(output.data, asked)

    def _not_begun(self, output: Output, registration: Registration) -> None:
        """Ends with why nothing ran, where that can be told apart."""
        if b"wgaudit-probe/" in output.data:
            raise ProbeError(GapReason.AUTH, f"{registration.node}: {_FORCED}")
        lines = (line for line in output.errors.splitlines() if not line.startswith(_UNABLE_TO_RESOLVE))
        said = cleaned(next(lines, b""))
        how = f"{output.ended}{': ' + said if said else ''}"
        if self._settings.sudo:
            raise ProbeError(GapReason.SUDO, f"sudo -n /bin/sh did not run ({how}); repair needs it whole")
        if not output.data:
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, f"the repair script did not run ({how})")
