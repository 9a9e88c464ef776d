"""Silences: add one, list them, end one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from alerts.memory.memory_for_judging import read_silences
from alerts.models import Log, Silence
from alerts.silences import active, matches
from auditor.errors import UsageError
from auditor.service.alert_state import existing_state, existing_tables, opened_state, state_place
from auditor.settings.file import Config
from auditor.state.known_registrations import read_known_registrations
from auditor.state.operations import begin_operation
from auditor.values.addresses import Prefix, covers, format_prefix, network
from auditor.values.guide import INSTALLED, Guide
from auditor.values.models import Registration
from auditor.values.past_sweeps import OperationKind, PastOperation
from auditor.values.region_pattern import RegionPattern


@dataclass(frozen=True, slots=True)
class AddedSilence:
    """Silence that was stored, and what it does now."""

    silence: Silence
    muted: int
    """Standing incidents that it matches."""
    standing: int
    doubts: tuple[str, ...]
    """Names in it that nobody seems to have, one clause each."""


def add_silence(
    config: Config,
    starts_at: datetime,
    ends_at: datetime,
    created_by: str,
    comment: str,
    *,
    checks: Iterable[str] = (),
    addresses: Iterable[Prefix] = (),
    nodes: Iterable[str] = (),
    regions: Iterable[str] = (),
) -> AddedSilence:
    """Store a silence, and return it with what it does; create the state where there is none.

    All kinds of matchers that are given must match, and of each kind any. Raises `StateError`.
    """
    silence = Silence(
        ident=secrets.token_hex(4),
        starts_at=starts_at,
        ends_at=ends_at,
        created_by=created_by,
        comment=comment,
        checks=frozenset(checks),
        addresses=frozenset(addresses),
        nodes=frozenset(nodes),
        regions=frozenset(regions),
    )
    with opened_state(state_place(config)) as state:
        now = datetime.now(UTC)
        added = PastOperation(OperationKind.SILENCE_ADDED, now, created_by, silence.ident, ended_at=ends_at)
        with state.store.transaction():
            state.notifications.add_silence(silence)
            begin_operation(state.store, added)
        log = state.notifications.log()
        known = read_known_registrations(state.store)
        registered = [item.registration for item in known if item.gone is None]
    standing = [item.incident for item in log.standing.values()]
    muted = sum(matches(silence, incident) for incident in standing)
    return AddedSilence(silence, muted, len(standing), tuple(_doubts(config, silence, log, registered)))


def _doubts(config: Config, silence: Silence, log: Log, registered: Sequence[Registration]) -> Iterator[str]:
    """Say which of the silence's names nobody has, as far as the memory of alerted sweeps knows.

    registered: registrations as the last alerted sweep read them; empty where none were taken down.
    """
    incidents = [item.incident for item in log.standing.values()]
    seen = {*log.nodes, *log.unseen, *(item.node for item in registered)}
    names = {name for node in seen for name in (node.name, str(node))}
    names |= {name for incident in incidents for name in incident.nodes}
    if names:
        yield from (
            f"no node that earlier sweeps saw is called {node}" for node in sorted(silence.nodes - names)
        )
    regions = {*config.regions.pools, *(region for incident in incidents for region in incident.regions)}
    of_record = {item.region for item in registered if item.region is not None}
    if seen and (config.regions.name_pattern or of_record):
        pattern = RegionPattern(config.regions.name_pattern) if config.regions.name_pattern else None
        named = {pattern.region(node.name) for node in seen} if pattern else set[str | None]()
        yield from (
            f"no node that earlier sweeps saw is registered in region {region}, or has a name of it"
            for region in sorted(silence.regions - regions - of_record - named)
        )
    claimed = {prefix for item in registered for prefix in item.addresses}
    claimed |= {Prefix(incident.address) for incident in incidents if incident.address}
    for address in map(Prefix, sorted(silence.addresses)):
        if not any(covers(network(pool), network(address)) for pool in config.mesh.pools):
            yield f"{format_prefix(address)} is in none of mesh.pools"
        elif registered and address not in claimed:
            yield f"no registration that the last alerted sweep read has {format_prefix(address)}, and no incident"


OVER: Literal["over"] = "over"


@dataclass(frozen=True, slots=True)
class ListedSilence:
    """Silence with its present state."""

    silence: Silence
    state: Literal["active", "to come", "over"]


def list_silences(config: Config, now: datetime) -> tuple[ListedSilence, ...] | None:
    """Read all silences, the next to end first; None where there is no state. Raises `StateError`."""
    with existing_tables(state_place(config)) as tables:
        if tables is None:
            return None
        silences = read_silences(tables)
    return tuple(
        ListedSilence(
            silence, "active" if active(silence, now) else OVER if silence.ends_at <= now else "to come"
        )
        for silence in sorted(silences, key=lambda silence: (silence.ends_at, silence.ident))
    )


def expire_silence(config: Config, ident: str, now: datetime, by: str, guide: Guide = INSTALLED) -> None:
    """End a silence now. Raises `UsageError` where there is none of its ident, and `StateError`.

    by: login name of who asked for it.
    """
    with existing_state(state_place(config)) as state:
        silences = state.notifications.silences() if state is not None else ()
        before = {silence.ident: silence.ends_at for silence in silences}
        if state is None or ident not in before:
            raise UsageError(f"there is no silence {ident}; {guide.mention('silence list')} shows them")
        with state.store.transaction():
            state.notifications.expire_silence(ident, now)
            if before[ident] > now:
                begin_operation(state.store, PastOperation(OperationKind.SILENCE_EXPIRED, now, by, ident))
