"""Access to the state that alerting's memory needs, whoever holds it open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Executable, Table
    from sqlalchemy.dialects import sqlite

StoredRow = Mapping[str, Any]
"""One stored row: its values by the names of their columns."""


class RowReader(Protocol):
    """Reader of stored rows. Raises `StateError` where they can't be read."""

    def rows_of(
        self,
        table: str,
        where: Mapping[str, object] | None = None,
        *,
        order: Sequence[str] = (),
        most: int | None = None,
    ) -> Iterator[StoredRow]:
        """Read the rows of a table; at most so many.

        where: values that these columns have. order: columns, first the one that counts most.
        """
        ...


class StateAccess(RowReader, Protocol):
    """Opened state. Each method raises `StateError`, naming the database, where it can't be read or written."""

    def transaction(self) -> AbstractContextManager[object]:
        """Hold one transaction, kept whole or not at all; within one under way, that one."""
        ...

    def reading(self) -> AbstractContextManager[object]:
        """Hold a read of one moment; within a transaction under way, that one."""
        ...

    def rows(self, statement: Executable) -> Sequence[StoredRow]:
        """Read all rows that a statement yields."""
        ...

    def first(self, statement: Executable) -> StoredRow | None:
        """Read the first row that a statement yields; None: there is none."""
        ...

    def execute(self, statement: Executable, rows: Sequence[Mapping[str, object]] | None = None) -> int:
        """Write, once or once for each of several rows; return the number of rows that were met."""
        ...

    def insert(self, table: Table) -> sqlite.Insert:
        """Begin an INSERT that can be told what to do on a conflict, in the words of the database."""
        ...
