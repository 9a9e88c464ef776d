"""Drained nodes in the state: one line a node, from the first drain to the undrain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auditor.state import history
from auditor.state.database import Connection, open_state, state_in_memory
from auditor.state.drained_nodes import forget_drained, keep_drained, read_drained
from auditor.values.drains import Drained
from auditor.values.models import NodeId

SINCE = datetime(2026, 11, 29, 3, 20, tzinfo=UTC)
DRAINED = Drained(SINCE, "anna", "consul-maintenance", "who answers?", "0123456789")
NODE = NodeId("dc1", "edge-sin-1")


@pytest.fixture(name="state")
def _state() -> Iterator[Connection]:
    with closing(state_in_memory({history.PART: history.MIGRATIONS})) as connection:
        yield connection


def test_a_drained_node_stands_with_since_when_by_whom_and_why(state: Connection) -> None:
    keep_drained(state, NODE, DRAINED)
    assert read_drained(state) == {NODE: DRAINED}


def test_a_second_drain_leaves_the_time_of_the_first(state: Connection) -> None:
    keep_drained(state, NODE, DRAINED)
    keep_drained(state, NODE, replace(DRAINED, since=SINCE + timedelta(hours=1), by="ben"))
    assert read_drained(state) == {NODE: DRAINED}


def test_an_undrained_node_is_forgotten_and_its_namesake_elsewhere_is_not(state: Connection) -> None:
    namesake = NodeId("dc2", NODE.name)
    keep_drained(state, NODE, DRAINED)
    keep_drained(state, namesake, DRAINED)
    forget_drained(state, NODE)
    assert read_drained(state) == {namesake: DRAINED}


def test_a_state_of_an_older_version_is_brought_up_to_date_and_has_nobody_drained(tmp_path: Path) -> None:
    path = tmp_path / "wgaudit.db"
    with closing(open_state(path, {history.PART: history.MIGRATIONS[:-1]})):
        pass
    with closing(open_state(path, {history.PART: history.MIGRATIONS})) as connection:
        assert read_drained(connection) == {}
