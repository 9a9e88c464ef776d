"""Interrupts while Python still loads what a command needs: one line and the exit, for there is nothing to close yet.

An exception would pass through half-loaded modules, some of which make another one of it. It imports nothing that takes
time.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

EXIT_INTERRUPTED = 130


def begin_loading() -> None:
    """Let an interrupt end the process at once, from now on."""
    # Who started this may have said that interrupts are not meant for it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)


def have_loaded() -> None:
    """Let an interrupt be an exception from now on: the command begins."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end_at_once(number: int, frame: FrameType | None) -> None:  # noqa: ARG001  (the signal's arguments)
    os.write(2, b"wgaudit: interrupted\n")
    os._exit(EXIT_INTERRUPTED)
