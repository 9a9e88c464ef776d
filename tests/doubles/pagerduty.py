"""PagerDuty's Events API v2, as its published rules have it."""

from __future__ import annotations

import json
from typing import Any

from tests.doubles.server import Call, Double, Reply

ROUTING_KEY = "R0" + "k" * 30
EVENT_BYTES = 512_000
_FIELDS = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}
_PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


class Refused(Exception):
    """What is wrong with the event."""


class PagerDutyDouble(Double):
    """Takes what PagerDuty takes. `events`: those it took, decoded; `open`: dedup_keys that stand.

    `keys`: the routing keys that it knows. A resolve under another key than its trigger's is refused: the
    real one takes it and does nothing, which would hide the mistake.
    """

    def __init__(self, *, keys: tuple[str, ...] = (ROUTING_KEY,), **more: Any) -> None:
        super().__init__(**more)
        self.keys = keys
        self.events: list[dict[str, Any]] = []
        self.owners: dict[str, str] = {}
        self.open: dict[str, dict[str, Any]] = {}

    def answer(self, call: Call) -> Reply:
        if call.path != "/v2/enqueue":
            return Reply(404, b"not found")
        try:
            event = checked(call.body)
            self._take(event)
        except Refused as refused:
            said = {"status": "invalid event", "message": "Event object is invalid", "errors": [str(refused)]}
            return Reply(400, json.dumps(said).encode())
        said = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
        return Reply(202, json.dumps(said).encode())

    def _take(self, event: dict[str, Any]) -> None:
        key, dedup_key = event["routing_key"], event["dedup_key"]
        if key not in self.keys:
            raise Refused("'routing_key' is not known")
        if event["event_action"] == "trigger":
            self.owners[dedup_key] = key
            self.open[dedup_key] = event
        elif self.owners.get(dedup_key, key) != key:
            raise Refused("'dedup_key' was triggered under another routing_key")
        elif event["event_action"] == "resolve":
            self.open.pop(dedup_key, None)
        self.events.append(event)


def checked(body: bytes) -> dict[str, Any]:
    """The event, if PagerDuty would take it. Raises `Refused`."""
    if len(body) > EVENT_BYTES:
        raise Refused("the event is larger than 512,000 bytes")
    try:
        decoded = json.loads(body)
    except ValueError:
        raise Refused("not JSON") from None
    if not isinstance(decoded, dict):
        raise Refused("not an object")
    event: dict[str, Any] = decoded
    _must(set(event) <= _FIELDS, "unknown fields")
    key = event.get("routing_key")
    _must(isinstance(key, str) and len(key) == 32, "'routing_key' has not 32 characters")
    _must(event.get("event_action") in ("trigger", "acknowledge", "resolve"), "'event_action' is unknown")
    dedup_key = event.get("dedup_key")
    _must(isinstance(dedup_key, str) and 1 <= len(dedup_key) <= 255, "'dedup_key' is missing or too long")
    if event["event_action"] == "trigger" or "payload" in event:
        _check_payload(event.get("payload"))
    for link in event.get("links", []):
        _must(str(link.get("href", "")).startswith(("https://", "http://")), "a link's href is no URL")
    return event


def _check_payload(payload: Any) -> None:
    _must(
        isinstance(payload, dict) and not set(payload) - _PAYLOAD,
        "'payload' is missing or has unknown fields",
    )
    summary = payload.get("summary")
    _must(isinstance(summary, str) and 1 <= len(summary) <= 1024, "'payload.summary' is missing or too long")
    _must(isinstance(payload.get("source"), str) and payload["source"] != "", "'payload.source' is missing")
    _must(
        payload.get("severity") in ("critical", "error", "warning", "info"), "'payload.severity' is unknown"
    )
    _must(isinstance(payload.get("custom_details", {}), dict), "'payload.custom_details' is no object")
    _must(
        all(isinstance(payload.get(field, ""), str) for field in ("component", "group", "class")),
        "'payload' has a field that is no text",
    )


def _must(good: bool, why: str) -> None:
    if not good:
        raise Refused(why)
