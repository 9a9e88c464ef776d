"""An isolated network for a run: nothing leaves it, and its loopback counts no other program's bytes."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path

_NETWORK = 0x40000000  # CLONE_NEWNET of <sched.h>


def isolate() -> str:
    """Move this process, and all that it starts, into a new network namespace with only loopback.

    Returns an empty text, or why it could not be done; then the network is unchanged.
    """
    if os.geteuid() != 0:
        return "only root may make a network namespace"
    program = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return "ip was not found; install iproute2"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NETWORK):
        return f"a network namespace could not be made: {os.strerror(ctypes.get_errno())}"
    subprocess.run([program, "link", "set", "lo", "up"], check=True)
    return ""


def isolated() -> bool:
    """Whether there is no network but loopback."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def loopback_bytes() -> int:
    """Return the bytes sent over loopback so far, with Ethernet, IP and TCP headers, in both directions."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[0])  # received; each packet that was sent is received here too
    raise OSError("/proc/net/dev has no loopback interface")
