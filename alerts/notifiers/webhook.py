"""Webhook to any HTTP endpoint: versioned JSON, `wgaudit.alert/1`, signed so that the receiver knows the sender.

Headers, beside `Content-Type: application/json`:

- `Idempotency-Key`: hash of the body. The same key again is the same message again, after an answer was
  lost on the way.
- `webhook-id` (the same hash), `webhook-timestamp` (seconds since 1970) and `webhook-signature`, as
  standardwebhooks.com has them: `v1,` and the base64 HMAC-SHA256 over id, timestamp and body with full stops between
  them. The key of a secret `whsec_…` is what its base64 stands for; another secret is the key as it is.
- `X-Wgaudit-Timestamp`: seconds since 1970, when it was sent.
- `X-Wgaudit-Signature`: `v1=` and the hex HMAC-SHA256 over the timestamp, a full stop and the body, by the
  shared secret; absent without one. A receiver computes it over the bytes as they came, compares in
  constant time, and refuses timestamps more than five minutes off.

With a template, the body is what that makes of the message's values, for services that want a form of their own.

Any 2xx is acceptance, unless the body is a known refusal. `python -m alerts.notifiers.webhook` prints the JSON
Schema, as in docs/alert-v1.schema.json.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, SecretStr, WithJsonSchema

from alerts.models import Incident, Notification, NotifyReason, Status
from alerts.notifiers import incident_text as wording
from alerts.notifiers.acceptance import Meaning
from alerts.notifiers.http import NO_OPTIONS, CallOptions, deliver_message
from alerts.notifiers.message_templates import BodyTemplate
from alerts.sender import PLAIN_SENDER, Leads, Sender
from auditor.errors import DeliveryError, UnusableTemplate
from auditor.values.schema import schema_document
from auditor.values.text import for_log, timestamp

SCHEMA: Literal["wgaudit.alert/1"] = "wgaudit.alert/1"
LISTED = 1000
"""Entries of each list in an incident; `nodes_total` and `routing_total` count the whole."""
STANDARD_PREFIX = "whsec_"
"""Before the base64 of a secret, by the scheme of standardwebhooks.com."""
TEXT = 4000
"""Characters of a summary."""

Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"Z$"}, mode="serialization"),
]


class _AlertPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RouteV1(_AlertPart):
    """Observers that route the address to one place."""

    to: str = Field(description='a node, or a key that no registration knows, or "nobody"')
    observers: int
    regions: dict[str, int] = Field(description='observers by their own region; "unknown" where it is')


class AnsweredV1(_AlertPart):
    """Observers that met one server at the address, asked over the mesh, or that got no answer."""

    source: str = Field(description="what was asked: nats or ssh-host-key; more may be added")
    node: str | None = Field(description="node that the server is tied to; null: none, or no answer")
    server: str | None = Field(description="what the server calls itself: a claim; null: no answer")
    failure: str | None = Field(description="why there was no answer, in words; null: there was one")
    observers: int
    regions: dict[str, int] = Field(description='observers by their own region; "unknown" where it is')


class DrainedNodeV1(_AlertPart):
    """A claimant that is out of production."""

    node: str
    words: str = Field(description="since when, by whom, by what means and why, in words")


class FollowsV1(_AlertPart):
    """What else was found that follows from it."""

    check: str
    count: int


class IncidentV1(_AlertPart):
    """One cause with all that follows from it."""

    fingerprint: str = Field(description="the incident's identity across sweeps; take it as the dedup key")
    check: str
    severity: Literal["critical", "error", "warning", "info"]
    subject: str
    address: str | None = Field(description="canonical prefix, such as 10.0.0.1/32; null: not about one")
    summary: str
    guess: str | None = Field(
        description="the cause that is guessed, in words that say how sure it is; null where there is none"
    )
    nodes: list[str] = Field(description=f"the claimants, sorted; at most {LISTED:,}")
    nodes_total: int
    regions: list[str]
    routing: list[RouteV1] = Field(description=f"the busiest first; at most {LISTED:,}")
    routing_total: int
    follows: list[FollowsV1]
    since: Timestamp | None
    not_seen_since: Timestamp | None = Field(
        description="set while a gap hides whether it still stands, and while it flaps and is away"
    )
    flapping_since: Timestamp | None = Field(default=None, description="since when it comes and goes")
    explain: str = Field(description="the command that tells its whole story")
    docs: str
    mesh: str | None = Field(default=None, description="name of the mesh; null: it has none")
    affected: str | None = Field(
        default=None, description="the command that lists all whom it concerns; null: none, or it is over"
    )
    plan: str | None = Field(
        default=None, description="the command that plans its repair; null: none, or it is over"
    )
    restore: str | None = Field(
        default=None,
        description="the command that puts a lost registration back; null: none is lost, or it is over",
    )
    answers: list[AnsweredV1] = Field(
        default=[], description="who answered at the address, failures last; empty where nobody was asked"
    )
    disagreement: str | None = Field(
        default=None, description="answers that the routes do not explain, in words; null: there are none"
    )
    drained: list[DrainedNodeV1] = Field(default=[], description="claimants that are out of production")


class NotificationV1(_AlertPart):
    """One thing that somebody is told."""

    test: bool = Field(description='true: "TEST - not an incident"')
    reason: Literal[
        "first-notification", "flapping", "claimants-changed", "severity-raised", "repeat-interval-elapsed", "resolved",
        "test",
    ]  # fmt: skip
    status: Literal["firing", "resolved"]
    at: Timestamp | None = Field(
        description="when it was planned; with the fingerprint it names this telling"
    )
    headline: str = Field(description="the whole in one line; a test's begins with TEST")
    incident: IncidentV1


class MessageV1(_AlertPart):
    """What one call carries."""

    schema_: Literal["wgaudit.alert/1"] = Field(alias="schema", serialization_alias="schema")
    notifications: list[NotificationV1]
    version: str | None = Field(default=None, description="version of wgaudit; null where nobody said it")


@dataclass(frozen=True, slots=True)
class Webhook:
    """One HTTP endpoint. Its URL and the signing secret are secrets."""

    name: str
    url: SecretStr
    secret: SecretStr | None = None
    timeout: float = 10.0
    max_per_message: int = 20
    sums_up: ClassVar[bool] = False
    clock: Callable[[], float] = time.time
    pause: float = 0.0
    sender: Sender = field(default=PLAIN_SENDER, repr=False)
    options: CallOptions = NO_OPTIONS
    template: BodyTemplate | None = None

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Build the message; see `Notifier.payload`. The same notifications give the same bytes."""
        message = MessageV1(
            schema=SCHEMA,
            notifications=[_notification(item, self.sender) for item in notifications],
            version=for_log(self.sender.version, most=TEXT) or None,
        )
        if self.template is None:
            return message.model_dump_json(by_alias=True).encode()
        try:
            return self.template.rendered(message.model_dump(mode="json", by_alias=True))
        except UnusableTemplate as error:
            raise DeliveryError(
                f"no message could be made by the template: {error}", permanent=True
            ) from None

    async def send(self, payload: bytes) -> str:
        """Send; see `Notifier.send`."""
        secrets = () if self.secret is None else (self.secret,)
        page = (
            Meaning.TAKEN
        )  # a 2xx of one's own endpoint is a yes whatever its body says: that is its contract
        if self.template is not None:
            payload = self.template.filled(payload)
            secrets = (*secrets, *self.template.values.values())
            page = Meaning.UNCLEAR
        answer = await deliver_message(
            self.url,
            payload,
            timeout=self.timeout,
            options=self.options,
            page=page,
            headers=self._headers(payload),
            secrets=secrets,
        )
        return answer.detail

    def _headers(self, payload: bytes) -> dict[str, str]:
        stamp = str(int(self.clock()))
        ident = hashlib.sha256(payload).hexdigest()
        headers = {"Idempotency-Key": ident, "X-Wgaudit-Timestamp": stamp}
        if self.secret is not None:
            headers["X-Wgaudit-Signature"] = signature(self.secret, stamp, payload)
            headers |= {
                "webhook-id": ident,
                "webhook-timestamp": stamp,
                "webhook-signature": standard_signature(self.secret, ident, stamp, payload),
            }
        return headers


def standard_signature(secret: SecretStr, ident: str, timestamp: str, body: bytes) -> str:
    """Sign for the header `webhook-signature`. Raises `ValueError` for a secret `whsec_` without base64 behind it."""
    signed = hmac.new(_standard_key(secret), f"{ident}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed.digest()).decode()}"


def _standard_key(secret: SecretStr) -> bytes:
    text = secret.get_secret_value()
    if not text.startswith(STANDARD_PREFIX):
        return text.encode()
    return base64.b64decode(text.removeprefix(STANDARD_PREFIX), validate=True)


def signature(secret: SecretStr, timestamp: str, body: bytes) -> str:
    """Sign for the header `X-Wgaudit-Signature`."""
    key = secret.get_secret_value().encode()
    return f"v1={hmac.new(key, timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def _notification(item: Notification, sender: Sender) -> NotificationV1:
    return NotificationV1(
        test=item.reason is NotifyReason.TEST,
        reason=item.reason.value,
        status="firing" if item.status is Status.FIRING else "resolved",
        at=item.at,
        headline=wording.headline(item, TEXT),
        incident=_incident(
            item.incident, sender.leads(item.incident, item.status), sender.documentation(item.incident)
        ),
    )


def _incident(incident: Incident, leads: Leads, docs: str) -> IncidentV1:
    busiest = sorted(incident.routing, key=lambda pick: (-pick[1], pick[0]))
    return IncidentV1(
        fingerprint=incident.fingerprint,
        check=wording.name(incident.check),
        severity=incident.severity.value,
        subject=for_log(incident.subject, most=TEXT),
        address=incident.address or None,
        summary=for_log(incident.summary, most=TEXT),
        guess=for_log(incident.guess, most=TEXT) or None,
        nodes=[_whole(node) for node in incident.nodes[:LISTED]],
        nodes_total=len(incident.nodes),
        regions=[_whole(region) for region in incident.regions[:LISTED]],
        routing=[
            RouteV1(
                to=_whole(to),
                observers=observers,
                regions={_whole(region) or "unknown": count for region, count in regions[:LISTED]},
            )
            for to, observers, regions in busiest[:LISTED]
        ],
        routing_total=len(busiest),
        follows=[FollowsV1(check=wording.name(check), count=count) for check, count in incident.follows],
        since=incident.since,
        not_seen_since=incident.not_seen_since,
        flapping_since=incident.flapping_since,
        explain=for_log(leads.explain, most=TEXT),
        docs=for_log(docs, most=TEXT),
        mesh=_whole(incident.mesh) or None,
        affected=for_log(leads.affected, most=TEXT) or None,
        plan=for_log(leads.plan, most=TEXT) or None,
        restore=for_log(leads.restore, most=TEXT) or None,
        answers=[
            AnsweredV1(
                source=wording.name(item.source),
                node=_whole(item.node) or None,
                server=_whole(item.said) or None,
                failure=wording.name(item.failure) or None,
                observers=item.observers,
                regions={_whole(region) or "unknown": count for region, count in item.regions[:LISTED]},
            )
            for item in incident.answers
        ],
        disagreement=for_log(incident.disagreement, most=TEXT) or None,
        drained=[
            DrainedNodeV1(node=_whole(node), words=for_log(words, most=TEXT))
            for node, words in incident.drained[:LISTED]
        ],
    )


def _whole(name: str) -> str:
    # Programs match names: they are not cut where people's eyes would want it.
    return for_log(name, most=TEXT)


def schema_text() -> str:
    """Write the JSON Schema of the message, as docs/alert-v1.schema.json holds it."""
    return schema_document(MessageV1, SCHEMA)


if __name__ == "__main__":
    sys.stdout.write(schema_text())
