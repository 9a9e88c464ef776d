"""PURE: matching and expiry of silences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from alerts.models import Incident, Silence


def muting(incident: Incident, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """Find the silence that mutes the incident now; of several, the one that ends last."""
    found = [silence for silence in silences if active(silence, now) and matches(silence, incident)]
    return max(found, key=lambda silence: (silence.ends_at, silence.ident), default=None)


def active(silence: Silence, now: datetime) -> bool:
    """Tell whether the silence holds at this time: from its start on, up to but without its end."""
    return silence.starts_at <= now < silence.ends_at


def matches(silence: Silence, incident: Incident) -> bool:
    """Tell whether all matchers that the silence sets match the incident.

    Nodes and regions match only if they name *all* that the incident involves: a silence for one node
    does not mute its collision with another. A silence without a matcher matches nothing.
    """
    matched = []
    if silence.checks:
        matched.append(incident.check in silence.checks)
    if silence.addresses:
        matched.append(bool(incident.address) and incident.address in silence.addresses)
    if silence.nodes:
        matched.append(bool(incident.nodes) and set(incident.nodes) <= silence.nodes)
    if silence.regions:
        matched.append(bool(incident.regions) and set(incident.regions) <= silence.regions)
    return bool(matched) and all(matched)


def expired(silence: Silence, now: datetime) -> Silence:
    """End the silence now; one that ended before is unchanged."""
    return silence if silence.ends_at <= now else replace(silence, ends_at=max(now, silence.starts_at))
