"""Look at the fleet from the command line: progress and Ctrl-C around the service's look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from auditor.cli.progress import watching
from auditor.cli.running import interrupted_by_signals
from auditor.gather.sweep import SweepOptions
from auditor.service.audit import Auditor
from auditor.values.models import Snapshot

if TYPE_CHECKING:
    from auditor.service.remembered import Remembered


async def look(
    auditor: Auditor, options: SweepOptions, *, progress: bool = True, before: Remembered | None = None
) -> Snapshot:
    """Look once, to the end, the deadline, or the first Ctrl-C. A second Ctrl-C ends the program.

    before: of earlier sweeps; None: it is read from the state, if there is one.
    """
    interrupt = asyncio.Event()
    with watching(enabled=progress) as observer, interrupted_by_signals(interrupt):
        return await auditor.look(options, observer, interrupt, before)
