"""Protocol of a collector, which looks at many nodes, from here or from elsewhere, and streams the results."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Protocol

from auditor.errors import ProbeError
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.meetings import PeersMet
from auditor.values.models import Gap, NodeId, Observation, Registration


@dataclass(frozen=True, slots=True)
class Assignment:
    """Nodes to look at, and the registry that a collector needs to reach them."""

    nodes: tuple[Registration, ...]
    """Registrations of the nodes; each node is looked at once."""
    registered: tuple[Registration, ...]
    """Registrations of the whole registry: its mesh addresses are not used to reach a node."""


Seen = Observation | Gap
"""Result of a look at one node: its state, or the gap that says why it could not be seen."""


class Collector(Protocol):
    """Looks at many nodes and yields each result as it comes."""

    def collect(self, assignment: Assignment, tables: TableStore, stop: Stop) -> AsyncGenerator[Seen, None]:
        """Look at each node of the assignment once.

        Yields one observation or gap a node, in any order. `tables` holds an observation's table before the
        observation is yielded; a table that it holds already need not be fetched. After `stop` the stream ends
        at once: results at hand are still yielded, nodes without one are left out. A node that is left out
        for no such reason becomes a gap of the sweep. Closing the stream leaves nothing running.

        Raises nothing for a fault of a node or a network.
        """
        ...


@dataclass(frozen=True, slots=True)
class Heard:
    """Word of a followed node: a new state or gap, or a beat, which says that its last state holds."""

    node: NodeId
    seen: Seen | None
    """None: a beat."""
    followed: bool = True
    """False: it is only looked at once a round, for it cannot be followed."""


class Follower(Protocol):
    """Keeps looking at many nodes, from here or from elsewhere, until its stream is closed."""

    def assign(self, assignment: Assignment) -> None:
        """Set the nodes to follow, at any time: new ones are connected, those that left are let go, and those whose
        key or way changed are connected anew."""
        ...

    def follow(self, tables: TableStore) -> AsyncGenerator[Heard, None]:
        """Yield what nodes say, as it comes, in any order between nodes. `tables` holds an observation's table before
        the observation is yielded. A node that cannot be reached, or is not heard of for three beats, is a gap, told
        once and again when its reason changes; it is tried again with growing, jittered pauses.
        """
        ...

    def look_again(self) -> None:
        """Begin a round: look at once at each node that cannot be followed."""
        ...

    async def meet(self, observers: Collection[NodeId]) -> tuple[PeersMet, ...]:
        """Ask followed nodes where they meet their peers; those that do not answer are left out. Raises nothing."""
        ...


def gap_of(node: NodeId, error: ProbeError) -> Gap:
    """Convert the error of one node to its gap."""
    return Gap("ssh", error.reason, error.detail, node.name, node.datacenter or None)


def node_of(seen: Seen) -> NodeId:
    """Name the node that a result is about."""
    return seen.node if isinstance(seen, Observation) else NodeId(seen.datacenter or "", seen.node or "")
