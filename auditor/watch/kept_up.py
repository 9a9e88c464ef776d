"""Work of a daemon that is kept up: what fails for a reason that nobody foresaw is said, and begins anew."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable

log = logging.getLogger(__name__)

BACK_OFF = (0.5, 30.0)
"""Seconds before work that failed begins anew: at first, and at most."""


async def kept_up(name: str, work: Callable[[], Awaitable[None]], complain: Callable[[str], None]) -> None:
    """Do the work until cancelled, and begin it anew when it failed or ended.

    complain: told in one line of each failure.
    """
    least, most = BACK_OFF
    pause, clock = least, asyncio.get_running_loop().time
    while True:
        began = clock()
        try:
            await work()
            why = "ended"
        except Exception as error:
            # An unforeseen error of one part must not end the others.
            log.debug("unexpected error in the watch's %s", name, exc_info=True)
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if clock() - began > most:
            pause = least
        complain(f"watch: {name}: {why}; begun anew in {pause:.1f} s; run with --verbose for more")
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (a pause, no secret)
        pause = min(2 * pause, most)


async def ended(tasks: Iterable[asyncio.Task[None]], within: float, complain: Callable[[str], None]) -> None:
    """Cancel tasks, and wait so many seconds for their end. complain: told of those that are left behind."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    _, left = await asyncio.wait(tasks, timeout=within)
    for task in left:
        complain(f"watch: {task.get_name()}: did not end within {within:g} s; left behind")
