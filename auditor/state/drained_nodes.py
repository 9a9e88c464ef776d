"""Drained nodes in the state: those that were taken out of production and not put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from auditor.values.drains import Drained
from auditor.values.models import NodeId
from auditor.values.stored_values import TableReader, row_reader

if TYPE_CHECKING:
    from auditor.state.state_store import StateStore

_DRAINED = row_reader(Drained, by="made_by")


def keep_drained(store: StateStore, node: NodeId, drained: Drained) -> None:
    """Store that a node is drained; one that is so already stays as it is stored. Raises `StateError`."""
    from auditor.state.audit_tables import DRAINED

    fields = asdict(drained)
    values = {**node._asdict(), "made_by": fields.pop("by"), **fields}
    store.execute(store.insert(DRAINED).values(values).on_conflict_do_nothing())


def forget_drained(store: StateStore, node: NodeId) -> None:
    """Store that a node is back in production. Not drained: nothing happens. Raises `StateError`."""
    from auditor.state.audit_tables import DRAINED

    store.execute(
        DRAINED.delete().where(DRAINED.c.datacenter == node.datacenter, DRAINED.c.name == node.name)
    )


def read_drained(reader: TableReader) -> Mapping[NodeId, Drained]:
    """Read which nodes are drained, in the order of their names. Raises `StateError`."""
    return {
        NodeId(row["datacenter"], row["name"]): _DRAINED(row)
        for row in reader.rows_of("history_drained", order=("datacenter", "name"))
    }
