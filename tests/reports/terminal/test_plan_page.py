"""The plan on a screen: who keeps and why, who moves where, what is left out, and what comes next."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from rich.cells import cell_len

from auditor.repair.moves import RepairPlan
from auditor.reports.interface import Layout
from auditor.reports.terminal.plan_page import render_plan
from auditor.values.guide import Guide
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
    assert "  keeps   old  oldest-registration: lowest CreateIndex: 10, against new 20" in text
    new = made.contested[1].moves[0].new.removesuffix("/32")
    assert f"  moves   new  10.7.0.9 → {new} · out of 10.0.0.0/8" in text
    assert "  stays   x: it was not seen (connect-refused)" in text


def test_the_first_screen_leaves_steps_and_rules_to_v(made: RepairPlan) -> None:
    short, long = render_plan(made, Layout()), render_plan(made, Layout(), detail=True)
    assert "STEP BY STEP" not in short
    assert "STEP BY STEP" in long
    assert "oldest-registration  the oldest registration (lowest CreateIndex) keeps it" in long
    assert "-v tells each step" in short
    assert len(short.splitlines()) <= 40


def test_it_tells_where_observers_send_an_address_now_and_how_many_change_server() -> None:
    mesh = pair().node("watch-c", "10.7.1.3", region="ams", index=3).picks("watch-c", "old")
    lines = render_plan(planned(mesh), Layout()).splitlines()
    assert "  now     old  ████████████████          2" in lines
    assert "          new  ████████                  1" in lines
    assert "  then    1 of 3 observers changes server" in lines


def test_it_warns_of_a_keeper_that_fewer_observers_reach_and_says_what_to_choose() -> None:
    mesh = pair().picks("watch-a", "new")
    text = " ".join(render_plan(planned(mesh), Layout()).split())
    assert (
        "old keeps the address, and nobody reaches it now; --keep new lets new keep it, and 0 would" in text
    )


def test_it_says_what_stays_unclean_and_why() -> None:
    text = render_plan(planned(mesh().node("d", "10.7.0.77").holds("d", "10.7.0.78")), Layout())
    assert "  duplicate-address  10.7.0.3" in text
    assert " more follow): left out above, in whole or part" in " ".join(text.split())
    assert "  address-drift      d: not a matter of moves" in text
    assert "  not seen           x: not known what is there, before and after" in text
    assert "  what to do: wgaudit explain d\n" in text


def many(number: int) -> RepairPlan:
    """A plan for so many contested pairs."""
    found = Mesh()
    for at in range(number):
        found.node(f"worker-sin-{at}", f"10.7.{at}.1", index=2 * at + 1)
        found.node(f"worker-fra-{at}", f"10.7.{at}.1", index=2 * at + 2)
    return planned(found)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_many_contested_addresses_get_one_line_each(ascii_only: bool) -> None:
    made = many(50)
    text = render_plan(made, Layout(ascii_only=ascii_only))
    assert sum(f"10.7.{at}.1 " in text for at in range(50)) == 50
    assert len(text.splitlines()) <= 50 + 25
    assert max(map(cell_len, text.splitlines())) <= 80
    arrow = "->" if ascii_only else "→"
    assert f"worker-fra-7 {arrow} {made.contested[7].moves[0].new.removesuffix('/32')}" in text


def test_a_command_that_is_wider_than_the_screen_can_be_pasted_all_the_same(made: RepairPlan) -> None:
    options = ("--keep", "a b", "--to", "worker-sin-1=10.7.0.200", "--to", "worker-sin-2=10.7.0.201")
    text = render_plan(made, Layout(), asked=options)
    pasted = text[text.index("  wgaudit plan") : text.index("  wgaudit apply")].replace("\\\n", "")
    assert shlex.split(pasted) == ["wgaudit", "plan", *options, "--output", "plan.json"]


def test_what_comes_next_asks_for_the_same_plan(made: RepairPlan) -> None:
    text = render_plan(made, Layout(), asked=("--keep", "a b"))
    assert "  wgaudit plan --keep 'a b' --output plan.json\n  wgaudit apply plan.json --dry-run\n" in text


@pytest.mark.parametrize("label", ["before", "consul", "node", "file", "peers", "after", "back"])
def test_each_move_tells_all_that_it_needs_and_its_way_back(made: RepairPlan, label: str) -> None:
    assert render_plan(made, Layout(width=160), detail=True).count(f"\n    {label} ") == 2


def test_the_consul_write_names_key_index_and_both_addresses(made: RepairPlan) -> None:
    new = made.moves[1].new.removesuffix("/32")
    lines = render_plan(made, Layout(width=160), detail=True).splitlines()
    assert f"            wireguard/nodes/new, cas 20: 10.7.0.9 → {new}" in lines


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_screen(made: RepairPlan, width: int, ascii_only: bool) -> None:
    text = render_plan(made, Layout(width=width, ascii_only=ascii_only), detail=True)
    assert max(map(cell_len, text.splitlines())) <= width
    assert text.isascii() or not ascii_only


def test_names_out_of_the_registry_move_no_cursor(made: RepairPlan) -> None:
    [move] = made.contested[1].moves
    odd = replace(move, node=move.node._replace(name="\x1b[2Jnew\n"), where="a\x1b]0;b", why="\u202ec")
    hostile = replace(made, contested=(replace(made.contested[1], moves=(odd,)),), notes=("\x07",))
    text = render_plan(hostile, Layout(), detail=True)
    assert all(line.isprintable() for line in text.splitlines())


def test_beyond_the_limit_moves_are_counted(made: RepairPlan) -> None:
    text = render_plan(made, Layout(limit=1), detail=True)
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
    text = render_plan(made, Layout(guide=Guide(config="my conf.toml")), file="a plan.json")
    assert "  wgaudit apply 'a plan.json' --config 'my conf.toml' --dry-run\n" in text
