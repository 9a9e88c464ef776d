"""Tables of alerting's part of the state, alike in SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    event,
    insert,
    text,
)

TABLES = MetaData()
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by its characters' numbers, as SQLite does, whatever the database's language: times, names."""

alerts_memory = Table(
    "alerts_memory",
    TABLES,
    Column("one", Integer, CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
    Column("sweep", Integer, nullable=False),
    Column("blind_sweeps", Integer, nullable=False),
    Column("registered", Integer),
    Column("registered_at", TEXT),
    Column("registered_in", TEXT),
    sqlite_strict=True,
)
"""One row: number of the last round, and what its plan knew of the whole."""


@event.listens_for(alerts_memory, "after_create")
def _remember_nothing(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(one=1, sweep=0, blind_sweeps=0))


alerts_standing = Table(
    "alerts_standing",
    TABLES,
    Column("fingerprint", TEXT, primary_key=True),
    Column("last_sweep", Integer, nullable=False),
    Column("body", TEXT, nullable=False),
    sqlite_strict=True,
)
alerts_ended = Table(
    "alerts_ended",
    TABLES,
    Column("fingerprint", TEXT, primary_key=True),
    Column("first_seen", TEXT, nullable=False),
    Column("at", TEXT, nullable=False),
    Column("flapping_since", TEXT),
    sqlite_strict=True,
)
alerts_seen = Table(
    "alerts_seen",
    TABLES,
    Column("place", TEXT, primary_key=True),
    Column("sweep", Integer, nullable=False),
    Column("at", TEXT, nullable=False),
    sqlite_strict=True,
)
alerts_unseen = Table(
    "alerts_unseen",
    TABLES,
    Column("place", TEXT, primary_key=True),
    Column("sweep", Integer, nullable=False),
    sqlite_strict=True,
)
alerts_unsettled = Table(
    "alerts_unsettled", TABLES, Column("place", TEXT, primary_key=True), sqlite_strict=True
)
alerts_drifted = Table(
    "alerts_drifted",
    TABLES,
    Column("place", TEXT, primary_key=True),
    Column("public_key", TEXT, nullable=False),
    sqlite_strict=True,
)
alerts_notices = Table(
    "alerts_notices",
    TABLES,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("notifier", TEXT, nullable=False),
    Column("fingerprint", TEXT, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),
    Column("body", TEXT, nullable=False),
    Column("created_at", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("at", TEXT, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("declined", Integer, nullable=False),
    Column("detail", TEXT, nullable=False),
    Column("unanswered", Integer, nullable=False, server_default=text("0")),
    Column("arrived_at", TEXT),
    Index("alerts_notices_by_pair", "notifier", "fingerprint", "id"),
    Index("alerts_notices_by_incident", "fingerprint", "id"),
    Index("alerts_notices_by_state", "state", "notifier", "id"),
    Index("alerts_notices_by_time", "at", "id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)
"""Every notification from the moment it was planned; see `notification_log`."""
Index(
    "alerts_notices_by_arrival",
    alerts_notices.c.arrived_at,
    sqlite_where=alerts_notices.c.arrived_at.is_not(None),
    postgresql_where=alerts_notices.c.arrived_at.is_not(None),
)

alerts_waits = Table(
    "alerts_waits",
    TABLES,
    Column("notifier", TEXT, primary_key=True),
    Column("not_before", TEXT, nullable=False),
    sqlite_strict=True,
)
alerts_silences = Table(
    "alerts_silences",
    TABLES,
    Column("ident", TEXT, primary_key=True),
    Column("ends_at", TEXT, nullable=False),
    Column("body", TEXT, nullable=False),
    sqlite_strict=True,
)
