"""Look at the fleet from the command line: progress and Ctrl-C around the service's look."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.cli import completing, running, settings
from auditor.cli.progress import watching
from auditor.cli.running import interrupted_by_signals
from auditor.gather.sweep import SweepOptions
from auditor.service.audit import Audit, Auditor, audit_recording, judged, sweep_options
from auditor.values.models import Snapshot

if TYPE_CHECKING:
    from auditor.service.remembered import Remembered
    from auditor.settings.file import Config
    from auditor.values.guide import Guide


async def look(
    auditor: Auditor, options: SweepOptions, *, progress: bool = True, before: Remembered | None = None
) -> Snapshot:
    """Look once, to the end, the deadline, or the first Ctrl-C. A second Ctrl-C ends the program.

    before: of earlier sweeps; None: it is read from the state, if there is one.
    """
    interrupt = asyncio.Event()
    with watching(enabled=progress) as observer, interrupted_by_signals(interrupt):
        return await auditor.look(options, observer, interrupt, before)


async def remembering(config: Config) -> Remembered:
    """Read what alerted sweeps left in the state; a state that cannot be read is one line on stderr."""
    from auditor.service.alert_state import state_place  # it brings the state's libraries along
    from auditor.service.remembered import remembered

    return await asyncio.to_thread(remembered, state_place(config), running.StderrObserver().complain)


def audited(
    config_path: Path | None, replay: Path | None, *, progress: bool = True, endpoints: bool = False
) -> tuple[Audit, Guide]:
    """Look at the fleet that a configuration names, or read a recording, and judge it.

    Returns: The audit, and the guide that makes commands about it.
    """
    if replay is not None:
        guide = settings.guide(settings.named_config(config_path), config_path, replay)
        return running.run(audit_recording(replay)), guide
    config, _ = settings.read_config(config_path)
    auditor = Auditor(config, endpoints=endpoints)

    async def seen() -> Audit:
        from auditor.service.remembered import with_silences

        before = await remembering(config)
        snapshot = await look(auditor, sweep_options(config), progress=progress, before=before)
        audit = await judged(snapshot)
        return replace(audit, report=with_silences(audit.report, before.silences, datetime.now(UTC)))

    return running.run(seen()), settings.guide(config, config_path)


def refuse_mistyped(targets: Iterable[str], idents: Collection[str], command: str) -> None:
    """Refuse a target that is nearly an ident, before the fleet is looked at. Raises `UsageError`.

    Nodes and regions of the last recording are never refused.
    """
    from auditor.explain.targets import refuse_mistyped_ident

    names = completing.kept()
    known = {*names.nodes, *names.regions}
    for target in targets:
        refuse_mistyped_ident(target.strip(), idents, known, command)
