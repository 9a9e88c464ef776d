"""Commands that the demo runs as processes of their own, on its own fleet."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

WGAUDIT = (sys.executable, "-c", "from auditor.cli.entry import begin; begin()")
"""Words that start the program, whether it is installed or not."""
_OURS = ("WGAUDIT_", "CONSUL_", "NOTIFY_SOCKET", "WATCHDOG_")
"""Beginnings of the environment's variables that would lead a command elsewhere than to the demo."""


def demo_environment(here: Mapping[str, str]) -> dict[str, str]:
    """Return a command's environment: without what would lead it to another configuration, registry or proxy."""
    kept = {name: value for name, value in here.items() if not name.upper().startswith(_OURS)}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


async def run_command(
    words: Sequence[str], folder: Path, interrupt: asyncio.Event, *, at_terminal: bool
) -> int:
    """Run one command to its end; Ctrl-C ends it in its own way. Returns its exit code.

    at_terminal: it reads the terminal, which tells it of a Ctrl-C by itself.
    """
    sys.stdout.flush()
    child = await asyncio.create_subprocess_exec(
        *WGAUDIT,
        *words,
        cwd=folder,
        env=demo_environment(os.environ),
        stdin=None if at_terminal else subprocess.DEVNULL,
    )
    interrupted = False
    try:
        ended = asyncio.ensure_future(child.wait())
        while not ended.done():
            waiting = [ended] if interrupted else [ended, asyncio.ensure_future(interrupt.wait())]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for other in waiting[1:]:
                other.cancel()
            if not ended.done() and not interrupted:
                interrupted = True
                if not at_terminal:
                    child.send_signal(signal.SIGINT)
        return ended.result()
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


async def first_of(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of these is over; the others are given up."""
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
