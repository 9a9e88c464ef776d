"""Store of the state: one way to read and write it for SQLite and PostgreSQL, in SQLAlchemy's Core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import cast

from sqlalchemy import Connection, Engine, Executable, Insert, MetaData, Table, desc, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from auditor.state.refusals import unusable
from auditor.values.stored_values import StoredRow

StateTables = Sequence[MetaData]
"""Tables of all parts of the state."""


class StateStore:
    """Opened state, used by one thread at a time.

    Outside of a transaction each call is one of its own. What the database refuses is a `StateError` that names the
    place (the file, or the URL without its password), whichever method meets it.
    """

    def __init__(self, engine: Engine, name: str, tables: StateTables) -> None:
        """Take over an engine whose database has the newest schema. name: the place, for messages."""
        self.engine, self.name, self.tables = engine, name, tables
        self._known = {table.name: table for group in tables for table in group.sorted_tables}
        self._under_way: Connection | None = None
        self.begun: Callable[[Connection], None] | None = None
        """Called first in each transaction; what it raises ends the transaction, and nothing is written."""

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Hold one transaction, kept whole or not at all; within one under way, that one.

        No other process writes meanwhile. Raises `StateError`, for a full disk too.
        """
        if self._under_way is not None:
            if not self._under_way.get_execution_options().get("writes"):
                raise RuntimeError("a transaction within a read would never be committed")
            yield self._under_way
            return
        with (
            self.reported(),
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
            self._held(connection),
        ):
            if self.begun is not None:
                self.begun(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Hold several reads of one moment; within a transaction under way, in that one. Raises `StateError`."""
        if self._under_way is not None:
            yield self._under_way
            return
        with (
            self.reported(),
            self.engine.connect().execution_options(one_moment=True) as connection,
            self._held(connection),
        ):
            yield connection

    def rows(self, statement: Executable) -> Sequence[StoredRow]:
        """Read all rows that a statement yields. Raises `StateError`."""
        return tuple(self.each(statement))

    def first(self, statement: Executable) -> StoredRow | None:
        """Read the first row that a statement yields; None: there is none. Raises `StateError`."""
        return next(iter(self.rows(statement)), None)

    def each(self, statement: Executable) -> Iterator[StoredRow]:
        """Read the rows that a statement yields, one at a time. Raises `StateError`."""
        under_way = nullcontext(self._under_way) if self._under_way is not None else self.engine.connect()
        with self.reported(), under_way as connection, connection.execute(statement) as found:
            yield from cast("Iterable[StoredRow]", found.mappings())

    def execute(self, statement: Executable, rows: Sequence[Mapping[str, object]] | None = None) -> int:
        """Write, or once for each of several rows; return the number of rows that were met. Raises `StateError`."""
        if rows is not None and not rows:
            return 0
        with self.transaction() as connection, self.reported():
            # Else the number is not known of an INSERT, which may meet what is there already.
            known = {"preserve_rowcount": True}
            return int(connection.execute(statement, rows, execution_options=known).rowcount)

    def add(self, statement: Insert) -> int:
        """Insert one row; return the number that the database gave it. Raises `StateError`."""
        with self.transaction() as connection, self.reported():
            key = connection.execute(statement).inserted_primary_key
            assert key is not None  # noqa: S101  (an INSERT of one row always has one)
            return int(key[0])

    def insert(self, table: Table) -> sqlite.Insert:
        """Begin an INSERT that knows `on_conflict_do_update` and `on_conflict_do_nothing`, as both databases do."""
        if self.engine.dialect.name == "sqlite":
            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)  # type: ignore[return-value]  # the same methods

    def rows_of(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: Sequence[str] = (),
        most: int | None = None,
    ) -> Iterator[StoredRow]:
        """Read rows of a table as `TableReader` says."""
        columns = self._known[table].columns
        fits = (columns[name] == value for name, value in (where or {}).items())  # NULL is asked for by IS
        sorted_by = (desc(columns[name[1:]]) if name[0] == "-" else columns[name] for name in order)
        return self.each(select(self._known[table]).where(*fits).order_by(*sorted_by).limit(most))

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Turn the database's errors into `StateError`s that name the place."""
        try:
            yield
        except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else None
            raise unusable(self.name, cause or error) from None

    def close(self) -> None:
        """Let go of the database; what is in memory alone is gone."""
        self.engine.dispose()

    @contextmanager
    def _held(self, connection: Connection) -> Iterator[None]:
        self._under_way = connection
        try:
            yield
        finally:
            self._under_way = None
