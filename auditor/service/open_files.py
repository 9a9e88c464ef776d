"""Limit on open files: raised as far as a sweep needs it, or else a bound on the nodes under way."""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FILES_A_NODE = 2
"""Its connection, and the agent's while it logs in."""
SPARE = 96
"""For what opens files beside: the registry, lookups of names, the report, the state."""
LOOKS_BESIDE = 200
"""Logins and looks that a watch has under way beside the sessions that it holds."""
MOST = 4096
"""Nodes under way that any fleet may want: thousands of dead ones are waited for at the same time."""
UNLIMITED = 1_048_576
"""Files that stand for no limit at all."""


@dataclass(frozen=True, slots=True)
class FileLimit:
    """Limit on open files for a sweep, and the number of nodes for which it has room."""

    room: int
    """Nodes that may be under way."""
    wanted: int
    """Nodes for which there should be room."""
    soft: int
    """Soft limit to set."""
    needed: int
    """Files that the nodes that are wanted need."""

    @property
    def short(self) -> bool:
        """Tell whether there is less room than should be."""
        return self.room < self.wanted


def planned_limit(nodes: int, in_use: int, soft: int, hard: int) -> FileLimit:
    """Plan room for so many nodes.

    in_use: files that are open already. soft, hard: the limits now; `resource.RLIM_INFINITY` is one, too.
    """
    wanted = max(1, min(nodes, MOST))
    needed = wanted * FILES_A_NODE + in_use + SPARE
    highest = needed if hard == resource.RLIM_INFINITY else hard
    now = needed if soft == resource.RLIM_INFINITY else soft
    reached = max(now, min(needed, highest))
    room = max(1, min(wanted, (reached - in_use - SPARE) // FILES_A_NODE))
    return FileLimit(room, wanted, reached, needed)


def room_for(nodes: int, complain: Callable[[str], None]) -> int:
    """Raise this process's soft limit as far as so many nodes need; return how many may be under way.

    complain: receives one line where even the hard limit is too low: what that means, and what to raise.
    """
    made = _raised(lambda soft, hard: planned_limit(nodes, _in_use(), soft, hard))
    if made.short:
        complain(f"{limit_words(made)}; {remedy(made)}")
    return made.room


def room_to_follow(nodes: int, held: int, complain: Callable[[str], None]) -> int:
    """Raise this process's soft limit as far as sessions of so many nodes need; return how many there may be.

    held: sessions that are open already. complain: receives one line where even the hard limit is too low.
    """
    made = _raised(lambda soft, hard: planned_sessions(nodes, _in_use() - held, soft, hard))
    if made.short:
        complain(
            f"the limit on open files is {made.soft:,}: {made.room:,} nodes are followed, and the other "
            f"{made.wanted - made.room:,} are looked at each round; {remedy(made)}"
        )
    return made.room


def _raised(planned: Callable[[int, int], FileLimit]) -> FileLimit:
    """Raise this process's soft limit as planned from the soft and the hard one; return the plan that holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    made = planned(soft, hard)
    if soft not in (resource.RLIM_INFINITY, made.soft):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (made.soft, hard))
        except (OSError, ValueError):
            # Some systems allow less than their hard limit says.
            made = planned(soft, soft)
    return made


def planned_sessions(nodes: int, in_use: int, soft: int, hard: int) -> FileLimit:
    """Plan room for an open session of each node, and for looks beside them.

    in_use: files that are open for something else. soft, hard: the limits now.
    """
    beside = in_use + SPARE + LOOKS_BESIDE * FILES_A_NODE
    needed = nodes + beside
    highest = needed if hard == resource.RLIM_INFINITY else hard
    now = needed if soft == resource.RLIM_INFINITY else soft
    reached = max(now, min(needed, highest))
    return FileLimit(max(0, min(nodes, reached - beside)), nodes, reached, needed)


def limit_now(nodes: int) -> FileLimit:
    """Plan what `room_for` would do now, without doing it."""
    return planned_limit(nodes, _in_use(), *resource.getrlimit(resource.RLIMIT_NOFILE))


def most() -> int:
    """Return the hard limit: the most files that this process may have open."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return UNLIMITED if hard == resource.RLIM_INFINITY else hard


def raise_to_most() -> int:
    """Raise the soft limit to the hard one, for who keeps a connection to each node; return the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most()
    if soft not in (resource.RLIM_INFINITY, wanted):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft  # some systems allow less than their hard limit says
    return wanted


def limit_words(made: FileLimit) -> str:
    """Word the limit, and the bound that it sets on nodes."""
    if not made.short:
        return f"room for {made.room:,} nodes at a time"
    return (
        f"the limit on open files is {made.soft:,}: at most {made.room:,} nodes are under way at a time "
        f"instead of {made.wanted:,}, and dead ones hold up the others"
    )


def remedy(made: FileLimit) -> str:
    """Word which limit to raise."""
    return f"raise it: `ulimit -n {made.needed}`, or LimitNOFILE={made.needed} of the systemd unit"


def _in_use() -> int:
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        # Not every system shows them; the spare ones cover standard streams and a few more.
        return 3
