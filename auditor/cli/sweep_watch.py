"""`wgaudit sweep --watch`: the table, redrawn on a terminal as the fleet changes; elsewhere a line for each change."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from auditor.cli import complaints, running, screen
from auditor.errors import NothingSeen, WatchEnded
from auditor.service.alert_state import state_place
from auditor.settings.file import Config
from auditor.values.guide import Guide
from auditor.values.report import Report
from auditor.values.text import for_log, timestamp
from auditor.watch.loop import FleetWatch
from auditor.watch.untold import Untold
from auditor.watch.view import WatchView
from auditor.watch.watch_log import WatchLog, status_words
from auditor.watch.watch_parts import watch_parts

_MOST_COMPLAINTS = 100

Render = Callable[[Report, int], str]
"""Makes the table of a report for so many columns."""


async def watch_table(config: Config, render: Render, *, guide: Guide, colour: screen.Colour) -> Report:
    """Follow the fleet until `q` or a signal, and tell nobody. Returns the last report.

    Raises `ConfigError`, and `NothingSeen`.
    """
    said: deque[str] = deque(maxlen=_MOST_COMPLAINTS)
    terminal = sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    # On the table's screen a line would tear the table.
    complain = said.append if terminal else complaints.complain
    fleet = FleetWatch(
        watch_parts(config, complain),
        Untold(state_place(config), complain),
        complain,
        stop_within=config.watch.stop_within,
    )
    stop = asyncio.Event()
    watching = asyncio.create_task(fleet.run())
    try:
        with running.interrupted_by_signals(stop):
            if terminal:
                await _redrawn(fleet, stop, render, said, colour)
            else:
                await _written(fleet, stop, guide)
    finally:
        fleet.stop()
        await watching
        for line in said:
            complaints.complain(line)
    if fleet.newest is None:
        raise NothingSeen("watch: ended before anything was seen")
    return fleet.newest.report


async def _redrawn(
    fleet: FleetWatch, stop: asyncio.Event, render: Render, said: deque[str], colour: screen.Colour
) -> None:
    from auditor.cli.live_table import RESIZE_LOOK, LiveTable, keys

    coloured = screen.wants_colour(colour, True, os.environ)
    with LiveTable(sys.stdout, colour=coloured) as table:

        def pressed(typed: bytes) -> None:
            if not table.press(typed):
                stop.set()

        view: WatchView | None = None
        with keys(pressed):
            table.show("reading the registry …", "")
            while not stop.is_set():
                newest = await _newer(fleet, view, stop, RESIZE_LOOK)
                if newest is None:
                    return
                if newest is view and not table.resized:
                    continue
                view = newest
                text = await asyncio.to_thread(render, view.report, table.width)
                table.show(_head(view, said), text)


async def _written(fleet: FleetWatch, stop: asyncio.Event, guide: Guide) -> None:
    log, view = WatchLog(guide), None
    while not stop.is_set():
        newest = await _newer(fleet, view, stop, None)
        if newest is None:
            return
        if newest is not view:
            view = newest
            now = timestamp(datetime.now(UTC), "seconds")
            running.deliver("".join(f"{now} {for_log(line)}\n" for line in log.of(view)), None)


async def _newer(
    fleet: FleetWatch, view: WatchView | None, stop: asyncio.Event, most: float | None
) -> WatchView | None:
    """Wait for a newer view, a stop, or so many seconds. Returns the newest one; None: there is no further one.

    Before the first view it waits on, whatever time that takes.
    """
    number = view.number if view is not None else 0
    waits = [asyncio.ensure_future(fleet.after(number)), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(
            waits, timeout=most if view is not None else None, return_when=asyncio.FIRST_COMPLETED
        )
        if stop.is_set() or (waits[0].done() and isinstance(waits[0].exception(), WatchEnded)):
            return None
        return fleet.newest
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _head(view: WatchView, said: deque[str]) -> str:
    at = f"{view.taken_at:%H:%M:%S} UTC"
    if said:
        return f"{at}  {status_words(view)}  ! {for_log(said[-1])}"
    return f"{at}  {status_words(view)}"
