"""Drained nodes in the state: those that were taken out of production and not put back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from auditor.state.reading import TableReader, readable
from auditor.values.drains import Drained
from auditor.values.models import NodeId
from auditor.values.text import for_json, stored_time

if TYPE_CHECKING:
    from auditor.state.state_store import StateStore


def keep_drained(store: StateStore, node: NodeId, drained: Drained) -> None:
    """Store that a node is drained; one that is so already stays as it is stored. Raises `StateError`."""
    from auditor.state.audit_tables import DRAINED

    values = {
        "datacenter": for_json(node.datacenter),
        "name": for_json(node.name),
        "since": stored_time(drained.since),
        "made_by": for_json(drained.by),
        "how": drained.how,
        "reason": for_json(drained.reason),
        "plan": drained.plan,
    }
    store.execute(store.insert(DRAINED).values(values).on_conflict_do_nothing())


def forget_drained(store: StateStore, node: NodeId) -> None:
    """Store that a node is back in production. Not drained: nothing happens. Raises `StateError`."""
    from auditor.state.audit_tables import DRAINED

    name, datacenter = for_json(node.name), for_json(node.datacenter)
    store.execute(DRAINED.delete().where(DRAINED.c.datacenter == datacenter, DRAINED.c.name == name))


def read_drained(reader: TableReader) -> Mapping[NodeId, Drained]:
    """Read which nodes are drained, in the order of their names. Raises `StateError`."""
    with readable():
        return {
            NodeId(row["datacenter"], row["name"]): Drained(
                since=datetime.fromisoformat(row["since"]),
                by=row["made_by"],
                how=row["how"],
                reason=row["reason"],
                plan=row["plan"],
            )
            for row in reader.rows_of("history_drained", order=("datacenter", "name"))
        }
