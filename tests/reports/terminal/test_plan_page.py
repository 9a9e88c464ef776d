"""The plan on a screen: who keeps and why, who moves where, what is left out, and what comes next."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from auditor.repair.moves import RepairPlan
from auditor.reports.interface import Layout
from auditor.reports.terminal.plan_page import render_plan
from tests.fleets import Mesh
from tests.repair.plans import pair, planned


def mesh() -> Mesh:
    """Two contested addresses; one claimant of the second was not seen."""
    found = (
        pair().node("y", "10.7.0.3", index=6).node("z", "10.7.0.3", index=5).node("x", "10.7.0.3", index=7)
    )
    return found.not_seen("x")


@pytest.fixture
def made() -> RepairPlan:
    return planned(mesh())


def test_the_table_says_who_keeps_by_which_rule_who_moves_and_who_stays(made: RepairPlan) -> None:
    text = render_plan(made, Layout())
    assert "2 contested addresses · 2 moves · 1 left out in whole or part" in text
    assert "  kept by   old\n            oldest-registration: lowest CreateIndex: 10, against new 20" in text
    assert (
        f"  moves     new  to {made.contested[1].moves[0].new.removesuffix('/32')} · out of 10.0.0.0/8"
        in text
    )
    assert "  stays     x: it was not seen (connect-refused)" in text
    assert "oldest-registration  the oldest registration (lowest CreateIndex) keeps it" in text


@pytest.mark.parametrize("label", ["before", "consul", "node", "file", "peers", "after", "back"])
def test_each_move_tells_all_that_it_needs_and_its_way_back(made: RepairPlan, label: str) -> None:
    assert render_plan(made, Layout(width=160)).count(f"\n    {label} ") == 2


def test_the_consul_write_names_key_index_and_both_addresses(made: RepairPlan) -> None:
    new = made.moves[1].new.removesuffix("/32")
    lines = render_plan(made, Layout(width=160)).splitlines()
    assert f"            wireguard/nodes/new, cas 20: 10.7.0.9 → {new}" in lines


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_screen(made: RepairPlan, width: int, ascii_only: bool) -> None:
    text = render_plan(made, Layout(width=width, ascii_only=ascii_only))
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.isascii() or not ascii_only


def test_names_out_of_the_registry_move_no_cursor(made: RepairPlan) -> None:
    [move] = made.contested[1].moves
    odd = replace(move, node=move.node._replace(name="\x1b[2Jnew\n"), where="a\x1b]0;b", why="\u202ec")
    hostile = replace(made, contested=(replace(made.contested[1], moves=(odd,)),), notes=("\x07",))
    text = render_plan(hostile, Layout())
    assert all(line.isprintable() for line in text.splitlines())


def test_beyond_the_limit_moves_are_counted(made: RepairPlan) -> None:
    text = render_plan(made, Layout(limit=1))
    assert "and 1 more: see them with --address ADDRESS" in text
    assert text.count("    back ") == 1


def test_an_empty_plan_says_so(made: RepairPlan) -> None:
    text = render_plan(planned(Mesh().node("a", "10.7.0.1")), Layout())
    assert "nothing to do: no contested address" in text
    assert "NEXT" not in text


def test_an_empty_plan_of_a_blind_sweep_is_no_all_clear() -> None:
    blind = planned(Mesh().node("a", "10.7.0.1").not_seen("a"))
    text = " ".join(render_plan(blind, Layout()).split())
    assert "nothing to do: no contested address was seen, but not enough was seen" in text


def test_what_comes_next_names_the_file_that_was_written(made: RepairPlan) -> None:
    text = render_plan(made, Layout(config="my conf.toml"), file="a plan.json")
    assert "  wgaudit apply --config 'my conf.toml' 'a plan.json' --dry-run\n" in text
