"""Protocol of a collector, which looks at many nodes, from here or from elsewhere, and streams the results."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from auditor.errors import ProbeError
from auditor.gather.stop import Stop
from auditor.nodes.interface import TableStore
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


def gap_of(node: NodeId, error: ProbeError) -> Gap:
    """Convert the error of one node to its gap."""
    return Gap("ssh", error.reason, error.detail, node.name, node.datacenter or None)


def node_of(seen: Seen) -> NodeId:
    """Name the node that a result is about."""
    return seen.node if isinstance(seen, Observation) else NodeId(seen.datacenter or "", seen.node or "")
