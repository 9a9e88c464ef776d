"""Changes of nodes over SSH: one connection, one request, one answer; nothing is ever tried twice by itself."""

from __future__ import annotations

from auditor.errors import GapReason, ProbeError
from auditor.nodes.change.changes import Change, DeviceState, NodeChanger
from auditor.nodes.change.maintenance import Maintenance, MaintenanceChanger
from auditor.nodes.change.repair_script import (
    FRAMING,
    RepairRequest,
    change_request,
    look_request,
    maintenance_request,
    parse_repair,
)
from auditor.nodes.ssh.access import SshAccess
from auditor.nodes.ssh.execute import Output
from auditor.values.addresses import PublicKey
from auditor.values.models import Registration

_FORCED = (
    "its key may run the installed probe and nothing else; for repair, use a configuration with another key "
    '(ssh.identity_files) and ssh.probe = "inline", or make the change by hand: `wgaudit plan --format shell`'
)


class SshChanger(NodeChanger, MaintenanceChanger):
    """Changes nodes, with the access that looks at them too."""

    def __init__(self, access: SshAccess, device: str) -> None:
        self._access = access
        self._device = device

    async def look(self, registration: Registration) -> DeviceState:
        """Ask for the device as it is now. Raises `ProbeError`."""
        return await self._ask(
            registration,
            look_request(
                self._device, sudo=self._access.settings.sudo, wg_command=self._access.settings.wg_command
            ),
        )

    async def change(self, registration: Registration, change: Change) -> DeviceState:
        """Make one change on the device with the registration's key, once. Raises `ProbeError`."""
        settings, public_key = self._access.settings, self._own_key(registration)
        asked = change_request(
            self._device, public_key, change, sudo=settings.sudo, wg_command=settings.wg_command
        )
        return await self._ask(registration, asked)

    async def maintenance(self, registration: Registration, asked: Maintenance) -> bool:
        """Switch Consul's maintenance mode of the node, or ask for it. Raises `ProbeError`."""
        settings = self._access.settings
        request = maintenance_request(
            self._device,
            self._own_key(registration),
            asked,
            sudo=settings.sudo,
            wg_command=settings.wg_command,
        )
        return (await self._ask(registration, request)).maintenance is True

    def _own_key(self, registration: Registration) -> PublicKey:
        """Return the registered key, which the device must have. Raises `ProbeError`."""
        if registration.public_key is None:
            detail = (
                f"{registration.node}: its registered key cannot be read, so no device is known to be its own"
            )
            raise ProbeError(GapReason.NO_HOST, detail)
        return registration.public_key

    async def _ask(self, registration: Registration, asked: RepairRequest) -> DeviceState:
        if self._access.settings.probe == "installed":
            raise ProbeError(GapReason.AUTH, f"{registration.node}: {_FORCED}")
        async with self._access.session(registration) as session:
            output = await session.run(asked.request, FRAMING)
            if not FRAMING.begun(output.data):
                self._check_not_begun(output, registration)
            return output.read(lambda data: parse_repair(data, asked))

    def _check_not_begun(self, output: Output, registration: Registration) -> None:
        """Raise `ProbeError` if the login or sudo kept the script from beginning."""
        if b"wgaudit-probe/" in output.data:
            raise ProbeError(GapReason.AUTH, f"{registration.node}: {_FORCED}")
        if self._access.settings.sudo:
            raise ProbeError(
                GapReason.SUDO, f"sudo -n /bin/sh did not run ({output.how()}); repair needs it whole"
            )
