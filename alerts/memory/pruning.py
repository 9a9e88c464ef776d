"""Statements that delete records of alerting's memory which are old and which no plan needs."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BindParameter, Delete, and_, bindparam, delete, exists, func, not_, or_, select

from alerts.memory.notices import State
from alerts.memory.tables import alerts_notices as notices
from alerts.memory.tables import alerts_seen as seen
from alerts.memory.tables import alerts_silences as silences
from alerts.memory.tables import alerts_standing as standing
from alerts.models import Status

LIMIT: BindParameter[str] = bindparam("limit")
_waits, _newer = notices.alias("waits"), notices.alias("newer")
_younger_waits = exists().where(
    _waits.c.notifier == notices.c.notifier,
    _waits.c.fingerprint == notices.c.fingerprint,
    _waits.c.state == State.PENDING.value,
    _waits.c.at >= LIMIT,
)
_made_up_for = exists().where(
    _newer.c.notifier == notices.c.notifier,
    _newer.c.fingerprint == notices.c.fingerprint,
    _newer.c.id > notices.c.id,
    _newer.c.state.in_((State.ACCEPTED.value, State.CLOSED.value)),
)
_last_word = and_(
    notices.c.status == Status.FIRING.value,
    or_(notices.c.state == State.ACCEPTED.value, notices.c.fingerprint.in_(select(standing.c.fingerprint))),
    not_(_made_up_for),
)
_first_stood = select(func.coalesce(func.min(standing.c.last_sweep), seen.c.sweep + 1)).scalar_subquery()

PRUNE: Sequence[Delete] = (
    delete(notices).where(notices.c.at < LIMIT, not_(_younger_waits), not_(_last_word)),
    delete(silences).where(silences.c.ends_at < LIMIT),
    delete(seen).where(seen.c.at < LIMIT, seen.c.sweep < _first_stood.correlate(seen)),
)
"""Deletions of records older than `limit`; see `NotificationLog.prune` for what stays."""
