"""PURE: how many servers of each region a sweep of the demo saw, and why not the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from auditor.demo.demo_fleet import DemoFleet
from auditor.errors import GapReason
from auditor.values.models import Snapshot


@dataclass(frozen=True, slots=True)
class RegionSeen:
    """Servers of one region, by their registrations."""

    region: str
    registered: int
    seen: int
    reasons: Mapping[GapReason, int]
    """How many were not seen, by reason."""


def seen_by_region(fleet: DemoFleet, snapshot: Snapshot) -> tuple[RegionSeen, ...]:
    """Count the servers of each region, sorted by its name."""
    seen = {observation.node.name for observation in snapshot.observations}
    why = {gap.node: gap.reason for gap in snapshot.gaps if gap.node is not None}
    rows = []
    for region in sorted({node.registered_region for node in fleet.nodes}):
        names = [node.name for node in fleet.nodes if node.registered_region == region]
        reasons = Counter(why[name] for name in names if name not in seen and name in why)
        rows.append(RegionSeen(region, len(names), sum(name in seen for name in names), reasons))
    return tuple(rows)


def unseen(snapshot: Snapshot) -> frozenset[str]:
    """Return the names of the registered servers that were not seen."""
    seen = {observation.node.name for observation in snapshot.observations}
    return frozenset(item.node.name for item in snapshot.registrations) - seen
