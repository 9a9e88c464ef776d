"""Questions to the table of notifications, and its changes, as values: written once, run on either database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Delete,
    FromClause,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)

from alerts.memory.notices import State
from alerts.memory.tables import alerts_notices as notices
from alerts.memory.tables import alerts_seen as seen
from alerts.memory.tables import alerts_silences as silences
from alerts.memory.tables import alerts_standing as standing
from alerts.models import NotifyReason, Status

_newer, _before = notices.alias("newer"), notices.alias("before")
_this_one = notices.c.id == bindparam("this")
_of_pair = and_(notices.c.notifier == bindparam("to"), notices.c.fingerprint == bindparam("mark"))
_waits = notices.c.state == State.PENDING.value
_is_dead = notices.c.state == State.DEAD.value
_repeats = NotifyReason.REPEAT_INTERVAL_ELAPSED.value


def _of_same_pair(other: FromClause) -> ColumnElement[bool]:
    return and_(other.c.notifier == notices.c.notifier, other.c.fingerprint == notices.c.fingerprint)


_is_newer = and_(_of_same_pair(_newer), _newer.c.id > notices.c.id)


def _may_have_arrived(table: FromClause) -> ColumnElement[bool]:
    """Select what the other side may have received, or will have when its turn comes."""
    unclear = and_(
        table.c.state == State.DEAD.value,
        table.c.status == Status.FIRING.value,
        table.c.attempts > table.c.declined,
    )
    # No IN: a statement that runs for many rows at once cannot have one.
    return or_(table.c.state == State.ACCEPTED.value, table.c.state == State.PENDING.value, unclear)


# -- for a plan

LATEST = select(notices).where(
    notices.c.id.in_(select(func.max(notices.c.id)).group_by(notices.c.notifier, notices.c.fingerprint)),
    or_(notices.c.status == Status.FIRING.value, notices.c.at >= bindparam("since")),
)
"""Newest notification of each incident to each notifier; none that an incident is over from before `since`."""

_aged = (
    select(
        notices.c.id,
        notices.c.notifier,
        notices.c.fingerprint,
        notices.c.created_at,
        func.row_number()
        .over(partition_by=(notices.c.notifier, notices.c.fingerprint), order_by=notices.c.id.desc())
        .label("age"),
    )
    .where(
        notices.c.status == Status.FIRING.value,
        notices.c.state.in_((State.PENDING.value, State.ACCEPTED.value)),
        notices.c.created_at >= bindparam("since"),
    )
    .subquery()
)
PAGES = (
    select(_aged.c.notifier, _aged.c.fingerprint, _aged.c.created_at)
    .where(_aged.c.age <= literal_column("2"))
    .order_by(_aged.c.id)
)
"""Last two firing notifications of each incident to each notifier, of those planned since a time."""

_of_marks = notices.c.fingerprint.in_(bindparam("marks", expanding=True))
NEWEST_WORDS = select(notices).where(
    notices.c.id.in_(
        select(func.max(notices.c.id)).where(_of_marks).group_by(notices.c.notifier, notices.c.fingerprint)
    )
)
"""Newest notification of each of these incidents to each notifier."""

FIRING_WORDS = select(notices.c.notifier, notices.c.fingerprint).where(
    notices.c.id.in_(
        select(func.max(notices.c.id))
        .where(_of_marks, _may_have_arrived(notices))
        .group_by(notices.c.notifier, notices.c.fingerprint)
    ),
    notices.c.status == Status.FIRING.value,
)
"""Notifiers whose other side may take one of these incidents for firing once all that waits has gone."""

RENEW = update(notices).where(_this_one).values(body=bindparam("newer_body"))

# -- for the delivery

WAITING = select(notices.c.notifier, func.count().label("waiting")).where(_waits).group_by(notices.c.notifier)
OUTBOX = select(notices).where(_waits).order_by(notices.c.notifier, notices.c.id)
UNANSWERED = select(notices.c.id, notices.c.unanswered)
CALLING = update(notices).where(_this_one).values(attempts=notices.c.attempts + 1)
DECLINED = update(notices).where(_this_one).values(declined=notices.c.declined + 1)
NO_ANSWER = update(notices).where(_this_one).values(unanswered=notices.c.unanswered + 1)
MOVE = (
    update(notices)
    .where(_this_one, _waits)
    .values(state=bindparam("becomes"), detail=bindparam("said"), at=bindparam("now"))
)
"""Move a waiting notification; one that has left the outbox stays where it is."""

_last_before = (
    select(_before.c.status)
    .where(_of_same_pair(_before), _before.c.id < notices.c.id, _may_have_arrived(_before))
    .order_by(_before.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
DROP_WITH_TRIGGER = (
    update(notices)
    .where(
        _of_pair,
        _waits,
        notices.c.status == Status.RESOLVED.value,
        func.coalesce(_last_before, "") != Status.FIRING.value,
    )
    .values(state=State.DROPPED.value, detail="not sent: its trigger was refused", at=bindparam("now"))
)
"""Drop the waiting resolves of an incident that the other side does not take for firing when their turn comes."""

_newer_repeats = (
    select(func.count())
    .where(
        _is_newer,
        _newer.c.reason == _repeats,
        _newer.c.state == notices.c.state,
    )
    .scalar_subquery()
)
FORGET_REPEATS = delete(notices).where(
    _of_pair,
    notices.c.reason == _repeats,
    notices.c.state == bindparam("stage"),
    or_(notices.c.state == State.ACCEPTED.value, notices.c.attempts == notices.c.declined),
    _newer_repeats >= bindparam("kept"),
)
"""Delete repeated notifications, which would fill the disk, but the newest `kept` ones of their stage."""

# -- for people

_replaced = exists().where(_is_newer, _newer.c.state != State.DEAD.value)
DEAD_LETTERS = select(notices, _replaced.label("stale")).where(_is_dead).order_by(notices.c.id)
"""Dead letters; a stale one is one that something newer took the place of."""
_stands = notices.c.fingerprint.in_(select(standing.c.fingerprint))
UNDELIVERED_LETTERS = DEAD_LETTERS.where(~_replaced, _stands)
BACK_TO_OUTBOX = (
    update(notices).where(_this_one).values(state=State.PENDING.value, unanswered=0, at=bindparam("now"))
)
NEWEST = (
    select(notices)
    .where(notices.c.state != State.CLOSED.value)
    .order_by(notices.c.at.desc(), notices.c.id.desc())
)
FIRST_WORDS = (
    select(notices.c.arrived_at, func.min(notices.c.at).label("accepted_at"))
    .where(notices.c.state == State.ACCEPTED.value, notices.c.arrived_at >= bindparam("since"))
    .group_by(notices.c.fingerprint, notices.c.arrived_at)
    .order_by("accepted_at")
)
"""First time at which each incident that arrived since a time was taken by somebody."""
PERHAPS_TWICE = (
    select(notices.c.notifier, func.count().label("number"))
    .where(notices.c.state == State.ACCEPTED.value, notices.c.attempts - notices.c.declined > 1)
    .group_by(notices.c.notifier)
)

# -- what is old, and which no plan needs

LIMIT: BindParameter[str] = bindparam("limit")
_younger_waits = exists().where(
    _of_same_pair(_before), _before.c.state == State.PENDING.value, _before.c.at >= LIMIT
)
_made_up_for = exists().where(
    _is_newer,
    _newer.c.state.in_((State.ACCEPTED.value, State.CLOSED.value)),
)
_last_word = and_(
    notices.c.status == Status.FIRING.value,
    or_(notices.c.state == State.ACCEPTED.value, _stands),
    not_(_made_up_for),
)
_first_stood = select(func.coalesce(func.min(standing.c.last_sweep), seen.c.sweep + 1)).scalar_subquery()
PRUNE: Sequence[Delete] = (
    delete(notices).where(notices.c.at < LIMIT, not_(_younger_waits), not_(_last_word)),
    delete(silences).where(silences.c.ends_at < LIMIT),
    delete(seen).where(seen.c.at < LIMIT, seen.c.sweep < _first_stood.correlate(seen)),
)
"""Deletions of records older than `limit`; see `NotificationLog.prune` for what stays."""
