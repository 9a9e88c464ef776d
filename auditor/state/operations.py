"""Operations of people in the state database: plans written, applies, silences; read-only once they have ended."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

from auditor.values.past_sweeps import OperationKind, PastOperation
from auditor.values.text import for_json, stored_time


def begin_operation(connection: sqlite3.Connection, operation: PastOperation) -> int:
    """Store an operation, in the caller's transaction; return its number, by which it is ended."""
    cursor = connection.execute(
        "INSERT INTO history_operations VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            operation.kind.value,
            stored_time(operation.at),
            for_json(operation.by),
            operation.reference,
            for_json(operation.path),
            json.dumps(operation.addresses),
            json.dumps(operation.nodes),
            None if operation.ended_at is None else stored_time(operation.ended_at),
            operation.outcome,
        ),
    )
    number = cursor.lastrowid
    assert number is not None  # noqa: S101  (an INSERT always has one)
    return number


def end_operation(connection: sqlite3.Connection, number: int, at: datetime, outcome: str) -> None:
    """Store the end of an operation, in the caller's transaction."""
    connection.execute(
        "UPDATE history_operations SET ended_at = ?, outcome = ? WHERE id = ?",
        (stored_time(at), outcome, number),
    )


def read_operations(connection: sqlite3.Connection) -> tuple[PastOperation, ...]:
    """Read all operations that are kept, in the order in which they began."""
    rows = connection.execute("SELECT * FROM history_operations ORDER BY at, id").fetchall()
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
        for row in rows
    )


def forget_operations(connection: sqlite3.Connection, before: datetime) -> None:
    """Delete operations older than that, in the caller's transaction."""
    connection.execute("DELETE FROM history_operations WHERE at < ?", (stored_time(before),))
