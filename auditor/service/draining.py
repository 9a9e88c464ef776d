"""Drainer of nodes, built from the settings, and what the state remembers of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from auditor.errors import StateError
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.service.alert_state import existing_state, existing_tables, state_place
from auditor.service.parts import ENVIRONMENT, build_access
from auditor.settings.file import Config
from auditor.state.drained_nodes import forget_drained, keep_drained, read_drained
from auditor.values.drains import Drained, DrainMeans
from auditor.values.models import NodeId, Registration

Complain = Callable[[str], None]


def build_drainer(config: Config, registrations: Iterable[Registration]) -> Drainer | None:
    """Build what takes nodes out of production; None where none is configured. Raises `ConfigError`.

    registrations: the whole registry: no node is reached by an address of it.
    """
    policy = config.repair.drain_policy()
    if policy is None:
        return None
    match policy.means:
        case DrainMeans.COMMAND:
            from auditor.repair.drain.command import CommandDrainer

            repair = config.repair
            return CommandDrainer(policy, repair.drain_timeout, ENVIRONMENT, repair.drain_environment)
        case DrainMeans.NOMAD_ELIGIBILITY:
            from auditor.repair.drain.eligibility import NomadDrainer

            return NomadDrainer(config.nomad, config.nomad.resolved_token(ENVIRONMENT))
        case DrainMeans.CONSUL_MAINTENANCE:
            from auditor.nodes.ssh import SshChanger
            from auditor.repair.drain.consul_maintenance import MaintenanceDrainer

            access = build_access(config.ssh)
            access.expect(registrations)
            changer = SshChanger(access, config.mesh.device)
            return MaintenanceDrainer(changer, config.repair.maintenance_token_file)


class NotedDrainer(Drainer):
    """Drainer that notes in the state, where there is one, who is out of production.

    A state that cannot be used is a complaint: nodes are drained and put back without it.
    """

    def __init__(
        self,
        drainer: Drainer,
        config: Config,
        by: str,
        complain: Complain,
        *,
        plan: str = "",
        reason: str = "",
    ) -> None:
        """Wrap a drainer. by: login name; plan: ident of the plan that is applied; reason: what a person gave."""
        self._drainer = drainer
        self._config = config
        self._by = by
        self._complain = complain
        self._plan = plan
        self._reason = reason

    @property
    def means(self) -> DrainMeans:
        """Means of the drainer."""
        return self._drainer.means

    async def is_drained(self, target: DrainTarget) -> bool | None:
        """Ask the drainer; where it cannot tell, what the state remembers. Raises `DrainFailed`."""
        answer = await self._drainer.is_drained(target)
        if answer is not None:
            return answer
        return target.node in await asyncio.to_thread(drained_nodes, self._config, self._complain)

    async def drain(self, target: DrainTarget, reason: str) -> None:
        """Take the node out of production, and note it. Raises `DrainFailed`."""
        await self._drainer.drain(target, reason)
        now = datetime.now(UTC)
        note = Drained(now, self._by, self.means.value, self._reason, self._plan)
        await asyncio.to_thread(_note, self._config, target.node, note, self._complain)

    async def undrain(self, target: DrainTarget) -> None:
        """Put the node back into production, and note it. Raises `DrainFailed`."""
        await self._drainer.undrain(target)
        await asyncio.to_thread(_note, self._config, target.node, None, self._complain)


def drained_nodes(config: Config, complain: Complain) -> Mapping[NodeId, Drained]:
    """Read from the state who is out of production; nobody without a state. One that cannot be read is a complaint."""
    try:
        with existing_tables(state_place(config)) as tables:
            return {} if tables is None else read_drained(tables)
    except StateError as error:
        complain(f"{error}; who is out of production is not known from earlier")
        return {}


def _note(config: Config, node: NodeId, drained: Drained | None, complain: Complain) -> None:
    try:
        with existing_state(state_place(config)) as state:
            if state is None:
                return
            if drained is None:
                forget_drained(state.store, node)
            else:
                keep_drained(state.store, node, drained)
    except StateError as error:
        out = "back in production" if drained is None else "out of production"
        complain(f"{error}; reports will not know that {node} is {out}")
