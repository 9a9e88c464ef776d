"""Tables of alerting's part of the state, alike in SQLite and PostgreSQL."""

from __future__ import annotations

from functools import partial

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
_table = partial(Table, sqlite_strict=True)
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by its characters' numbers, as SQLite does, whatever the database's language: times, names."""
_key, _text = partial(Column, type_=TEXT, primary_key=True), partial(Column, type_=TEXT, nullable=False)
_number = partial(Column, type_=Integer, nullable=False)

alerts_memory = _table(
    "alerts_memory",
    TABLES,
    Column("one", Integer, CheckConstraint("one = 1"), primary_key=True, autoincrement=False),
    _number("sweep"),
    _number("blind_sweeps"),
    Column("registered", Integer),
    Column("registered_at", TEXT),
    Column("registered_in", TEXT),
)
"""One row: number of the last round, and what its plan knew of the whole."""


@event.listens_for(alerts_memory, "after_create")
def _remember_nothing(table: Table, connection: Connection, **_: object) -> None:
    connection.execute(insert(table).values(one=1, sweep=0, blind_sweeps=0))


alerts_standing = _table("alerts_standing", TABLES, _key("fingerprint"), _number("last_sweep"), _text("body"))
alerts_ended = _table(
    "alerts_ended",
    TABLES,
    _key("fingerprint"),
    _text("first_seen"),
    _text("at"),
    Column("flapping_since", TEXT),
)
alerts_seen = _table("alerts_seen", TABLES, _key("place"), _number("sweep"), _text("at"))
alerts_unseen = _table("alerts_unseen", TABLES, _key("place"), _number("sweep"))
alerts_unsettled = _table("alerts_unsettled", TABLES, _key("place"))
alerts_drifted = _table("alerts_drifted", TABLES, _key("place"), _text("public_key"))
alerts_notices = _table(
    "alerts_notices",
    TABLES,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    _text("notifier"),
    _text("fingerprint"),
    _text("reason"),
    _text("status"),
    _text("body"),
    _text("created_at"),
    _text("state"),
    _text("at"),
    _number("attempts"),
    _number("declined"),
    _text("detail"),
    Column("unanswered", Integer, nullable=False, server_default=text("0")),
    Column("arrived_at", TEXT),
    Index("alerts_notices_by_pair", "notifier", "fingerprint", "id"),
    Index("alerts_notices_by_incident", "fingerprint", "id"),
    Index("alerts_notices_by_state", "state", "notifier", "id"),
    Index("alerts_notices_by_time", "at", "id"),
    sqlite_autoincrement=True,
)
"""Every notification from the moment it was planned; see `notification_log`."""
Index(
    "alerts_notices_by_arrival",
    alerts_notices.c.arrived_at,
    sqlite_where=alerts_notices.c.arrived_at.is_not(None),
    postgresql_where=alerts_notices.c.arrived_at.is_not(None),
)

alerts_waits = _table("alerts_waits", TABLES, _key("notifier"), _text("not_before"))
alerts_silences = _table("alerts_silences", TABLES, _key("ident"), _text("ends_at"), _text("body"))
