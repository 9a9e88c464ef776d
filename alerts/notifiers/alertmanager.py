"""Alertmanager, by its API v2: labels that stay the same while an incident lasts, sent again with each sweep.

The label set *is* the alert: where a label changes, Alertmanager sees a new alert beside the old one. So
labels hold what hardly changes, annotations everything else. `region` is the claimants' region, or
`multiple`: a third claimant from a third region changes nothing. `severity` is there because routing trees
need it; if it rises, the alert goes on under the new one, and the old one ends by itself at its `endsAt`.

A firing alert carries an `endsAt` of its own, well after the next sweep. Without one Alertmanager takes
its `resolve_timeout` (5 minutes if nobody changed it), and sweeps that are further apart would resolve and
fire in turns. What is over is ended at once, by an `endsAt` of now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from pydantic import SecretStr

from alerts.models import Incident, Notification, Status
from alerts.notifiers import incident_text as wording
from alerts.notifiers.http import NO_OPTIONS, CallOptions, completed, deliver_message
from alerts.sender import PLAIN_SENDER, Sender
from auditor.values.text import for_log, listed_within, minute, timestamp

ALERTNAME = "wgaudit"
TEST_ALERTNAME = "wgaudit-test"
MULTIPLE = "multiple"
"""The `region` of an incident whose claimants are not in one region."""
KEEP = 3600.0
"""Seconds that an alert outlives the last sweep that sent it, unless it is resolved before."""
ANNOTATION = 2000
"""Characters of an annotation. Alertmanager itself sets no limit; what it passes them on to does."""

_PATH = "/api/v2/alerts"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One Alertmanager, by its base URL, with or without the API's path. It may hold a password: a secret."""

    name: str
    url: SecretStr
    timeout: float = 10.0
    max_per_message: int = 100
    sums_up: ClassVar[bool] = False
    keep: float = KEEP
    sender: Sender = field(default=PLAIN_SENDER, repr=False)
    clock: Callable[[], datetime] = _now
    pause: float = 0.0
    options: CallOptions = NO_OPTIONS

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Build the list of alerts; see `Notifier.payload`. Its times are those of this call."""
        now = self.clock()
        alerts = [self._alert(notification, now) for notification in notifications]
        return json.dumps(alerts, ensure_ascii=False, separators=(",", ":")).encode()

    async def send(self, payload: bytes) -> str:
        """Send; see `Notifier.send`. A refusal with a 2xx is tried again: the next sweep sends it anew in any case."""
        url = completed(self.url, _PATH)
        answer = await deliver_message(url, payload, timeout=self.timeout, options=self.options, final=False)
        return answer.detail

    def _alert(self, notification: Notification, now: datetime) -> dict[str, object]:
        incident = notification.incident
        over = notification.status is Status.RESOLVED
        # A clock that was set back must not give an alert that ends before it starts.
        since = min(incident.since or now, now)
        return {
            "labels": _labels(notification),
            "annotations": self._annotations(notification),
            "startsAt": timestamp(since),
            "endsAt": timestamp(now if over else now + timedelta(seconds=self.keep)),
        }

    def _annotations(self, notification: Notification) -> dict[str, str]:
        incident = notification.incident
        leads = self.sender.leads(notification.incident, notification.status)
        annotations = {
            "summary": wording.headline(notification, 300),
            "description": " ".join(part for part in (incident.summary, incident.guess) if part),
            "reason": wording.REASONS[notification.reason],
            "nodes": wording.names(incident.nodes, ANNOTATION),
            "regions": wording.names(incident.regions, ANNOTATION),
            "routing": _routing(incident),
            "answers": "; ".join(wording.answered(incident)),
            "disagreement": incident.disagreement,
            "drained": "; ".join(wording.drained(incident)),
            "follows": wording.follows(incident, ANNOTATION) if incident.follows else "",
            "not_seen_since": minute(incident.not_seen_since) if incident.not_seen_since else "",
            "flapping_since": minute(incident.flapping_since) if incident.flapping_since else "",
            "explain": leads.explain,
            "affected": leads.affected,
            "plan": leads.plan,
            "restore": leads.restore,
            "runbook": self.sender.documentation(incident),
            "runbook_url": self.sender.link(incident),
            "version": self.sender.version,
        }
        return {key: for_log(value, most=ANNOTATION) for key, value in annotations.items() if value}


def _labels(notification: Notification) -> dict[str, str]:
    """Build the labels, which hardly change while the incident lasts; without empty ones, as in Alertmanager."""
    incident = notification.incident
    regions = incident.regions
    labels = {
        "alertname": TEST_ALERTNAME if wording.is_test(notification) else ALERTNAME,
        "check": wording.name(incident.check),
        "address": incident.address,
        "subject": wording.name(incident.subject) if not incident.address else "",
        "region": wording.name(regions[0]) if len(regions) == 1 else MULTIPLE if regions else "",
        "severity": incident.severity.value,
        "fingerprint": incident.fingerprint,
        "mesh": wording.name(incident.mesh) if incident.mesh else "",
    }
    return {key: value for key, value in labels.items() if value}


def _routing(incident: Incident) -> str:
    busiest = sorted(incident.routing, key=lambda pick: (-pick[1], pick[0]))
    picks = [f"{wording.name(pick[0])}: {wording.observers(pick, 200)}" for pick in busiest]
    return listed_within(picks, ANNOTATION) if picks else ""
