"""Stored form of incidents, standing incidents and silences: versioned JSON, apart from the values.

The text is ASCII, so any name that Consul or a node came up with can be stored.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, TypeAdapter, ValidationError

from alerts.models import Answered, Incident, Silence, Standing
from auditor.errors import StateError
from auditor.values.findings import Severity
from auditor.values.text import stored_time

INCIDENT: Literal["wgaudit.incident/1"] = "wgaudit.incident/1"
STANDING: Literal["wgaudit.standing/1"] = "wgaudit.standing/1"
SILENCE: Literal["wgaudit.silence/1"] = "wgaudit.silence/1"


def _in_order(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


Time = Annotated[datetime, PlainSerializer(stored_time, return_type=str, when_used="json")]
Names = Annotated[list[str], BeforeValidator(_in_order)]
"""A set of names: sorted, so that the same set is the same text."""


class _StoredForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class _IncidentForm(_StoredForm):
    form: Literal["wgaudit.incident/1"] = INCIDENT
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
    since: Time | None
    not_seen_since: Time | None
    flapping_since: Time | None = None
    mesh: str = ""
    answers: tuple[Answered, ...] = ()
    disagreement: str = ""
    drained: tuple[tuple[str, str], ...] = ()


class _FlappingForm(_StoredForm):
    since: Time
    until: Time


class _StandingForm(_StoredForm):
    form: Literal["wgaudit.standing/1"] = STANDING
    incident: _IncidentForm
    first_seen: Time
    last_seen: Time
    last_sweep: int
    datacenters: Names
    nodes: Annotated[list[tuple[str, str]], BeforeValidator(_in_order)]
    everybody: bool
    flapping: _FlappingForm | None = None
    away_since: Time | None = None


class _SilenceForm(_StoredForm):
    form: Literal["wgaudit.silence/1"] = SILENCE
    ident: str
    starts_at: Time
    ends_at: Time
    created_by: str
    comment: str
    checks: Names
    addresses: Names
    nodes: Names
    regions: Names


_Value = TypeVar("_Value")
_INCIDENT, _STANDING, _SILENCE = TypeAdapter(Incident), TypeAdapter(Standing), TypeAdapter(Silence)


def write_incident(incident: Incident) -> str:
    """Write an incident: the same text for the same incident."""
    return _write(_IncidentForm, incident)


def read_incident(text: str) -> Incident:
    """Read an incident that was written. Raises `StateError`."""
    return _read(_IncidentForm, _INCIDENT, text)


def write_standing(standing: Standing) -> str:
    """Write a standing incident: the same text for the same value."""
    return _write(_StandingForm, standing)


def read_standing(text: str) -> Standing:
    """Read a standing incident that was written. Raises `StateError`."""
    return _read(_StandingForm, _STANDING, text)


def write_silence(silence: Silence) -> str:
    """Write a silence: the same text for the same silence."""
    return _write(_SilenceForm, silence)


def read_silence(text: str) -> Silence:
    """Read a silence that was written. Raises `StateError`."""
    return _read(_SilenceForm, _SILENCE, text)


def write_place(*parts: str) -> str:
    """Write a datacenter, or a datacenter and a node's name in it, as one text."""
    return json.dumps(parts)


@lru_cache(maxsize=20_000)  # a watch reads those of thousands of nodes before each page
def read_place(text: str) -> tuple[str, ...]:
    """Read a place that was written: one part for a datacenter, two for a node. Raises `StateError`."""
    try:
        return tuple(map(str, json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        raise StateError("the state database holds a record that cannot be read (place)") from None


def _write(form: type[_StoredForm], value: object) -> str:
    return json.dumps(form.model_validate(value).model_dump(mode="json"))


def _read(form: type[_StoredForm], value: TypeAdapter[_Value], text: str) -> _Value:
    try:
        # The adapter passes over `form`, which the values do not have.
        return value.validate_python(form.model_validate(json.loads(text)).model_dump())
    except (ValueError, RecursionError) as error:
        what = f"{error.errors()[0]['loc']}" if isinstance(error, ValidationError) else "not JSON"
        raise StateError(f"the state database holds a record that cannot be read ({what})") from None
