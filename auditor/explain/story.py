"""The whole story of one address, node or key, as a value: what `wgaudit explain` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from auditor.explain.reach import Loss
from auditor.values.addresses import Prefix
from auditor.values.findings import Claim, Finding, Pick
from auditor.values.models import Gap, InvalidRegistration, NodeId, Observation, Registration
from auditor.values.registration_changes import RegistrationChange
from auditor.values.report import Coverage
from auditor.values.witness_answers import Reached


@dataclass(frozen=True, slots=True)
class Routing:
    """Destinations to which observers send one prefix."""

    prefix: Prefix
    picks: tuple[Pick, ...]
    """Most observers first, nobody last. `sample` names every observer of a pick where they are few."""
    notes: tuple[str, ...] = ()
    answers: tuple[Reached, ...] = ()
    """Who answered there, asked over the mesh; empty where nobody was asked."""
    disagreement: str = ""
    """Sentence on answers that the picks do not explain; "": there are none."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that one sweep saw of one target."""

    target: str
    """The target in full, as it was understood: an address, a node's name, a key of 44 characters."""
    kind: Literal["address", "node", "key"]
    headline: str
    """Outcome in one line."""
    coverage: Coverage
    asked: Finding | None = None
    """The finding that was asked for by its fingerprint: the target is its subject."""
    registrations: tuple[Registration, ...] = ()
    invalid: tuple[InvalidRegistration, ...] = ()
    observations: tuple[Observation, ...] = ()
    claims: tuple[Claim, ...] = ()
    """Claims to the target's address or addresses."""
    routing: tuple[Routing, ...] = ()
    losses: tuple[Loss, ...] = ()
    """What the node loses as an observer."""
    everyone: bool = False
    """True: every observer is named."""
    notes: tuple[str, ...] = ()
    """Facts that fit nowhere else, one sentence each."""
    findings: tuple[Finding, ...] = ()
    """Findings that touch the target, causes before what follows from them."""
    gaps: tuple[Gap, ...] = ()
    """Gaps that might have changed this story."""
    contested: tuple[Prefix, ...] = ()
    """Of its addresses, those that several nodes claim without being meant to."""
    next_steps: tuple[str, ...] = ()
    changes: tuple[RegistrationChange, ...] = ()
    """Changes of registrations that had the target, oldest first, where alerted sweeps have noticed them."""
    regions: Mapping[NodeId, str] = field(default_factory=dict)
    """Regions of the nodes that are named here."""
    ambiguous_names: frozenset[str] = frozenset()

    def name(self, node: NodeId) -> str:
        """The node as people call it; with its datacenter only where the name alone is not enough."""
        return str(node) if node.name in self.ambiguous_names else node.name

    def region(self, node: NodeId) -> str:
        """Return a node's region; "" where it is not known."""
        return self.regions.get(node, "")
