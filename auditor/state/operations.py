"""Operations of people in the state: plans written, applies, silences; read-only once they have ended."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import delete, insert, update

from auditor.state.audit_tables import OPERATIONS
from auditor.state.reading import TableReader, readable
from auditor.state.state_store import StateStore
from auditor.values.past_sweeps import OperationKind, PastOperation
from auditor.values.text import for_json, stored_time


def begin_operation(store: StateStore, operation: PastOperation) -> int:
    """Store an operation; return its number, by which it is ended. Raises `StateError`."""
    return store.add(
        insert(OPERATIONS).values(
            kind=operation.kind.value,
            at=stored_time(operation.at),
            made_by=for_json(operation.by),
            reference=operation.reference,
            path=for_json(operation.path),
            addresses=json.dumps(operation.addresses),
            nodes=json.dumps(operation.nodes),
            ended_at=operation.ended_at and stored_time(operation.ended_at),
            outcome=operation.outcome,
        )
    )


def end_operation(store: StateStore, number: int, at: datetime, outcome: str) -> None:
    """Store the end of an operation. Raises `StateError`."""
    ended = update(OPERATIONS).where(OPERATIONS.c.id == number)
    store.execute(ended.values(ended_at=stored_time(at), outcome=outcome))


def read_operations(reader: TableReader) -> tuple[PastOperation, ...]:
    """Read all operations that are kept, in the order in which they began. Raises `StateError`."""
    with readable():
        return tuple(
            PastOperation(
                kind=OperationKind(row["kind"]),
                at=datetime.fromisoformat(row["at"]),
                by=row["made_by"],
                reference=row["reference"],
                path=row["path"],
                addresses=tuple(json.loads(row["addresses"])),
                nodes=tuple(json.loads(row["nodes"])),
                ended_at=None if row["ended_at"] is None else datetime.fromisoformat(row["ended_at"]),
                outcome=row["outcome"],
            )
            for row in reader.rows_of("history_operations", order=("at", "id"))
        )


def forget_operations(store: StateStore, before: datetime) -> None:
    """Delete operations older than that. Raises `StateError`."""
    store.execute(delete(OPERATIONS).where(OPERATIONS.c.at < stored_time(before)))
