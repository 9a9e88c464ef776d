"""Silences: add one, list them, end one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from alerts.models import Silence
from alerts.silences import active
from auditor.errors import UsageError
from auditor.service.alert_state import existing_state, opened_state
from auditor.settings.file import Config
from auditor.values.addresses import Prefix


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
) -> Silence:
    """Store a silence, and return it; create the state where there is none.

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
    with opened_state(config.state.path) as state:
        state.notifications.add_silence(silence)
    return silence


OVER = "over"


@dataclass(frozen=True, slots=True)
class ListedSilence:
    """Silence with its present state."""

    silence: Silence
    state: str
    """`active`, `to come` or `over`."""


def list_silences(config: Config, now: datetime) -> tuple[ListedSilence, ...] | None:
    """Read all silences, the next to end first; None where there is no state. Raises `StateError`."""
    with existing_state(config.state.path) as state:
        if state is None:
            return None
        silences = state.notifications.silences()
    return tuple(
        ListedSilence(
            silence, "active" if active(silence, now) else OVER if silence.ends_at <= now else "to come"
        )
        for silence in sorted(silences, key=lambda silence: (silence.ends_at, silence.ident))
    )


def expire_silence(config: Config, ident: str, now: datetime) -> None:
    """End a silence now. Raises `UsageError` where there is none of its ident, and `StateError`."""
    with existing_state(config.state.path) as state:
        if state is None:
            raise UsageError(f"there is no silence {ident}; `wgaudit silence list` shows them")
        state.notifications.expire_silence(ident, now)
