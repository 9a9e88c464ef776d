"""Access to the state that alerting's memory needs, whoever holds it open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from auditor.values.stored_values import StoredRow as StoredRow  # for those that read by it
from auditor.values.stored_values import TableReader

if TYPE_CHECKING:
    from sqlalchemy import Executable, Table
    from sqlalchemy.dialects import sqlite


class StateAccess(TableReader, Protocol):
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
