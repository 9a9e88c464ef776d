"""What a plan says of the time after it: who changes server, and which findings stand."""

from __future__ import annotations

from hypothesis import given, settings

from auditor.judge import judge
from auditor.repair.moves import Because
from auditor.values.address_claims import RepairPolicy
from auditor.values.addresses import parse_prefix
from tests.fleets import Mesh
from tests.repair.plans import PAIR, carried_out, meshes, node, pair, planned


@given(meshes())
@settings(max_examples=60, deadline=None)
def test_a_duplicate_that_stands_afterwards_was_told_of(mesh: Mesh) -> None:
    made = planned(mesh)
    told = {item.fingerprint for item in made.remaining}
    after = judge(carried_out(mesh, made)).standing
    assert {item.fingerprint for item in after if item.check.value == "duplicate-address"} <= told


def test_a_whole_repair_leaves_nothing() -> None:
    assert planned(pair()).remaining == ()


def test_what_is_left_out_stays_and_says_so() -> None:
    [left] = planned(pair().not_seen("new")).remaining
    assert (left.check, left.because) == ("duplicate-address", Because.LEFT_OUT)


def test_an_address_that_was_not_asked_for_stays() -> None:
    mesh = pair().node("y", "10.7.0.3", index=6).node("z", "10.7.0.3", index=5)
    [left] = planned(mesh, only=parse_prefix(PAIR)).remaining
    assert (left.subject, left.because) == ("10.7.0.3", Because.NOT_ASKED)


def test_a_pools_first_address_stays_a_finding_with_its_keeper_and_goes_with_nobody() -> None:
    mesh = Mesh().node("a", "10.0.0.1", index=1).node("b", "10.0.0.1", index=2)
    [left] = planned(mesh).remaining
    assert (left.check, left.because) == ("fallback-address", Because.KEEPER_HOLDS)
    assert planned(mesh, RepairPolicy(fallback_keeper="nobody")).remaining == ()


def test_nodes_that_were_not_seen_are_named() -> None:
    assert planned(pair().node("x", "10.7.0.3").not_seen("x")).unseen == (node("x"),)


def test_observers_of_movers_and_of_nobody_change_server() -> None:
    mesh = pair()
    for number, pick in enumerate(("old", "old", "new", None)):
        name = f"more-{number}"
        mesh.node(name, f"10.7.2.{number + 1}", index=50 + number)
        if pick is not None:
            mesh.picks(name, pick)
    [contested] = planned(mesh).contested
    known = {item.node: item.observers for item in contested.routed}
    assert contested.observers == sum(known.values())
    assert contested.reaching_keeper == known[node("old")]
    assert contested.changing == contested.observers - contested.reaching_keeper


def test_a_keeper_that_most_observers_reach_is_no_warning_and_one_that_fewer_reach_is() -> None:
    [contested] = planned(pair().picks("watch-b", "old")).contested
    assert not contested.poorly_reached
    [contested] = planned(pair().picks("watch-a", "new")).contested
    assert contested.poorly_reached
    assert contested.better_reached is not None
    assert contested.better_reached.node == node("new")
    [contested] = planned(pair().picks("watch-a", "new"), keep=[node("old")]).contested
    assert contested.poorly_reached
    assert contested.better_reached is None
