"""Sight of one sweep: registries read whole, nodes judged, and blindness in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from alerts.models import Baseline, Log, Policy
from auditor.errors import GapReason, GapScope
from auditor.values.models import Gap, NodeId
from auditor.values.report import Report
from auditor.values.text import listed

SHRINK_MEMORY = timedelta(hours=24)
"""Time for which a registry is measured against the size that it had before it shrank, at least until blindness
was alerted; then the new size is normal."""
NAMED = 3
"""Number of nodes that the incident of blindness names before it counts the rest."""
FEWEST_LOST = 2
"""A registry that lost a single node has not shrunk: fleets of fewer than ten nodes lose a tenth with it."""
_REPORTED_ELSEWHERE = frozenset({GapReason.WRONG_HOST, GapReason.CUT_SHORT, GapReason.UNSETTLED})
"""Reasons of unseen nodes that are reported already: by a finding of their own, or by the sweep's early end."""


class Sight:
    """Sight of one sweep, compared with earlier ones. Read-only."""

    def __init__(
        self, report: Report, log: Log, now: datetime, policy: Policy, *, blind_before: bool
    ) -> None:
        self._report, self._policy = report, policy
        # A gap of one node, whatever it hides of it, hides nothing of the others.
        of_all = [gap for gap in report.gaps if gap.node is None and gap.scope in _OF_ALL]
        unread = any(gap.hides_registrations for gap in of_all)
        self.baseline, shrunk = _measured(report, log, now, policy, unread=unread, blind_before=blind_before)
        self.shrunk: bool = bool(shrunk)
        """True: so many nodes left the registry that they may only be out of sight."""
        self.whole: frozenset[str] = _whole(report)
        """Datacenters whose registry was read without a gap."""
        self.unread: bool = unread or self.shrunk
        """True: registrations are known to be missing, so that registered peers may look unregistered."""
        self.unsettled: frozenset[NodeId] = frozenset(
            NodeId(gap.datacenter or "", gap.node)
            for gap in report.gaps
            if gap.node is not None and gap.reason is GapReason.UNSETTLED
        )
        """Nodes whose registration had not held still when the sweep ended."""
        self.judged: frozenset[NodeId] = report.observed - frozenset(report.in_flight) - self.unsettled
        """Nodes whose own device answered, and whose registration held still meanwhile."""
        self.few_seen: bool = not report.covered and report.coverage.share < policy.blind_below
        """True: so few nodes were seen that the audit itself is blind."""
        self.blind: tuple[str, ...] = _blindness(report, of_all, shrunk, few_seen=self.few_seen)
        """Reasons in words why the audit itself is blind; empty if it is not."""
        self.reasons: Mapping[NodeId, str] = _unseen(report)
        """Registered nodes that were not seen, each with the reason; without `_REPORTED_ELSEWHERE`."""

    def hides(self, node: NodeId) -> bool:
        """Tell whether the node may still show earlier evidence, because this sweep did not judge it.

        A node that left a registry read whole, or whose datacenter is no longer audited, can't be seen again, and
        hides nothing.
        """
        if not self._policy.audits(node.datacenter):
            return False
        report = self._report
        gone = node not in report.registered and node.datacenter in self.whole and not self.shrunk
        return node not in self.judged and not gone and node not in report.retired


_OF_ALL = frozenset({GapScope.REGISTRY, GapScope.SWEEP})


def _whole(report: Report) -> frozenset[str]:
    # A registry that looks suspect, and a sweep that ended early, were read: what they hide has gaps of its own.
    gaps = [gap for gap in report.gaps if gap.hides_registrations]
    if any(not gap.datacenter for gap in gaps):
        return frozenset()
    return frozenset({node.datacenter for node in report.registered} - {gap.datacenter for gap in gaps})


def _measured(
    report: Report, log: Log, now: datetime, policy: Policy, *, unread: bool, blind_before: bool
) -> tuple[Baseline | None, str]:
    """Choose the size that later registries are measured against; word how this one shrank, or ""."""
    before = log.baseline
    if before is not None and not all(map(policy.audits, before.datacenters)):
        before = None  # it was measured with a datacenter that is no longer audited
    if unread:
        # The memory of its size does not age while it can't be measured.
        return before and Baseline(before.registered, now, before.datacenters), ""
    size = len(report.registered | report.retired)  # a retired node was read, and is not missing
    if before is not None:
        lost = before.registered - size
        shrunk = lost >= FEWEST_LOST and lost > policy.shrink_share * before.registered
        # Sweeps may lie further apart than the memory is long: nothing is normal before it was alerted.
        if shrunk and (not blind_before or now - before.at <= SHRINK_MEMORY):
            return before, f"the registry shrank from {before.registered:,} nodes to {size:,}"
    return Baseline(size, now, frozenset(node.datacenter for node in report.registered)), ""


def _blindness(report: Report, of_all: list[Gap], shrunk: str, *, few_seen: bool) -> tuple[str, ...]:
    why = sorted(
        {
            f"{gap.reason.value}{f' in {gap.datacenter}' if gap.datacenter else ''}: {gap.detail}"
            for gap in of_all
        }
    )
    if shrunk:
        why.append(shrunk)
    if few_seen and not why:
        coverage = report.coverage
        unseen = {
            NodeId(gap.datacenter or "", gap.node): gap.reason.value
            for gap in report.gaps
            if gap.scope is GapScope.NODE and gap.node
        }
        named = f"; not {with_reasons(report, unseen, unseen)}" if unseen else ""
        why.append(f"{coverage.observed:,} of {coverage.registered:,} registered nodes were seen{named}")
    return tuple(why)


def _unseen(report: Report) -> dict[NodeId, str]:
    if report.covered:
        return {}  # as many as the configuration asks for were seen
    return {
        node: gap.reason.value
        for gap in report.gaps
        if gap.scope is GapScope.NODE and gap.node is not None and gap.reason not in _REPORTED_ELSEWHERE
        for node in [NodeId(gap.datacenter or "", gap.node)]
        if node in report.registered and node not in report.observed and node not in report.in_flight
    }


def with_reasons(report: Report, nodes: Mapping[NodeId, object], reasons: Mapping[NodeId, str]) -> str:
    """List some unseen nodes, each with its reason where there is one; count the rest."""
    named = sorted(
        f"{report.name(node)} ({reasons[node]})" if node in reasons else report.name(node) for node in nodes
    )
    return listed(named, most=NAMED, last=", ")
