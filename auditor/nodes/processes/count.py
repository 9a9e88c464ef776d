"""How many worker processes a fleet deserves on this machine."""

from __future__ import annotations

import os
from pathlib import Path

NODES_EACH = 2_500
"""A worker costs 50 MB, and before it asks its first node as much CPU as a hundred nodes: a twenty-fifth of
its share. And 2,500 nodes keep one processor busy for some seconds only; below that, nobody waits for it."""
MOST = 8
"""To hand a node to a worker costs its parent up to a tenth of what the worker has to do for it: with more
of them it is the parent that they wait for."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def fitting(nodes: int, cores: int) -> int:
    """The number of processes that look at so many nodes. 1: this one does it alone, and starts no other."""
    return max(1, min(cores, nodes // NODES_EACH, MOST))


def usable_cores(quota: Path = _QUOTA) -> int:
    """The processors that this process may use: what it is bound to, and what its container grants."""
    # sched_getaffinity is Linux's; elsewhere every processor of the machine may be used.
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return bound  # no cgroup of version 2 that says anything: nothing is granted, nothing withheld
    return bound if allowed == "max" else max(1, min(bound, int(allowed) // int(period)))
