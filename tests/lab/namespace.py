"""Takes the calling thread into another process's network, so that a test can listen and ask there."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_NETWORK = 0x40000000  # CLONE_NEWNET of <sched.h>
_libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Inside of it the calling thread is in the network of that process; raises `OSError` if it cannot be."""
    with network_at(Path(f"/proc/{pid}/ns/net")):
        yield


@contextlib.contextmanager
def network_at(path: Path) -> Iterator[None]:
    """The same by the namespace's file.

    A socket stays for good in the network in which it was made, and a process in that of the thread which
    started it. So a server that was started here listens there, and what it took can be read in this process.
    """
    with (
        _namespace(Path("/proc/thread-self/ns/net")) as here,
        _namespace(path) as there,
    ):
        _enter(there)
        try:
            yield
        finally:
            _enter(here)


@contextlib.contextmanager
def _namespace(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _NETWORK):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
