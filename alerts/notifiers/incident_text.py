"""Incidents in words, as every notifier says them: one line, printable, cut with a count of what was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from alerts.models import Incident, Notification, NotifyReason, Status

TEST_MARK = "TEST - not an incident"
LONGEST_NAME = 80
"""Characters of a node's, region's or subject's name. Real ones are far shorter."""

REASONS = {
    NotifyReason.FIRST_NOTIFICATION: "new",
    NotifyReason.CLAIMANTS_CHANGED: "the claimants changed",
    NotifyReason.SEVERITY_RAISED: "more severe than before",
    NotifyReason.REPEAT_INTERVAL_ELAPSED: "still standing",
    NotifyReason.RESOLVED: "over",
    NotifyReason.TEST: "asked for by `wgaudit alerts test`",
}


def plain(text: str, limit: int) -> str:
    """One line of printable characters, at most `limit` long; what is not printable shows as its escape.

    Node names come from Consul and from nodes: line ends, terminal sequences, text that runs backwards
    and lone surrogates (which no UTF-8 can carry) must neither pass nor vanish.
    """
    shown = "".join(_visible(character) for character in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return character if character.isprintable() else f"\\u{ord(character):04x}"


def name(text: str) -> str:
    """A node's, region's or subject's name."""
    return plain(text, LONGEST_NAME)


def listed(names: Sequence[str], limit: int, *, show: Callable[[str], str] = name) -> str:
    """As many names as fit into `limit` characters, and how many more there are."""
    shown: list[str] = []
    size = 0
    for position, item in enumerate(names):
        text = show(item)
        rest = len(f" and {len(names) - position - 1:,} more") if position + 1 < len(names) else 0
        separator = 2 if shown else 0
        if size + separator + len(text) + rest > limit:
            break
        shown.append(text)
        size += separator + len(text)
    left = len(names) - len(shown)
    if not shown:
        return f"{len(names):,}, too many to name here"
    return ", ".join(shown) + (f" and {left:,} more" if left else "")


def moment(at: datetime) -> str:
    """`2026-03-01 02:59 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-03-01T02:59:42.345Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def documentation(incident: Incident, docs_url: str) -> str:
    """Where the finding is explained: a link, if it is known where a browser can read docs/findings.md."""
    return f"{docs_url}#{incident.check}" if docs_url else incident.docs


def is_test(notification: Notification) -> bool:
    """Whether somebody only tries the way."""
    return notification.reason is NotifyReason.TEST


def counted(notifications: Sequence[Notification]) -> str:
    """`2 firing, 1 resolved`; marked where it is only a test."""
    firing = sum(item.status is Status.FIRING for item in notifications)
    resolved = len(notifications) - firing
    counts = ", ".join(
        f"{count} {word}" for count, word in ((firing, "firing"), (resolved, "resolved")) if count
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
    return plain(f"{marks}{name(incident.check)} {name(incident.subject)}: {incident.summary}", limit)


def observers(pick: tuple[str, int, tuple[tuple[str, int], ...]], limit: int) -> str:
    """`6 observers (ams 1, fra 5)`."""
    _, count, regions = pick
    amount = f"{count:,} observer{'' if count == 1 else 's'}"
    if not regions:
        return amount
    names = [f"{name(region) if region else 'region unknown'} {seen:,}" for region, seen in regions]
    return f"{amount} ({listed(names, max(limit - len(amount) - 3, 24), show=str)})"


def follows(incident: Incident, limit: int) -> str:
    """`split-routing, displaced-allowed-ips ×3`: what else was found that follows from it."""
    return listed(
        [f"{name(check)} ×{count:,}" if count > 1 else name(check) for check, count in incident.follows],
        limit,
        show=str,
    )
