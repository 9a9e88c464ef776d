"""Drained nodes in the state: one line a node, from the first drain to the undrain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from auditor.state.drained_nodes import forget_drained, keep_drained, read_drained
from auditor.state.state_store import StateStore
from auditor.values.drains import Drained
from auditor.values.models import NodeId

SINCE = datetime(2026, 11, 29, 3, 20, tzinfo=UTC)
DRAINED = Drained(SINCE, "anna", "consul-maintenance", "who answers?", "0123456789")
NODE = NodeId("dc1", "edge-sin-1")


def test_a_drained_node_stands_with_since_when_by_whom_and_why(store: StateStore) -> None:
    keep_drained(store, NODE, DRAINED)
    assert read_drained(store) == {NODE: DRAINED}


def test_a_second_drain_leaves_the_time_of_the_first(store: StateStore) -> None:
    keep_drained(store, NODE, DRAINED)
    keep_drained(store, NODE, replace(DRAINED, since=SINCE + timedelta(hours=1), by="ben"))
    assert read_drained(store) == {NODE: DRAINED}


def test_an_undrained_node_is_forgotten_and_its_namesake_elsewhere_is_not(store: StateStore) -> None:
    namesake = NodeId("dc2", NODE.name)
    keep_drained(store, NODE, DRAINED)
    keep_drained(store, namesake, DRAINED)
    forget_drained(store, NODE)
    assert read_drained(store) == {namesake: DRAINED}
