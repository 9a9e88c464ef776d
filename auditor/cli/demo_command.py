"""Commands that the demo runs as processes of their own, on its own fleet."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping

WGAUDIT = (sys.executable, "-c", "from auditor.cli.main import run; run()")
"""Words that start the program, whether it is installed or not."""
_OURS = ("WGAUDIT_", "CONSUL_", "NOTIFY_SOCKET", "WATCHDOG_")
"""Beginnings of the environment's variables that would lead a command elsewhere than to the demo."""


def demo_environment(here: Mapping[str, str]) -> dict[str, str]:
    """Return a command's environment: without what would lead it to another configuration, registry or proxy."""
    kept = {name: value for name, value in here.items() if not name.upper().startswith(_OURS)}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of these is over; the others are given up."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
