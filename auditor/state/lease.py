"""Lease by which one of several auditors on one PostgreSQL tells people, decided by the server's clock alone.

One row has holder, epoch and end. Whoever takes the lease after its end adds one to the epoch. The holder renews it, by
its epoch, at the beginning of each transaction that it writes: so whatever a holder writes it writes within its lease,
and nobody takes the lease over in the middle of it, for the row is locked until then. The server ends a session that is
idle inside a transaction, but not one that froze among the statements that it sends at once, for whose rest the server
waits without a bound: who finds the lease over, and its row still locked, ends such a session.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Interval,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    table,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from auditor.errors import NotLeading
from auditor.state.audit_tables import LEASE
from auditor.state.leadership import LeaseRow
from auditor.state.state_store import StateStore
from auditor.values.clock_skew import seconds_ahead
from auditor.values.text import for_log

BegunTransaction = Connection
"""Transaction that has just begun, for those who speak no SQL."""
NAME = "telling"
"""Name of the lease: there is one."""
OVERDUE = 2.0
"""Seconds after the lease's end from which a session that still has its row locked counts as frozen."""
LONGEST_HOLDER = 100
"""Characters of a holder's name that are read."""

# The server's own time of day at each statement, not that at which its transaction began.
_now: ColumnElement[DateTime] = func.clock_timestamp(type_=DateTime(timezone=True))
_seconds = cast(func.make_interval(0, 0, 0, 0, 0, 0, bindparam("seconds")), Interval)
_end = _now + _seconds
_lasts = (LEASE.c.name == NAME, LEASE.c.until > _now)
_over = (
    select(LEASE.c.name)
    .where(LEASE.c.name == NAME, LEASE.c.until <= _now)
    # A holder inside a transaction is not waited for: it has just renewed the lease, or the server ends it soon.
    .with_for_update(skip_locked=True)
    .scalar_subquery()
)
_MAKE = (
    insert(LEASE)
    .values(name=NAME, holder="", epoch=0, until=_now)
    .on_conflict_do_nothing(index_elements=["name"])
)
_RENEW = update(LEASE).where(*_lasts, LEASE.c.epoch == bindparam("mine")).values(until=_end)
_TAKE = (
    update(LEASE)
    .where(LEASE.c.name == _over)
    .values(holder=bindparam("me"), epoch=LEASE.c.epoch + 1, until=_end)
    .returning(LEASE.c.epoch)
)
_locks = table("pg_locks", column("pid"), column("locktype"), column("transactionid"), column("granted"))
_END_FROZEN = (
    select(func.pg_terminate_backend(_locks.c.pid))
    .select_from(LEASE)
    # The transaction that has the row locked, and the session of that.
    .join(_locks, _locks.c.transactionid == literal_column(f"{LEASE.name}.xmax"))
    .where(
        LEASE.c.name == NAME,
        LEASE.c.until + _seconds < _now,
        _locks.c.locktype == "transactionid",
        _locks.c.granted,
    )
)
_RELEASE = update(LEASE).where(*_lasts, LEASE.c.epoch == bindparam("mine")).values(until=_now)
_HOLD = select(LEASE.c.name).where(LEASE.c.name == NAME).with_for_update()
_LOOK = select(
    LEASE.c.holder, LEASE.c.epoch, func.extract("epoch", LEASE.c.until - _now).label("left"), _now.label("at")
).where(LEASE.c.name == NAME)


class Lease:
    """Lease as one auditor asks for it, by connections of its own. Its calls block; all of them in one thread."""

    def __init__(self, opened: Callable[[], StateStore], holder: str, seconds: float) -> None:
        """opened: opens the state. holder: name of this auditor, for people. seconds: length of the lease."""
        self._opened, self._holder, self._seconds = opened, holder, seconds
        self._store: StateStore | None = None

    def ask(self, epoch: int | None, *, take: bool = True) -> tuple[LeaseRow, bool]:
        """Renew the lease that is held under this epoch, or take one that is over.

        Returns it as the database has it then, and whether this auditor holds it. epoch: None: it holds none.
        take: False: one that is over is left so. Raises `StateError`.
        """
        store = self._at_hand()
        with store.reported(), store.engine.begin() as connection:
            if _look(connection) is None:  # only then: it would wait for a holder's transaction
                connection.execute(_MAKE)
            values = {"seconds": self._seconds, "mine": epoch, "me": self._holder}
            held = epoch if epoch is not None and connection.execute(_RENEW, values).rowcount else None
            if held is None and take:
                held = connection.execute(_TAKE, values).scalar()
                if held is None:
                    connection.execute(_END_FROZEN, {"seconds": OVERDUE})
            row = _look(connection)
            assert row is not None  # noqa: S101  (it was made above)
            return row, held is not None

    def release(self, epoch: int) -> None:
        """End the lease that is held under this epoch, so that another one takes it at once. Raises `StateError`."""
        store = self._at_hand()
        with store.reported(), store.engine.begin() as connection:
            connection.execute(_RELEASE, {"mine": epoch})

    def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            self._store.close()

    def _at_hand(self) -> StateStore:
        if self._store is None:
            self._store = self._opened()
        return self._store


def leader_in(store: StateStore) -> LeaseRow | None:
    """Read the lease; None: nobody has ever asked for it. Raises `StateError`."""
    with store.reading() as connection, store.reported():
        return _look(connection)


def _look(connection: Connection) -> LeaseRow | None:
    before = datetime.now(UTC)
    row = connection.execute(_LOOK).one_or_none()
    if row is None:
        return None
    # What another auditor calls itself is text like any other.
    holder = for_log(row.holder, most=LONGEST_HOLDER)
    ahead = seconds_ahead(before, row.at, datetime.now(UTC))
    return LeaseRow(holder, row.epoch, float(row.left), ahead)


def guard(epoch: int, seconds: float) -> Callable[[Connection], float]:
    """Return what begins each transaction of this epoch: it renews the lease, or raises `NotLeading`.

    It returns the steady clock's time before it was renewed. seconds: length of the lease.
    """

    def begin(connection: Connection) -> float:
        asked_at = monotonic()
        if not connection.execute(_RENEW, {"seconds": seconds, "mine": epoch}).rowcount:
            raise NotLeading
        return asked_at

    return begin


def hold_leader(connection: Connection) -> None:
    """Begin a transaction of one that does not lead: whoever leads writes nothing until it ends.

    What is on record can then be compared and changed in one. The server bounds the wait for the leader's transaction.
    """
    connection.execute(_HOLD)
