"""Drains by Consul's maintenance mode: `consul maint` on the node itself, over SSH."""

from __future__ import annotations

from auditor.errors import DrainFailed, ProbeError
from auditor.nodes.change.maintenance import Maintenance, MaintenanceChanger
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.values.drains import DrainMeans

_RIGHTS = "may its token read and write the node?"


class MaintenanceDrainer(Drainer):
    """Switches the maintenance mode of a node by its own agent."""

    def __init__(self, changer: MaintenanceChanger, token_file: str = "") -> None:
        """Take the way to nodes. token_file: on each node, with the token for its agent; "": the agent's own."""
        self._changer = changer
        self._token_file = token_file

    @property
    def means(self) -> DrainMeans:
        """Consul's maintenance mode."""
        return DrainMeans.CONSUL_MAINTENANCE

    async def is_drained(self, target: DrainTarget) -> bool | None:
        """Ask the node's agent. Raises `DrainFailed`."""
        return await self._asked(target, Maintenance(None, "", self._token_file))

    async def drain(self, target: DrainTarget, reason: str) -> None:
        """Switch maintenance mode on. Raises `DrainFailed`."""
        if not await self._asked(target, Maintenance(True, reason, self._token_file)):
            raise DrainFailed(f"its agent is not in maintenance mode after `consul maint -enable`; {_RIGHTS}")

    async def undrain(self, target: DrainTarget) -> None:
        """Switch maintenance mode off. Raises `DrainFailed`."""
        if await self._asked(target, Maintenance(False, "", self._token_file)):
            raise DrainFailed(f"its agent is in maintenance mode after `consul maint -disable`; {_RIGHTS}")

    async def _asked(self, target: DrainTarget, asked: Maintenance) -> bool:
        try:
            return await self._changer.maintenance(target.registration, asked)
        except ProbeError as error:
            raise DrainFailed(str(error)) from None
