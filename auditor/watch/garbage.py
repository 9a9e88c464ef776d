"""Garbage collection of a process that holds a large fleet for weeks: rare, and not of what is there to stay."""

from __future__ import annotations

import asyncio
import gc

from auditor.errors import WatchEnded
from auditor.watch.view import WatchViews

THRESHOLDS = (50_000, 20, 100)
"""Of the collector's generations. One reading of a large registry makes tens of thousands of values, and nearly all of
them stay: looked through at Python's own thresholds, they cost a third of the time from a write to its page."""
EACH = 600.0
"""Seconds between two collections of everything."""


async def collect_rarely(views: WatchViews) -> None:
    """Collect everything once the fleet was seen whole, and then each ten minutes; keep the rest out of it between."""
    gc.set_threshold(*THRESHOLDS)
    number = 0
    try:
        while (view := await views.after(number)).round_at is None:
            number = view.number
    except WatchEnded:
        return
    while True:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        await asyncio.sleep(EACH)
