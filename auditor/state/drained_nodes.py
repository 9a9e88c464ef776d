"""Drained nodes in the state database: those that were taken out of production and not put back."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime

from auditor.state.database import reported
from auditor.values.drains import Drained
from auditor.values.models import NodeId
from auditor.values.text import for_json, stored_time

MIGRATION = """
    CREATE TABLE history_drained (
        datacenter TEXT NOT NULL,
        name TEXT NOT NULL,
        since TEXT NOT NULL,
        made_by TEXT NOT NULL,
        how TEXT NOT NULL,
        reason TEXT NOT NULL,
        plan TEXT NOT NULL,
        PRIMARY KEY (datacenter, name)
    ) STRICT;
    """


def keep_drained(connection: sqlite3.Connection, node: NodeId, drained: Drained) -> None:
    """Store that a node is drained, in the caller's transaction; one that is so already stays as it is stored."""
    with reported(connection):
        connection.execute(
            "INSERT OR IGNORE INTO history_drained VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                for_json(node.datacenter),
                for_json(node.name),
                stored_time(drained.since),
                for_json(drained.by),
                drained.how,
                for_json(drained.reason),
                drained.plan,
            ),
        )


def forget_drained(connection: sqlite3.Connection, node: NodeId) -> None:
    """Store that a node is back in production, in the caller's transaction. Not drained: nothing happens."""
    with reported(connection):
        connection.execute(
            "DELETE FROM history_drained WHERE datacenter = ? AND name = ?",
            (for_json(node.datacenter), for_json(node.name)),
        )


def read_drained(connection: sqlite3.Connection) -> Mapping[NodeId, Drained]:
    """Read which nodes are drained, in the order of their names. Raises `StateError`."""
    with reported(connection):
        rows = connection.execute("SELECT * FROM history_drained ORDER BY datacenter, name").fetchall()
    return {
        NodeId(row["datacenter"], row["name"]): Drained(
            since=datetime.fromisoformat(row["since"]),
            by=row["made_by"],
            how=row["how"],
            reason=row["reason"],
            plan=row["plan"],
        )
        for row in rows
    }
