"""The whole story of one address, node or key, as a value: what `wgaudit explain` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from auditor.values.addresses import Prefix
from auditor.values.models import (
    Claim,
    Coverage,
    Finding,
    Gap,
    InvalidRegistration,
    NodeId,
    Observation,
    Pick,
    Registration,
)


@dataclass(frozen=True, slots=True)
class Routing:
    """Destinations to which observers send one prefix."""

    prefix: Prefix
    picks: tuple[Pick, ...]
    """Most observers first, nobody last. `sample` names every observer of a pick where they are few."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that one sweep saw of one target."""

    target: str
    """The target in full, as it was understood: an address, a node's name, a key of 44 characters."""
    kind: Literal["address", "node", "key"]
    headline: str
    """Outcome in one line."""
    coverage: Coverage
    registrations: tuple[Registration, ...] = ()
    invalid: tuple[InvalidRegistration, ...] = ()
    observations: tuple[Observation, ...] = ()
    claims: tuple[Claim, ...] = ()
    """Claims to the target's address or addresses."""
    routing: tuple[Routing, ...] = ()
    notes: tuple[str, ...] = ()
    """Facts that fit nowhere else, one sentence each."""
    findings: tuple[Finding, ...] = ()
    """Findings that touch the target, causes before what follows from them."""
    gaps: tuple[Gap, ...] = ()
    """Gaps that might have changed this story."""
    next_steps: tuple[str, ...] = ()
    regions: Mapping[NodeId, str] = field(default_factory=dict)
    """Regions of the nodes that are named here."""
    ambiguous_names: frozenset[str] = frozenset()

    def name(self, node: NodeId) -> str:
        """The node as people call it; with its datacenter only where the name alone is not enough."""
        return str(node) if node.name in self.ambiguous_names else node.name
