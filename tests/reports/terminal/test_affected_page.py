"""Who is affected, on a terminal: every name, grouped, within the columns, and nothing that escapes."""

from __future__ import annotations

from rich.cells import cell_len

from auditor.explain.affected import affected
from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.terminal.affected_page import render_affected
from tests.fleets import Mesh, contested, healthy, trio


def page(target: str, mesh: Mesh, layout: Layout | None = None) -> str:
    """The page of a target in a small fleet."""
    snapshot = mesh.snapshot()
    return render_affected(affected(snapshot, judge(snapshot), target), layout or Layout(width=80))


def test_observers_are_grouped_by_whom_they_reach_then_by_region() -> None:
    assert page("10.0.0.9", contested()) == (
        "10.0.0.9: 5 of 5 observers lose somebody: 3 lose twin-fra and 2 lose twin-sin\n\n"
        "10.0.0.9  claimed by twin-fra (fra) and twin-sin (sin)\n\n"
        "  2 observers reach twin-sin (sin), lose twin-fra (fra)\n"
        "    ams 1  watch-a\n"
        "    sin 1  watch-b\n\n"
        "  1 observer reaches twin-fra (fra), loses twin-sin (sin)\n"
        "    ams 1  watch-c\n\n"
        "  2 observers hold it themselves, and lose the other\n"
        "    fra 1  twin-fra\n"
        "    sin 1  twin-sin\n\n"
        "NEXT\n"
        "  wgaudit explain 10.0.0.9\n"
        "  wgaudit plan --address 10.0.0.9\n"
    )


def test_every_observer_is_named_and_no_line_is_wider_than_the_screen() -> None:
    mesh = contested()
    names = [f"watch-over-the-whole-fleet-{number:03}" for number in range(200)]
    for number, name in enumerate(names):
        mesh.node(name, f"10.2.{number}.1", region="ams").picks(name, "twin-sin")
    for columns in (40, 80):
        text = page("10.0.0.9", mesh, Layout(width=columns))
        assert max(map(cell_len, text.splitlines())) <= columns
        assert all(name in "".join(text.split()) for name in names)


def test_what_a_node_loses_as_an_observer_is_told() -> None:
    assert "AS AN OBSERVER  watch-c (ams)\n  10.0.0.9 → twin-fra (fra), not twin-sin (sin)\n" in page(
        "watch-c", contested()
    )


def test_a_whole_list_of_peers_that_is_gone_is_one_paragraph() -> None:
    mesh = healthy().lacks("edge-fra-1", "edge-sin-1", "edge-ams-1", "core-fra-2", "core-sin-2", "gate-ams-2")
    own = page("edge-fra-1", mesh).split("AS AN OBSERVER")[1]
    assert "8 addresses on no peer there:\n    10.0.0.3 edge-sin-1 (sin), 10.0.0.4 edge-ams-1" in own
    alike = page("ams", mesh)
    assert "4 addresses  that the same observers have on no peer" in alike
    assert "  1 observer has it on no peer, loses each of them\n    fra 1  edge-fra-1\n" in alike


def test_nobody_loses_anybody_is_said_with_what_was_not_seen() -> None:
    text = page("10.0.0.2", trio().not_seen("edge-ams-1"))
    assert text.startswith("10.0.0.2: none of 2 observers loses anybody, as far as was seen\n")
    assert "NOT SEEN  1 node: whom they reach is not known\n  ams 1  edge-ams-1\n" in text


def test_a_route_that_does_not_arrive_says_why() -> None:
    other_key = page("10.0.0.2", trio().rekeyed("edge-fra-1", "new"))
    assert "send it to edge-fra-1 (fra), under a key that its device does not" in other_key
    down = page("10.0.0.2", trio().link_down("edge-fra-1"))
    assert "send it to edge-fra-1 (fra), whose link is down" in down


def test_hostile_names_are_harmless() -> None:
    mesh = contested().node("evil\x1b[2J\n", "10.0.9.9", region="r\x07").picks("evil\x1b[2J\n", "twin-sin")
    text = page("10.0.0.9", mesh)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "evil\\x1b[2J\\x0a" in text


def test_a_screen_of_ascii_gets_nothing_else() -> None:
    assert page("watch-c", contested(), Layout(ascii_only=True)).isascii()


def test_addresses_that_nobody_has_on_a_peer_name_the_observers_once() -> None:
    """Each list lacks its claimant; a page that repeats them all would be as long as the fleet squared."""
    mesh = healthy()
    for name in [node.name for node in mesh.machines]:
        mesh.lacks(name, *{"edge-sin-1", "edge-ams-1"} - {name})
    text = page("missing-peer", mesh)
    assert "2 addresses  that the same observers have on no peer\n  10.0.0.3 edge-sin-1 (sin)" in text
    assert text.count("core-fra-2") == 1
    assert "  No other node has them on a peer. Observers:\n" in text


def test_the_findings_of_a_check_are_named() -> None:
    assert "\n  warning   edge-sin-1\n" in page("missing-peer", trio().lacks("edge-fra-1", "edge-sin-1"))


def test_of_a_node_the_first_line_says_who_loses_it_and_what_it_loses() -> None:
    assert page("twin-sin", contested()).startswith(
        "twin-sin: 2 of 5 observers lose it; itself it loses somebody at 1 address\n"
    )
