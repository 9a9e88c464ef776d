"""Operations of people in the state: plans written, applies, silences; read-only once they have ended."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, insert, update

from auditor.state.audit_tables import OPERATIONS
from auditor.state.state_store import StateStore
from auditor.values.past_sweeps import PastOperation
from auditor.values.stored_values import TableReader, row_reader

_OPERATION = row_reader(PastOperation, "addresses", "nodes", by="made_by")


def begin_operation(store: StateStore, operation: PastOperation) -> int:
    """Store an operation; return its number, by which it is ended. Raises `StateError`."""
    fields = asdict(operation)
    return store.add(insert(OPERATIONS).values(made_by=fields.pop("by"), **fields))


def end_operation(store: StateStore, number: int, at: datetime, outcome: str) -> None:
    """Store the end of an operation. Raises `StateError`."""
    ended = update(OPERATIONS).where(OPERATIONS.c.id == number)
    store.execute(ended.values(ended_at=at, outcome=outcome))


def read_operations(reader: TableReader) -> tuple[PastOperation, ...]:
    """Read all operations that are kept, in the order in which they began. Raises `StateError`."""
    return tuple(map(_OPERATION, reader.rows_of("history_operations", order=("at", "id"))))


def forget_operations(store: StateStore, before: datetime) -> None:
    """Delete operations older than that. Raises `StateError`."""
    store.execute(delete(OPERATIONS).where(OPERATIONS.c.at < before))
