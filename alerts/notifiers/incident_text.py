"""Incidents in words, in one form for all notifiers: harmless lines, cut with a count of the rest."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.models import Incident, Notification, NotifyReason, Status
from auditor.values.text import count, for_log, listed_within

TEST_MARK = "TEST - not an incident"
LONGEST_NAME = 80
"""Characters of a node's, region's or subject's name. Real ones are far shorter."""

REASONS = {
    NotifyReason.FIRST_NOTIFICATION: "new",
    NotifyReason.FLAPPING: "back soon after its end: it comes and goes",
    NotifyReason.CLAIMANTS_CHANGED: "the claimants changed",
    NotifyReason.SEVERITY_RAISED: "more severe than before",
    NotifyReason.REPEAT_INTERVAL_ELAPSED: "still standing",
    NotifyReason.RESOLVED: "over",
    NotifyReason.TEST: "asked for by `wgaudit alerts test`",
}


def name(text: str) -> str:
    """Make the name of a node, region or subject fit for a line."""
    return for_log(text, most=LONGEST_NAME)


def names(some: Sequence[str], characters: int) -> str:
    """List as many names as fit into so many characters, and count the rest; "" for none."""
    return listed_within([name(one) for one in some], characters) if some else ""


def documentation(incident: Incident, docs_url: str) -> str:
    """Give the place that explains the finding: a link, if the settings say where a browser reads docs/findings.md."""
    return f"{docs_url}#{incident.check}" if docs_url else incident.docs


def is_test(notification: Notification) -> bool:
    """Tell whether the notifications are only a test."""
    return notification.reason is NotifyReason.TEST


def counted(notifications: Sequence[Notification]) -> str:
    """`2 firing, 1 resolved`; marked where it is only a test."""
    firing = sum(item.status is Status.FIRING for item in notifications)
    resolved = len(notifications) - firing
    counts = ", ".join(
        f"{number} {word}" for number, word in ((firing, "firing"), (resolved, "resolved")) if number
    )
    return f"{TEST_MARK}: {counts}" if any(map(is_test, notifications)) else counts


def verdict(notifications: Sequence[Notification]) -> str:
    """`critical: duplicate-address 10.0.0.1 and 3 more firing, 1 resolved`: the worst first, for a header."""
    if any(map(is_test, notifications)):
        return counted(notifications)
    firing = sorted(
        (item.incident for item in notifications if item.status is Status.FIRING),
        key=lambda incident: incident.severity.rank,
    )
    resolved = [item.incident for item in notifications if item.status is Status.RESOLVED]
    parts = []
    if firing:
        more = f" and {len(firing) - 1} more firing" if len(firing) > 1 else ""
        parts.append(f"{firing[0].severity.value}: {name(firing[0].check)} {name(firing[0].subject)}{more}")
    if resolved and firing:
        parts.append(f"{len(resolved)} resolved")
    elif resolved:
        more = f" and {len(resolved) - 1} more" if len(resolved) > 1 else ""
        parts.append(f"resolved: {name(resolved[0].check)} {name(resolved[0].subject)}{more}")
    return ", ".join(parts)


def headline(notification: Notification, limit: int) -> str:
    """`duplicate-address 10.0.0.1: <summary>` in one line; marked where it is only a test or over."""
    incident = notification.incident
    marks = f"{TEST_MARK}: " if is_test(notification) else ""
    if notification.status is Status.RESOLVED:
        marks += "resolved: "
    return for_log(f"{marks}{name(incident.check)} {name(incident.subject)}: {incident.summary}", most=limit)


def observers(pick: tuple[str, int, tuple[tuple[str, int], ...]], limit: int) -> str:
    """`6 observers (ams 1, fra 5)`."""
    _, number, regions = pick
    amount = count(number, "observer")
    if not regions:
        return amount
    places = [f"{name(region) if region else 'region unknown'} {seen:,}" for region, seen in regions]
    return f"{amount} ({listed_within(places, max(limit - len(amount) - 3, 24))})"


def follows(incident: Incident, limit: int) -> str:
    """`split-routing, displaced-allowed-ips ×3`: what else was found that follows from it."""
    checks = [
        f"{name(check)} ×{number:,}" if number > 1 else name(check) for check, number in incident.follows
    ]
    return listed_within(checks, limit)
