"""PURE: what a watch tells between two of its rounds: new incidents and worse ones, and nothing else of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from alerts.incidents import groups
from alerts.models import AlertPlan, Log, Notification, NotifyReason, Standing, Status
from alerts.plan import OF_ITSELF
from auditor.values.models import NodeId
from auditor.values.report import Report

NEWS = frozenset({NotifyReason.FIRST_NOTIFICATION, NotifyReason.FLAPPING, NotifyReason.SEVERITY_RAISED})
"""Reasons that do not wait for the round: an incident begins, or is worse than it was told."""


@dataclass(frozen=True, slots=True)
class News:
    """Notifications that do not wait for the next round, and the memory to keep of them."""

    notifications: tuple[Notification, ...] = ()
    standing: Mapping[str, Standing] = field(default_factory=dict)
    """By fingerprint: the incidents of the notifications. All others stand as they did."""
    nodes: Mapping[NodeId, int] = field(default_factory=dict)
    """Nodes that were judged with these incidents, each with the number of the coming round."""


def between_rounds(made: AlertPlan, log: Log) -> News:
    """Take the news out of a plan that was made for the coming round. `log`: the memory that it was made from.

    What begins or grows worse is told, and remembered as if the round had told it. Changes, resolutions, repeats,
    blindness and nodes that do not answer wait for the round, and so does what a gap hides: it is no news. The number
    of the round is not used up.
    """
    notifications = tuple(item for item in made.notifications if _is_news(item))
    if not notifications:
        return News()
    marks = {item.incident.fingerprint for item in notifications}
    return News(
        notifications,
        standing={mark: item for mark, item in made.standing.items() if mark in marks},
        # Who was observed when the incident showed: where its evidence came from all, all must be seen without it.
        nodes={node: sweep for node, sweep in made.nodes.items() if sweep == log.sweep},
    )


def has_begun(report: Report, made: AlertPlan) -> bool:
    """Tell whether a report has an incident that did not stand after an earlier plan, or stood as a milder one.

    If it has not, it holds no news since that plan: between two rounds nothing ends.
    """
    return any(
        finding.fingerprint not in made.standing
        or min(item.severity.rank for item in (finding, *followers))
        < made.standing[finding.fingerprint].incident.severity.rank
        for finding, followers in groups(report)
    )


def _is_news(notification: Notification) -> bool:
    incident = notification.incident
    return (
        notification.status is Status.FIRING
        and notification.reason in NEWS
        and incident.check not in OF_ITSELF
        and incident.not_seen_since is None
    )
