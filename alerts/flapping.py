"""PURE: flapping incidents: one that comes back soon after its end is the same one, and ends once it stays away."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from alerts.models import Ended, Flapping, Log, Standing

SOON = timedelta(hours=1)
"""An incident that comes back within this time of its end is the same one."""


def with_flapping(
    standing: Mapping[str, Standing], log: Log, now: datetime, *, final: Collection[str]
) -> tuple[dict[str, Standing], dict[str, Ended]]:
    """Apply flapping to the standing incidents, and list the ended ones that are remembered.

    standing: incidents that this sweep shows or a gap hides. final: fingerprints of incidents whose end is no
    repair that may come undone; they do not wait.
    """
    stands = {mark: _standing(item, log, now) for mark, item in standing.items()}
    ended = {mark: item for mark, item in log.ended.items() if mark not in stands and now - item.at <= SOON}
    for mark, before in log.standing.items():
        if mark in stands:
            continue
        away_since = before.away_since or now
        flapping = before.flapping
        if flapping is not None and mark not in final and now - away_since < flapping.lasted:
            away = replace(before.incident, not_seen_since=before.incident.not_seen_since or before.last_seen)
            stands[mark] = replace(before, incident=away, away_since=away_since)
        elif mark not in final:
            ended[mark] = Ended(before.first_seen, now, _since(flapping))
    return stands, ended


def _standing(item: Standing, log: Log, now: datetime) -> Standing:
    before = log.standing.get(item.incident.fingerprint)
    if before is None:
        ended = log.ended.get(item.incident.fingerprint)
        if ended is None or now - ended.at > SOON:
            return item
        flapping = Flapping(ended.flapping_since or ended.at, now)
        same = replace(item.incident, since=ended.first_seen)
        return _marked(replace(item, incident=same, first_seen=ended.first_seen), flapping, None)
    if item.incident.not_seen_since is not None or before.flapping is None:
        return _marked(item, before.flapping, before.away_since)
    if before.away_since is not None:
        return _marked(item, Flapping(before.flapping.since, now), None)
    # A fight that shows in most sweeps is still one: a shorter time than that of a comeback is no steadiness.
    steady = now - before.flapping.until >= max(before.flapping.lasted, SOON)
    return _marked(item, None if steady else before.flapping, None)


def _marked(item: Standing, flapping: Flapping | None, away_since: datetime | None) -> Standing:
    incident = replace(item.incident, flapping_since=_since(flapping))
    return replace(item, incident=incident, flapping=flapping, away_since=away_since)


def _since(flapping: Flapping | None) -> datetime | None:
    return flapping.since if flapping is not None else None
