"""Tables that are held as differences from a base: nothing that is judged, told or recorded shows how they are held."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import SnapshotError
from auditor.judge import judge
from auditor.reports import json_v1
from auditor.state import recording
from auditor.values.models import NodeId, Snapshot
from auditor.values.route_table import Bases, RouteTable
from tests.fleets import Mesh, key_of, prefixes

NAMES = tuple(f"n{number}" for number in range(6))
HELD = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.0/24", "0.0.0.0/0", "fd00::1")


def difference(base: RouteTable, table: RouteTable) -> RouteTable:
    """The table as its difference from another one, however much that is."""
    ours, theirs = set(table.lines()), set(base.lines())
    return RouteTable(base.text, tuple(sorted(theirs - ours)), tuple(sorted(ours - theirs)))


@st.composite
def fleets(draw: st.DrawFn) -> Snapshot:
    """Any small fleet: few addresses for its nodes, and tables in which anybody may have or lack anything."""
    mesh = Mesh(topology=draw(st.sampled_from(["full", "partial"])))
    for name in NAMES:
        mesh.node(name, draw(st.sampled_from(HELD)))
        if draw(st.integers(0, 5)) == 0:
            mesh.unregistered(name)
    for observer in NAMES:
        order = draw(st.permutations(NAMES))
        lacking = draw(st.sets(st.sampled_from(NAMES), max_size=2))
        stray = draw(st.none() | st.tuples(st.sampled_from((*NAMES, "ghost")), st.sampled_from(HELD)))

        def change(
            peers: list[tuple[str, tuple[str, ...]]],
            order: list[str] = order,
            lacking: set[str] = lacking,
            stray: tuple[str, str] | None = stray,
        ) -> list[tuple[str, tuple[str, ...]]]:
            places = {key_of(name): place for place, name in enumerate(order)}
            kept = sorted(peers, key=lambda peer: places.get(peer[0], 0))
            kept = [peer for peer in kept if peer[0] not in {key_of(name) for name in lacking}]
            return [*kept, *([] if stray is None else [(key_of(stray[0]), prefixes([stray[1]]))])]

        mesh.edit(observer, change)  # type: ignore[arg-type]
    return mesh.snapshot()


@given(fleets(), st.data())
def test_a_report_is_the_same_however_tables_are_held(snapshot: Snapshot, data: st.DataObject) -> None:
    bases = data.draw(st.lists(st.sampled_from(sorted(snapshot.tables)), min_size=1, max_size=2))
    held = {
        digest: difference(snapshot.tables[data.draw(st.sampled_from(bases))], table)
        for digest, table in snapshot.tables.items()
    }
    assert {table.digest: table for table in held.values()} == snapshot.tables
    assert json_v1.render(judge(replace(snapshot, tables=held))) == json_v1.render(judge(snapshot))


def bad_night() -> Snapshot:
    """Six contested pairs among sixty nodes; each observer has its own winners."""
    mesh = Mesh()
    for number in range(60):
        mesh.node(f"n{number:02}", f"10.0.0.{number // 2 * 2 if number < 12 else number}")
    for number in range(60):
        for pair in range(6):
            mesh.picks(f"n{number:02}", f"n{2 * pair + (number >> pair & 1):02}")
    return mesh.snapshot()


def test_many_tables_are_recorded_as_one_text_and_differences() -> None:
    """A replay has the same tables and tells the same, also from the recording of an older version: of whole texts."""
    snapshot = bad_night()
    bases = Bases()
    held = replace(snapshot, tables={key: bases.held(table) for key, table in snapshot.tables.items()})
    assert len(held.tables) > recording.WHOLE_TABLES
    text = recording.to_json(held)
    written = json.loads(text)
    assert len(written["tables"]) == 1
    assert len(written["differences"]) == len(snapshot.tables) - 1
    for form in (text, recording.to_json(snapshot)):
        again = recording.from_json(form.encode(), "test")
        assert again.tables == snapshot.tables
        assert len({table.base for table in again.tables.values()}) == 1
        assert json_v1.render(judge(again)) == json_v1.render(judge(snapshot))


def test_a_table_that_has_little_in_common_with_others_is_held_whole() -> None:
    """And so is each of the first few such."""
    mesh = Mesh()
    for number in range(20):
        mesh.node(f"n{number}", f"10.0.0.{number}")
    whole, other = mesh.table(NodeId("dc1", "n0")), RouteTable(b"x\n")
    bases = Bases()
    for table in (whole, other, whole):
        assert bases.held(table) == table
        assert bases.held(table).base == table.text


def test_a_difference_that_does_not_fit_its_table_is_refused() -> None:
    """Whatever is wrong with it."""
    bases = Bases()
    snapshot = bad_night()
    held = {key: bases.held(table) for key, table in snapshot.tables.items()}
    document = json.loads(recording.to_json(replace(snapshot, tables=held)))
    digest, form = next(iter(document["differences"].items()))
    for wrong, says in (
        ({"base": "0" * 64}, "not in the file"),
        ({"without": form["plus"]}, "does not fit"),
        ({"plus": form["without"]}, "does not fit"),
        ({"plus": form["plus"] * 2}, "line twice"),
        ({"plus": form["plus"].replace("10.0.", "10.00.")}, "leading zero"),
        ({"plus": "x\n"}, "no node sends"),
    ):
        document["differences"][digest] = form | wrong
        with pytest.raises(SnapshotError, match=says):
            recording.from_json(json.dumps(document).encode(), "test")
