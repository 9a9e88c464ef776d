"""Embedded fleets whose nodes answer over SSH, served by a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.demo.demo_fleet import DemoFleet
from auditor.demo.servers import ServedFleet, serve


@contextmanager
def served_by_thread(fleet: DemoFleet, folder: Path, *, sessions: int) -> Iterator[ServedFleet]:
    """Serve a fleet while it is entered; its nodes live in `folder`."""
    loop = asyncio.new_event_loop()
    ready: list[ServedFleet] = []
    started, stop = threading.Event(), asyncio.Event()

    async def serving() -> None:
        async with serve(fleet, folder, sessions=sessions) as served:
            ready.append(served)
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serving())
        finally:
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        started.wait()
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
