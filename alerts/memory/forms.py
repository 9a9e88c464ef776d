"""Stored forms of incidents, standing incidents, silences and places: versioned JSON."""

from __future__ import annotations

import json
from functools import lru_cache

from alerts.models import Incident, Silence, Standing
from auditor.values.models import NodeId
from auditor.values.stored_values import StoredForm, unreadable

INCIDENT = StoredForm("wgaudit.incident/1", Incident)
STANDING = StoredForm("wgaudit.standing/1", Standing, incident=INCIDENT)
SILENCE = StoredForm("wgaudit.silence/1", Silence)


def write_place(*parts: str) -> str:
    """Write a datacenter, or a datacenter and a node's name in it, as one text."""
    return json.dumps(parts)


@lru_cache(maxsize=20_000)  # a watch reads those of thousands of nodes before each page
def read_place(text: str) -> tuple[str, ...]:
    """Read a place that was written: one part for a datacenter, two for a node. Raises `StateError`."""
    try:
        return tuple(map(str, json.loads(text)))
    except (ValueError, TypeError, RecursionError) as error:
        raise unreadable(error) from None


def read_node(text: str) -> NodeId:
    """Read a node's place that was written. Raises `StateError`."""
    place = read_place(text)
    if len(place) != 2:
        raise unreadable(ValueError("a place that is no node's"))
    return NodeId(*place)
