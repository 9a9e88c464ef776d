"""How the lab ends what it started, and waits at its pipes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def opened(fifo: Path) -> Iterator[int]:
    """A pipe opened for both directions: that never waits for somebody at the other end."""
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def reap(process: subprocess.Popen[bytes]) -> None:
    """Waits for one that was started; one that has not ended by now is no longer wanted."""
    if process.poll() is None:
        process.kill()
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends the control namespace: its first process reads to the end, and the kernel ends all others."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
