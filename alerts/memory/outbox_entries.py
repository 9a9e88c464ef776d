"""PURE: what a plan adds to the outbox, given the newest words that are stored there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alerts.memory.forms import INCIDENT
from alerts.memory.notices import State
from alerts.models import AlertPlan, Notification, NotifyReason, Status
from auditor.values.stored_values import StoredRow
from auditor.values.text import stored_time

Pair = tuple[str, str]
"""A notifier, and the fingerprint of an incident."""


@dataclass
class OutboxEntries:
    """Rows of `alerts_notices` that a plan adds, in the order of delivery, and those whose facts it renews."""

    added: list[dict[str, Any]] = field(default_factory=list)
    renewed: dict[int, str] = field(default_factory=dict)
    """Newer bodies, by number."""


def pair_of(notification: Notification) -> Pair:
    """Name whom a notification goes to, and what it is about."""
    return notification.notifier, notification.incident.fingerprint


def looked_up(plan: AlertPlan) -> frozenset[Pair]:
    """Name the pairs whose stored words decide what becomes of the plan's: a first word goes whatever was before."""
    depends = {
        pair_of(item)
        for item in plan.notifications
        if item.status is Status.RESOLVED or item.reason is NotifyReason.REPEAT_INTERVAL_ELAPSED
    }
    return frozenset((*depends, *plan.closed))


def entries_of(
    plan: AlertPlan, newest: Mapping[Pair, StoredRow], firing: Collection[Pair], now: datetime
) -> OutboxEntries:
    """Work out what a plan adds.

    newest: newest stored word of each pair that is looked up. firing: those of them that the other side may take for
    firing when all that waits has gone.
    """
    entries = OutboxEntries()
    last = {pair: dict(row) for pair, row in newest.items()}
    fires = set(firing)
    for item in plan.notifications:
        pair = pair_of(item)
        before = last.get(pair)
        repeats = item.reason is NotifyReason.REPEAT_INTERVAL_ELAPSED
        if repeats and before is not None and before["state"] == State.PENDING:
            # A waiting notification is not planned twice; it brings the newer facts when it goes.
            before["body"] = INCIDENT.write(item.incident)
            if "id" in before:
                entries.renewed[before["id"]] = before["body"]
            continue
        row = entry_of(item, now)
        if item.status is Status.FIRING:
            fires.add(pair)
        elif pair in fires:
            fires.remove(pair)
        else:
            row |= {"state": State.DROPPED.value, "detail": "not sent: its trigger was never taken"}
        entries.added.append(row)
        last[pair] = row
    for pair in plan.closed:
        if pair in last:
            row = _entry(pair, NotifyReason.RESOLVED, Status.RESOLVED, last[pair]["body"], now)
            row |= {"state": State.CLOSED.value, "detail": "not sent: this notifier does not want resolves"}
            entries.added.append(row)
    return entries


def entry_of(notification: Notification, now: datetime, arrived_at: datetime | None = None) -> dict[str, Any]:
    """Make the row of a notification that waits. arrived_at: time when its cause arrived; None: not known."""
    body = INCIDENT.write(notification.incident)
    row = _entry(pair_of(notification), notification.reason, notification.status, body, now)
    return row | {"arrived_at": arrived_at and stored_time(arrived_at)}


def _entry(pair: Pair, reason: NotifyReason, status: Status, body: str, now: datetime) -> dict[str, Any]:
    notifier, fingerprint = pair
    return {
        "notifier": notifier,
        "fingerprint": fingerprint,
        "reason": reason.value,
        "status": status.value,
        "body": body,
        "created_at": stored_time(now),
        "state": State.PENDING.value,
        "at": stored_time(now),
        "attempts": 0,
        "declined": 0,
        "detail": "",
        "unanswered": 0,
        "arrived_at": None,
    }
