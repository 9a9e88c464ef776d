"""Audit of a fleet: look at it and judge the snapshot, or judge a recorded one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.judge import judge
from auditor.service.observer import ServiceObserver
from auditor.service.open_files import room_for
from auditor.service.parts import build_nodes, build_registry
from auditor.settings.file import Config
from auditor.state.recording import record, replay
from auditor.values.models import Report, Snapshot

if TYPE_CHECKING:
    from auditor.service.remembered import Remembered


@dataclass(frozen=True, slots=True)
class Audit:
    """Snapshot of a fleet, and the report on it."""

    snapshot: Snapshot
    report: Report


class Auditor:
    """Audits the fleet of one configuration, as often as it is asked to."""

    def __init__(self, config: Config, *, endpoints: bool = False) -> None:
        """Build registry and node source. Raises `ConfigError` before anything is looked at.

        endpoints: also ask for peers' endpoints.
        """
        self._config = config
        self._policy = config.policy()
        self._concurrency = config.ssh.concurrency
        self._registry = build_registry(config)
        self._nodes = build_nodes(config, endpoints=endpoints)

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
        room = partial(room_for, complain=observer.complain)
        collector = LocalCollector(self._nodes, self._concurrency, room)
        if before is None:
            from auditor.service.remembered import remembered  # it brings the state's libraries along

            before = await asyncio.to_thread(remembered, self._config.state.path, observer.complain)
        registry = self._registry.expecting(before.datacenters)
        snapshot = await sweep(registry, collector, self._policy, options, observer, interrupt)
        return replace(snapshot, memory=before.memory)


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
        await asyncio.to_thread(record, snapshot, recording)
    return Audit(snapshot, await asyncio.to_thread(judge, snapshot))


async def audit_recording(path: Path) -> Audit:
    """Judge a recorded snapshot by the policy that it brings along. Raises `SnapshotError`."""
    return await judged(await asyncio.to_thread(replay, path))
