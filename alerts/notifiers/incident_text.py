"""Incidents in words, in one form for all notifiers: harmless lines, cut with a count of the rest."""

from __future__ import annotations

from collections.abc import Sequence

from alerts.models import Answered, Incident, Notification, NotifyReason, Status
from auditor.values.answer_words import SOURCE_WORDS, called
from auditor.values.text import count, for_log, listed_within

TEST_MARK = "TEST - not an incident"
_MOST_SERVERS = 6
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
    # Each takes a character and a separator: those behind cannot fit, and there may be thousands.
    first = some[: characters // 2 + 1]
    return listed_within([name(one) for one in first], characters, total=len(some)) if some else ""


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
    meshes = sorted({item.incident.mesh for item in notifications if item.incident.mesh})
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
    return ", ".join(parts) + (f" (mesh {', '.join(meshes)})" if meshes else "")


def headline(notification: Notification, limit: int) -> str:
    """`duplicate-address 10.0.0.1 in mesh eu: <summary>` in one line; marked where it is only a test or over."""
    incident = notification.incident
    marks = f"{TEST_MARK}: " if is_test(notification) else ""
    if notification.status is Status.RESOLVED:
        marks += "resolved: "
    mesh = f" in mesh {name(incident.mesh)}" if incident.mesh else ""
    about = f"{name(incident.check)} {name(incident.subject)}{mesh}"
    return for_log(f"{marks}{about}: {incident.summary}", most=limit)


def observers(pick: tuple[str, int, tuple[tuple[str, int], ...]], limit: int) -> str:
    """`6 observers (ams 1, fra 5)`."""
    _, number, regions = pick
    amount = count(number, "observer")
    if not regions:
        return amount
    places = [f"{name(region) if region else 'region unknown'} {seen:,}" for region, seen in regions]
    return f"{amount} ({listed_within(places, max(limit - len(amount) - 3, 24))})"


def answered(incident: Incident) -> list[str]:
    """Word who answered, a line for each kind of server: `NATS: of 12 asked, 9 reached edge-fra-1 (fra 9), …`."""
    sources = dict.fromkeys(item.source for item in incident.answers)
    return [
        f"{SOURCE_WORDS.get(source, name(source))}: "
        + _asked([item for item in incident.answers if item.source == source])
        for source in sources
    ]


def drained(incident: Incident) -> list[str]:
    """Word which claimants are out of production: `edge-sin-1 since … by anna (consul-maintenance)`."""
    return [f"{name(node)} {words}" for node, words in incident.drained]


def _asked(answers: Sequence[Answered]) -> str:
    words = []
    for place, item in enumerate(answers[:_MOST_SERVERS]):
        server = name(item.node) if item.node else f"{called(item.said)} (no registered node)"
        met = item.failure or f"{'' if place else 'reached '}{server}"
        regions = [
            f"{name(region) if region else 'region unknown'} {seen:,}" for region, seen in item.regions
        ]
        words.append(f"{item.observers:,} {met}" + (f" ({listed_within(regions, 100)})" if regions else ""))
    if rest := answers[_MOST_SERVERS:]:
        words.append(f"{sum(item.observers for item in rest):,} others")
    return f"of {sum(item.observers for item in answers):,} asked, {', '.join(words)}"


def follows(incident: Incident, limit: int) -> str:
    """`split-routing, displaced-allowed-ips ×3`: what else was found that follows from it."""
    checks = [
        f"{name(check)} ×{number:,}" if number > 1 else name(check) for check, number in incident.follows
    ]
    return listed_within(checks, limit)
