"""What one sweep could see and what it could not: registries read whole, nodes judged, and blindness in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerts.models import Baseline, Log, Policy
from auditor.errors import GapReason, GapScope
from auditor.values.models import Gap, NodeId, Report
from auditor.values.text import listed

SHRINK_MEMORY = timedelta(hours=24)
"""So long, and until blindness was told, a registry is measured against the size that it had before it
shrank; then the new size is normal."""
NAMED = 3
"""Nodes that blindness names before it counts the rest."""
FEWEST_LOST = 2
"""A registry that lost a single node has not shrunk: fleets of fewer than ten nodes lose a tenth with it."""


class Sight:
    """One sweep's sight, beside what earlier sweeps saw. Read-only."""

    def __init__(self, report: Report, log: Log, now: datetime, policy: Policy, *, told_blind: bool) -> None:
        self._report = report
        # One registration that does not hold still hides its own node, which is in flight, and nothing else.
        moving = [gap for gap in report.gaps if gap.reason is GapReason.UNSETTLED and gap.node]
        registry = [gap for gap in report.gaps if gap.scope is not GapScope.NODE and gap not in moving]
        unread = any(gap.scope is GapScope.REGISTRY for gap in registry)
        self.baseline, shrunk = _measured(report, log, now, policy, unread=unread, told_blind=told_blind)
        self.whole: frozenset[str] = frozenset() if shrunk else _whole(report, registry)
        """Datacenters whose registry was read whole."""
        self.unread: bool = unread or bool(shrunk)
        """Whether registrations are known to be missing: then peers look unregistered that are not."""
        self.judged: frozenset[NodeId] = report.observed - frozenset(report.in_flight)
        """Nodes whose own device answered, and whose registration held still meanwhile."""
        self.blind: tuple[str, ...] = _blindness(report, registry, shrunk, moving=bool(moving))
        """Why not enough was seen to say clean, in words; empty if it was."""

    def hides(self, node: NodeId) -> bool:
        """Whether the node may still show what it showed before: it was not judged now.

        Who left a registry that was read whole can't be seen again, and hides nothing.
        """
        gone = node not in self._report.registered and node.datacenter in self.whole
        return node not in self.judged and not gone


def _whole(report: Report, registry: list[Gap]) -> frozenset[str]:
    if any(not gap.datacenter for gap in registry):
        return frozenset()
    return frozenset({node.datacenter for node in report.registered} - {gap.datacenter for gap in registry})


def _measured(
    report: Report, log: Log, now: datetime, policy: Policy, *, unread: bool, told_blind: bool
) -> tuple[Baseline | None, str]:
    """The size to measure the registry against from now on, and in words how it shrank, or ""."""
    before = log.baseline
    if unread:
        # The memory of its size does not age while it can't be measured.
        return before and Baseline(before.registered, now), ""
    size = len(report.registered)
    if before is not None:
        lost = before.registered - size
        shrunk = lost >= FEWEST_LOST and lost > policy.shrink_share * before.registered
        # Sweeps may lie further apart than the memory is long: nothing is normal before it was told.
        if shrunk and (not told_blind or now - before.at <= SHRINK_MEMORY):
            return before, f"the registry shrank from {before.registered:,} nodes to {size:,}"
    return Baseline(size, now), ""


def _blindness(report: Report, registry: list[Gap], shrunk: str, *, moving: bool) -> tuple[str, ...]:
    why = sorted(
        {
            f"{gap.reason.value}{f' in {gap.datacenter}' if gap.datacenter else ''}: {gap.detail}"
            for gap in registry
        }
    )
    if shrunk:
        why.append(shrunk)
    if not report.seen_enough and not why and not moving:
        coverage = report.coverage
        why.append(
            f"{coverage.observed:,} of {coverage.registered:,} registered nodes were seen{_unseen(report)}"
        )
    return tuple(why)


def _unseen(report: Report) -> str:
    """Some of the nodes that were not seen, each with the reason; the rest is counted."""
    unseen = sorted(
        {(gap.node, gap.reason.value) for gap in report.gaps if gap.scope is GapScope.NODE and gap.node}
    )
    if not unseen:
        return ""
    return f"; not {listed([f'{node} ({reason})' for node, reason in unseen], most=NAMED, last=', ')}"
