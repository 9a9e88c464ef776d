"""Opening of the state: whole and of the newest schema, or refused in one clear line; never anew over an old one."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, insert, select, text

from auditor.errors import StateError
from auditor.state.audit_tables import AGE, PARTS, VERSIONS
from auditor.state.places import WITHIN, StatePlace, driver_url, place_name, postgresql
from auditor.state.refusals import unusable
from auditor.state.schema_age import LAST_PARTS, NEWEST, SchemaAge, schema_age
from auditor.state.sqlite_file import age_of_file, connected, is_writable, make_file
from auditor.state.state_store import StateStore, StateTables

_BEGINNINGS = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "SELECT pg_advisory_xact_lock(9586)"}
"""Statement with which a transaction begins: who writes, writes alone."""
_MOMENTS = {"sqlite": "BEGIN", "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"}
"""Statement with which several reads of one moment begin."""


def open_store(place: StatePlace, tables: StateTables, within: float = WITHIN) -> StateStore:
    """Open the state, made where there is none, mode 0600, and bring it to the newest schema.

    Raises `StateError` with place and reason: unreadable, read-only, in others' hands, no database, damaged, another
    program's, or written by a newer version of this program. Such a database is left as it is. within: seconds that a
    PostgreSQL has for each answer.
    """
    if isinstance(place, SecretStr):
        return _brought_up_to_date(_on_server(place, tables, within))
    try:
        make_file(place)
    except OSError as error:
        raise unusable(str(place), error) from None
    age_of_file(place, writable=True)
    return _brought_up_to_date(_in_file(place, tables, writable=True))


def open_existing_store(place: StatePlace, tables: StateTables) -> StateStore | None:
    """Open the state where there is one, as `open_store` does; else None, and nothing is created.

    Where nothing can be written, on a read-only mount for one, it is opened to be read. Raises `StateError`.
    """
    if isinstance(place, SecretStr):
        with ExitStack() as stack:
            store = stack.enter_context(closing(_on_server(place, tables)))
            if _age(store) is SchemaAge.NOTHING_YET:
                return None
            stack.pop_all()
        return _brought_up_to_date(store)
    try:
        if not place.exists():
            return None
        if is_writable(place):
            return open_store(place, tables)
    except OSError as error:
        raise unusable(str(place), error) from None
    if age_of_file(place, writable=False) is not SchemaAge.NEWEST:
        raise StateError(
            f"{place}: written by an older wgaudit, and cannot be brought up to date: it is read-only here"
        )
    return _in_file(place, tables, writable=False)


def store_to_look_at(place: StatePlace, tables: StateTables) -> StateStore:
    """Open a state that this process holds opened and checked, to read it in another thread."""
    if isinstance(place, SecretStr):
        return _on_server(place, tables)
    return _in_file(place, tables, writable=False)


def store_in_memory(tables: StateTables) -> StateStore:
    """Make an empty state that no disk holds, and that ends with its store."""
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False),
        poolclass=StaticPool,
    )
    return _brought_up_to_date(_store(engine, "memory", tables))


def copied_to_memory(store: StateStore) -> StateStore:
    """Copy a state into memory, without what a transaction under way has written. Raises `StateError`."""
    copy = store_in_memory(store.tables)
    try:
        if store.engine.dialect.name == "sqlite":
            written_back(store, copy)
        else:
            with store.reading(), copy.transaction():
                for group in store.tables:
                    for table in group.sorted_tables:
                        copy.execute(table.delete())
                        copy.execute(table.insert(), [dict(row) for row in store.each(select(table))])
    except BaseException:
        copy.close()
        raise
    return copy


def written_back(copy: StateStore, store: StateStore) -> None:
    """Write a state of SQLite, one in memory for one, over another, whole or not at all. Raises `StateError`."""
    with (
        copy.reported(),
        store.reported(),
        closing(copy.engine.raw_connection()) as from_there,
        closing(store.engine.raw_connection()) as to_here,
    ):
        pages, place = from_there.driver_connection, to_here.driver_connection
        assert isinstance(pages, sqlite3.Connection)  # noqa: S101  (both are SQLite's)
        assert isinstance(place, sqlite3.Connection)  # noqa: S101
        pages.backup(place)


@dataclass(frozen=True, slots=True)
class StateCondition:
    """Condition of a state database, as far as a look tells that changes nothing."""

    writable: bool
    outdated: bool
    """True: an older version wrote it; the next one that writes brings it up to date."""


def inspect_store(place: StatePlace) -> StateCondition | None:
    """Look at the state without bringing it up to date: whole, ours, and to be written; None where there is none.

    Raises `StateError` as `open_store` does, also where another process holds it for too long.
    """
    writable = True
    if isinstance(place, SecretStr):
        store = _on_server(place, ())
    else:
        try:
            if not place.exists():
                return None
            writable = os.access(place, os.W_OK) and os.access(place.parent, os.W_OK)
        except OSError as error:
            raise unusable(str(place), error) from None
        age_of_file(place, writable=writable)
        store = _in_file(place, (), writable=writable, as_it_is=True)
    with closing(store):
        age = _age(store)
        if age is SchemaAge.NOTHING_YET and isinstance(place, SecretStr):
            return None
        if writable:
            with store.transaction():
                if isinstance(place, SecretStr):
                    row = store.first(text("SELECT current_setting('transaction_read_only') AS read_only"))
                    writable = row is not None and row["read_only"] == "off"
    return StateCondition(writable, outdated=age is not SchemaAge.NEWEST)


def _age(store: StateStore) -> SchemaAge:
    with store.reading() as connection, store.reported():
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  (it was just connected)
        return schema_age(driver, store.name)


def _brought_up_to_date(store: StateStore) -> StateStore:
    """Bring a database to the newest schema; the store is closed where that cannot be. Raises `StateError`."""
    try:
        if _age(store) is not SchemaAge.NEWEST:
            with store.transaction() as connection:
                match _age(store):  # again: another process may have been here since
                    case SchemaAge.OLDER:
                        from auditor.state.migrating import migrate

                        migrate(connection, store.name)
                    case SchemaAge.NOTHING_YET:
                        _make_tables(connection, store.tables)
    except BaseException:
        store.close()
        raise
    return store


def _make_tables(connection: Connection, tables: StateTables) -> None:
    for group in (*tables, AGE):
        group.create_all(connection, checkfirst=False)
    connection.execute(insert(VERSIONS).values(version_num=NEWEST))
    beyond = [{"part": part, "version": last + 1} for part, last in LAST_PARTS.items()]
    connection.execute(insert(PARTS), beyond)


def _store(engine: Engine, name: str, tables: StateTables) -> StateStore:
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("writes"):
            connection.exec_driver_sql(_BEGINNINGS[engine.dialect.name])
        elif options.get("one_moment"):
            connection.exec_driver_sql(_MOMENTS[engine.dialect.name])

    return StateStore(engine, name, tables)


def _in_file(path: Path, tables: StateTables, *, writable: bool, as_it_is: bool = False) -> StateStore:
    def connect() -> sqlite3.Connection:
        connection = connected(path, writable=writable)
        if writable and not as_it_is:
            # A commit must have reached the disk before a notification is reported as sent.
            connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        return connection

    return _store(create_engine("sqlite://", creator=connect), str(path), tables)


def _on_server(url: SecretStr, tables: StateTables, within: float = WITHIN) -> StateStore:
    name = place_name(url)
    session = postgresql(name)
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: session.connected(driver_url(url), within),
        pool_size=1,
        max_overflow=1,
    )
    return _store(engine, name, tables)
