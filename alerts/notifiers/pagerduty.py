"""PagerDuty, by its Events API v2: one event a notification, the fingerprint as its dedup_key."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from pydantic import SecretStr

from alerts.models import Incident, Notification, Status
from alerts.notifiers import incident_text as wording
from alerts.notifiers.http import NO_OPTIONS, CallOptions, completed, deliver_message
from alerts.sender import PLAIN_SENDER, Sender
from auditor.values.text import for_log, harmless, minute

# PagerDuty's reference for the Events API v2.
EVENT_BYTES = 512_000
"""Bytes of the whole event."""
SUMMARY = 1024
"""Characters of `payload.summary`."""
FIELD = 255
"""Characters of source, component, group and class. Not published for these; it is the dedup_key's limit."""
COMMAND = 1000
"""Characters of a command in the details."""

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
    sender: Sender = field(default=PLAIN_SENDER, repr=False)
    pause: float = 0.5
    """A routing key takes about 120 events a minute."""
    options: CallOptions = NO_OPTIONS
    sums_up: ClassVar[bool] = False

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
                "custom_details": _details(notification, shown, self.sender),
            },
        }
        if link := self.sender.link(incident):
            event["links"] = [{"href": link, "text": f"What {incident.check} means"}]
        return event


def _source(incident: Incident) -> str:
    """Name the event's source, the first claimant. PagerDuty refuses an empty one, and a node's name may be empty."""
    return (for_log(incident.nodes[0], most=FIELD).strip() if incident.nodes else "") or "wgaudit"


def _details(notification: Notification, shown: int, sender: Sender) -> dict[str, object]:
    incident = notification.incident
    leads = sender.leads(notification.incident, notification.status)
    details: dict[str, object] = {
        "reason": notification.reason.value,
        "mesh": wording.name(incident.mesh) if incident.mesh else "",
        "run": _whole(leads.explain),
        "who_is_affected": _whole(leads.affected),
        "repair": _whole(leads.plan or leads.restore),
        "what": for_log(incident.summary, most=2000),
        "address": incident.address,
        "nodes": _some(incident.nodes, shown, wording.name),
        "regions": _some(incident.regions, shown, wording.name),
        "routed": _some(_busiest(incident), shown, _routed),
        "answered": [for_log(line, most=1000) for line in wording.answered(incident)],
        "but": for_log(incident.disagreement, most=1000),
        "out_of_production": _some(wording.drained(incident), shown, lambda line: for_log(line, most=400)),
        "follows_from_it": wording.follows(incident, 1000) if incident.follows else "",
        "cause_a_guess": for_log(incident.guess, most=1000),
        "since": minute(incident.since) if incident.since is not None else "",
        "not_seen_since": minute(incident.not_seen_since) if incident.not_seen_since is not None else "",
        "comes_and_goes_since": minute(incident.flapping_since)
        if incident.flapping_since is not None
        else "",
        "documentation": for_log(sender.documentation(incident), most=COMMAND),
        "wgaudit": for_log(sender.version, most=FIELD),
    }
    if wording.is_test(notification):
        details = {"test": wording.TEST_MARK, **details}
    return {key: value for key, value in details.items() if value}


def _whole(command: str) -> str:
    """Leave out a command that cannot stand as it is: half of one, or a changed one, is worse than none."""
    return command if len(command) <= COMMAND and harmless(command) else ""


_Pick = tuple[str, int, tuple[tuple[str, int], ...]]
_Item = TypeVar("_Item")


def _busiest(incident: Incident) -> list[_Pick]:
    return sorted(incident.routing, key=lambda pick: (-pick[1], pick[0]))


def _routed(pick: _Pick) -> str:
    return f"to {wording.name(pick[0])}: {wording.observers(pick, 400)}"


def _some(items: Sequence[_Item], shown: int, word: Callable[[_Item], str]) -> list[str]:
    """Word the first so many items, and count the rest."""
    left = len(items) - shown
    return [*map(word, items[:shown]), *([f"… and {left:,} more"] if left > 0 else [])]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
