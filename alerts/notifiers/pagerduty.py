"""PagerDuty, by its Events API v2: one event a notification, the fingerprint as its dedup_key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from alerts.models import Incident, Notification, Status
from alerts.notifiers import incident_text as wording
from alerts.notifiers.http import NO_OPTIONS, CallOptions, completed, deliver_message
from auditor.values.text import for_log, minute

# PagerDuty's reference for the Events API v2.
EVENT_BYTES = 512_000
"""Bytes of the whole event."""
SUMMARY = 1024
"""Characters of `payload.summary`."""
FIELD = 255
"""Characters of source, component, group and class. Not published for these; it is the dedup_key's limit."""

_PATH = "/v2/enqueue"
_ROUTING_KEY_BYTES = 100
"""Size of the routing key that `send` puts into the event: 32 characters with their name and quotes."""
_LISTED = (2000, 400, 80, 16)
"""Entries of each list in the details; the largest that lets the event fit."""


@dataclass(frozen=True, slots=True)
class PagerDuty:
    """One PagerDuty service, by the routing key of its integration: a secret that is put in on sending only."""

    name: str
    routing_key: SecretStr
    api: str = "https://events.pagerduty.com"
    """Base URL; `/v2/enqueue` follows, or as much of it as is not there yet."""
    timeout: float = 10.0
    docs_url: str = ""
    """URL under which people reach docs/findings.md; an event links to it. Empty: no link."""
    pause: float = 0.5
    """A routing key takes about 120 events a minute."""
    options: CallOptions = NO_OPTIONS

    @property
    def max_per_message(self) -> int:
        """Number of notifications in one call: an event is about one incident."""
        return 1

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Build the event without its routing key; see `Notifier.payload`."""
        (notification,) = notifications
        for shown in _LISTED:
            body = _json(self._event(notification, shown))
            if len(body) <= EVENT_BYTES - _ROUTING_KEY_BYTES:
                break
        return body

    async def send(self, payload: bytes) -> str:
        """Send; see `Notifier.send`. PagerDuty answers 202; a gateway in front of it may answer any 2xx."""
        event = {"routing_key": self.routing_key.get_secret_value(), **json.loads(payload)}
        answer = await deliver_message(
            completed(SecretStr(self.api), _PATH),
            _json(event),
            timeout=self.timeout,
            options=self.options,
            secrets=(self.routing_key,),
        )
        return answer.detail

    def _event(self, notification: Notification, shown: int) -> dict[str, object]:
        incident = notification.incident
        firing = notification.status is Status.FIRING
        event: dict[str, object] = {
            "event_action": "trigger" if firing else "resolve",
            # One for each incident, never one for the audit: a trigger on an acknowledged one is silent.
            "dedup_key": incident.fingerprint,
            "client": "wgaudit",
            "payload": {
                "summary": wording.headline(notification, SUMMARY),
                "source": _source(incident),
                "severity": incident.severity.value,
                "component": for_log(incident.subject, most=FIELD),
                "group": wording.names(incident.regions, FIELD),
                "class": for_log(incident.check, most=FIELD),
                "custom_details": _details(notification, shown),
            },
        }
        if self.docs_url:
            event["links"] = [
                {
                    "href": wording.documentation(incident, self.docs_url),
                    "text": f"What {incident.check} means",
                }
            ]
        return event


def _source(incident: Incident) -> str:
    """Name the event's source, the first claimant. PagerDuty refuses an empty one, and a node's name may be empty."""
    return (for_log(incident.nodes[0], most=FIELD).strip() if incident.nodes else "") or "wgaudit"


def _details(notification: Notification, shown: int) -> dict[str, object]:
    incident = notification.incident
    details: dict[str, object] = {
        "reason": notification.reason.value,
        "run": for_log(incident.explain, most=400),
        "what": for_log(incident.summary, most=2000),
        "address": incident.address,
        "nodes": _some([wording.name(node) for node in incident.nodes], shown),
        "regions": _some([wording.name(region) for region in incident.regions], shown),
        "routed": _some(_routed(incident), shown),
        "follows_from_it": wording.follows(incident, 1000) if incident.follows else "",
        "cause_a_guess": for_log(incident.guess, most=1000),
        "since": minute(incident.since) if incident.since is not None else "",
        "not_seen_since": minute(incident.not_seen_since) if incident.not_seen_since is not None else "",
        "comes_and_goes_since": minute(incident.flapping_since)
        if incident.flapping_since is not None
        else "",
        "documentation": for_log(incident.docs, most=FIELD),
    }
    if wording.is_test(notification):
        details = {"test": wording.TEST_MARK, **details}
    return {key: value for key, value in details.items() if value}


def _routed(incident: Incident) -> list[str]:
    busiest = sorted(incident.routing, key=lambda pick: (-pick[1], pick[0]))
    return [f"to {wording.name(pick[0])}: {wording.observers(pick, 400)}" for pick in busiest]


def _some(items: Sequence[str], shown: int) -> list[str]:
    left = len(items) - shown
    return [*items[:shown], f"… and {left:,} more"] if left > 0 else list(items)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
