"""Audit of a fleet: look at it and judge the snapshot, or judge a recorded one."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.gather.questioning import Questioning
from auditor.gather.sweep import SweepOptions, sweep
from auditor.judge import judge
from auditor.service.collecting import CollectorsElsewhere
from auditor.service.lost_nodes import look_at_lost
from auditor.service.lost_registrations import lost_registrations
from auditor.service.observer import ServiceObserver
from auditor.service.parts import build_node_access, build_nodes, build_registry, build_witnesses
from auditor.service.version import VERSION
from auditor.settings.file import Config
from auditor.state.known_names import keep_names
from auditor.values.models import AddressWrite, Snapshot
from auditor.values.report import Report

if TYPE_CHECKING:
    from auditor.service.remembered import Remembered


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Audit:
    """Snapshot of a fleet, and the report on it."""

    snapshot: Snapshot
    report: Report


class Auditor:
    """Audits the fleet of one configuration, as often as it is asked to."""

    def __init__(self, config: Config, *, endpoints: bool = False, transfer: bool = False) -> None:
        """Build registry and node source. Raises `ConfigError` before anything is looked at; where collectors look, the
        node source is built once a node is to be looked at from here.

        endpoints: also ask for peers' endpoints. transfer: also compare what goes to peers with what comes back,
        whatever `mesh.transfer` says.
        """
        self._config = config
        self._policy = config.policy()
        self._registry = build_registry(config)
        transfer = transfer or config.mesh.transfer
        access = cache(lambda: build_node_access(config, endpoints=endpoints))
        self._nodes = cache(
            lambda: build_nodes(config, endpoints=endpoints, transfer=transfer, access=access())
        )
        if not config.collectors.regions:
            self._nodes()
        self._witnesses = build_witnesses(config, access()) if config.witnesses else None
        self._elsewhere = CollectorsElsewhere(config, endpoints=endpoints, transfer=transfer)

    async def look(
        self,
        options: SweepOptions,
        observer: ServiceObserver,
        interrupt: asyncio.Event | None = None,
        before: Remembered | None = None,
    ) -> Snapshot:
        """Sweep once. A failure is a gap in the snapshot.

        The process's limit on open files is raised as far as the fleet needs it; where it cannot be, that is a
        complaint. interrupt: once set, the sweep ends with what it has. before: of earlier sweeps; None: it
        is read from the state, if there is one.
        """
        from auditor.service.address_writes import address_writes  # it brings the state's libraries along
        from auditor.service.alert_state import state_place

        if before is None:
            from auditor.service.remembered import remembered

            before = await asyncio.to_thread(remembered, state_place(self._config), observer.complain)
        registry = self._registry.expecting(before.datacenters)
        questioning = (
            Questioning(self._witnesses, self._config.witnesses, before.memory.met)
            if self._witnesses is not None
            else None
        )
        async with self._elsewhere.beside(self._nodes, observer.complain) as collector:
            snapshot = await sweep(
                registry, collector, self._policy, options, observer, interrupt, questioning
            )
            lost = await asyncio.to_thread(
                lost_registrations, self._config, snapshot, before, observer.complain
            )
            lost = await look_at_lost(lost, snapshot, collector, interrupt)
        writes: tuple[AddressWrite, ...] = ()
        if before.readable:  # else it was said already
            writes = await asyncio.to_thread(
                address_writes, state_place(self._config), snapshot.registrations, observer.complain
            )
        return replace(snapshot, memory=replace(before.memory, lost=lost, writes=writes))


def sweep_options(
    config: Config, *, deadline: float | None = None, confirm_after: float | None = None, confirm: bool = True
) -> SweepOptions:
    """Bound a sweep as the settings say.

    deadline, confirm_after: seconds, in place of the settings'. confirm: False looks at nobody twice.
    """
    pause = config.sweep.confirm_after if confirm_after is None else confirm_after
    return SweepOptions(
        deadline=config.sweep.deadline if deadline is None else deadline,
        confirm_after=pause if confirm else None,
    )


async def judged(snapshot: Snapshot, *, recording: Path | None = None) -> Audit:
    """Judge a snapshot, in a thread: it takes seconds for a large fleet, and others use the loop.

    recording: a file that the snapshot is written to first, for a replay. Raises `SnapshotError`.
    """
    if recording is not None:
        from auditor.state.recording import record

        await asyncio.to_thread(record, snapshot, recording)
        await asyncio.to_thread(_keep_names, snapshot)
    report = await asyncio.to_thread(judge, snapshot)
    return Audit(snapshot, replace(report, version=VERSION))


async def audit_recording(path: Path) -> Audit:
    """Judge a recorded snapshot by the policy that it brings along. Raises `SnapshotError`."""
    from auditor.state.recording import replay

    snapshot = await asyncio.to_thread(replay, path)
    await asyncio.to_thread(_keep_names, snapshot)
    return await judged(snapshot)


def _keep_names(snapshot: Snapshot) -> None:
    try:
        keep_names(snapshot)
    except OSError as error:
        # A service without a home has no cache, and nobody types there.
        log.info("the shell will not complete the names of this recording: %s", error)
