"""How incidents, what stands and silences are written down: a versioned JSON form of its own, apart from the values.

The text is ASCII, so any name that Consul or a node came up with can be stored.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alerts.models import Incident, Silence, Standing
from auditor.errors import StateError
from auditor.values.models import NodeId, Severity
from auditor.values.text import stored_time

INCIDENT = "wgaudit.incident/1"
STANDING = "wgaudit.standing/1"
SILENCE = "wgaudit.silence/1"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


_Form = TypeVar("_Form", bound=_Record)


class _Incident(_Record):
    form: Literal["wgaudit.incident/1"]
    fingerprint: str
    check: str
    severity: Severity
    subject: str
    address: str
    summary: str
    guess: str
    nodes: tuple[str, ...]
    regions: tuple[str, ...]
    routing: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...]
    follows: tuple[tuple[str, int], ...]
    since: datetime | None
    not_seen_since: datetime | None

    def value(self) -> Incident:
        return Incident(
            fingerprint=self.fingerprint,
            check=self.check,
            severity=self.severity,
            subject=self.subject,
            address=self.address,
            summary=self.summary,
            guess=self.guess,
            nodes=self.nodes,
            regions=self.regions,
            routing=self.routing,
            follows=self.follows,
            since=self.since,
            not_seen_since=self.not_seen_since,
        )


class _Standing(_Record):
    form: Literal["wgaudit.standing/1"]
    incident: _Incident
    first_seen: datetime
    last_seen: datetime
    last_sweep: int
    datacenters: frozenset[str]
    nodes: frozenset[tuple[str, str]]
    everybody: bool


class _Silence(_Record):
    form: Literal["wgaudit.silence/1"]
    ident: str
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    checks: frozenset[str]
    addresses: frozenset[str]
    nodes: frozenset[str]
    regions: frozenset[str]


def write_incident(incident: Incident) -> str:
    """The incident as text, the same text for the same incident."""
    return json.dumps(_incident(incident))


def read_incident(text: str) -> Incident:
    """The incident that was written. Raises `StateError`."""
    return _read(_Incident, text).value()


def write_standing(standing: Standing) -> str:
    """What stands as text, the same text for the same value."""
    document = {
        "form": STANDING,
        "incident": _incident(standing.incident),
        "first_seen": stored_time(standing.first_seen),
        "last_seen": stored_time(standing.last_seen),
        "last_sweep": standing.last_sweep,
        "datacenters": sorted(standing.datacenters),
        "nodes": sorted([node.datacenter, node.name] for node in standing.nodes),
        "everybody": standing.everybody,
    }
    return json.dumps(document)


def read_standing(text: str) -> Standing:
    """What stood when it was written. Raises `StateError`."""
    record = _read(_Standing, text)
    return Standing(
        incident=record.incident.value(),
        first_seen=record.first_seen,
        last_seen=record.last_seen,
        last_sweep=record.last_sweep,
        datacenters=record.datacenters,
        nodes=frozenset(NodeId(*node) for node in record.nodes),
        everybody=record.everybody,
    )


def write_silence(silence: Silence) -> str:
    """The silence as text, the same text for the same silence."""
    document = {
        "form": SILENCE,
        "ident": silence.ident,
        "starts_at": stored_time(silence.starts_at),
        "ends_at": stored_time(silence.ends_at),
        "created_by": silence.created_by,
        "comment": silence.comment,
        "checks": sorted(silence.checks),
        "addresses": sorted(silence.addresses),
        "nodes": sorted(silence.nodes),
        "regions": sorted(silence.regions),
    }
    return json.dumps(document)


def read_silence(text: str) -> Silence:
    """The silence that was written. Raises `StateError`."""
    record = _read(_Silence, text)
    return Silence(
        ident=record.ident,
        starts_at=record.starts_at,
        ends_at=record.ends_at,
        created_by=record.created_by,
        comment=record.comment,
        checks=record.checks,
        addresses=record.addresses,
        nodes=record.nodes,
        regions=record.regions,
    )


def write_place(*parts: str) -> str:
    """A datacenter, or a datacenter and a node's name in it, as one text."""
    return json.dumps(parts)


def read_place(text: str) -> tuple[str, ...]:
    """One part for a datacenter, two for a node."""
    return tuple(json.loads(text))


def _incident(incident: Incident) -> dict[str, object]:
    return {
        "form": INCIDENT,
        "fingerprint": incident.fingerprint,
        "check": incident.check,
        "severity": incident.severity.value,
        "subject": incident.subject,
        "address": incident.address,
        "summary": incident.summary,
        "guess": incident.guess,
        "nodes": incident.nodes,
        "regions": incident.regions,
        "routing": incident.routing,
        "follows": incident.follows,
        "since": incident.since and stored_time(incident.since),
        "not_seen_since": incident.not_seen_since and stored_time(incident.not_seen_since),
    }


def _read(form: type[_Form], text: str) -> _Form:
    try:
        return form.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:
        what = f"{error.errors()[0]['loc']}" if isinstance(error, ValidationError) else "not JSON"
        raise StateError(f"the state database holds a record that cannot be read ({what})") from None
