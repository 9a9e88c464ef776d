"""Past sweeps, and the life of each finding with its notifications, from the state."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from alerts.memory.notices import Row
from alerts.models import Status
from auditor.errors import UsageError
from auditor.reports.selection import EVERYTHING, Selection
from auditor.service.alert_state import existing_state, state_place
from auditor.settings.file import Config
from auditor.state import history
from auditor.values.models import NodeId
from auditor.values.past_sweeps import PastFinding, PastNotice, PastSweep


@dataclass(frozen=True, slots=True)
class Past:
    """Last sweeps and findings."""

    sweeps: tuple[PastSweep, ...]
    findings: tuple[PastFinding, ...]
    nodes: frozenset[NodeId] = frozenset()
    """Nodes that a finding names; only where a selection was asked for."""
    regions: frozenset[str] = frozenset()
    """Regions that a finding names; only where a selection was asked for."""


@dataclass(frozen=True, slots=True)
class FindingLife:
    """Finding over time, and each notification of it, oldest first."""

    finding: PastFinding
    notifications: tuple[PastNotice, ...]


def read_past(
    config: Config, limit: int, *, leading_only: bool, selection: Selection = EVERYTHING
) -> Past | None:
    """Read at most so many sweeps, newest first, and findings that are selected; None where there is no state.

    leading_only: without findings that follow from another, unless their check is selected. Raises `StateError`.
    """
    with existing_state(state_place(config)) as state:
        if state is None:
            return None
        sweeps = history.sweeps(state.store, limit)
        leading_only = leading_only and not selection.checks
        if not selection:
            return Past(sweeps, history.findings(state.store, limit, leading_only=leading_only))
        every = history.findings(state.store, leading_only=leading_only)
    return Past(
        sweeps,
        tuple(itertools.islice(filter(selection.takes_past, every), limit)),
        frozenset(_named(name) for finding in every for name in finding.nodes),
        frozenset(region for finding in every for region in finding.regions),
    )


def _named(name: str) -> NodeId:
    plain, _, datacenter = name.partition("@")
    return NodeId(datacenter, plain)


def read_life(config: Config, fingerprint: str) -> FindingLife:
    """Read the life of the one finding whose fingerprint begins so. Raises `UsageError` and `StateError`."""
    with existing_state(state_place(config)) as state:
        finding = None if state is None else history.finding(state.store, fingerprint)
        if state is None or finding is None:
            raise UsageError(
                f"history: no finding has the fingerprint {fingerprint[:40]}; `wgaudit history` lists them"
            )
        return FindingLife(finding, tuple(map(past_notice, state.notifications.life(finding.fingerprint))))


def past_notice(row: Row) -> PastNotice:
    """Make the value that reports show of a stored notification."""
    incident = row.notification.incident
    return PastNotice(
        notifier=row.notification.notifier,
        fingerprint=incident.fingerprint,
        check=incident.check,
        severity=incident.severity,
        subject=incident.subject,
        reason=row.notification.reason.value,
        firing=row.notification.status is Status.FIRING,
        state=row.state.value,
        planned_at=row.created_at,
        at=row.at,
        attempts=row.attempts,
        answer=row.detail,
    )
