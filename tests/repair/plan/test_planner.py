"""Plans: equal for equal snapshots, of addresses that are free, and only for what was seen."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.demo.demo_fleet import build_fleet
from auditor.errors import GapReason
from auditor.fleet.address_plan import AddressPlan
from auditor.judge import judge
from auditor.repair.moves import Kind, RepairPlan, Rule, Step, steps_of
from auditor.values.address_claims import AddressClaim, ClaimState, RepairPolicy
from auditor.values.addresses import Prefix, network, parse_prefix
from auditor.values.drains import DrainMeans, DrainPolicy
from auditor.values.models import NodeId, SharedAddress, Snapshot
from tests.demo.snapshots import snapshot_of
from tests.fleets import FINISHED, Mesh, key_of, of, prefixes
from tests.repair.plans import PAIR, carried_out, everything_known, meshes, node, pair, planned

SHARED = parse_prefix(PAIR)
Item = TypeVar("Item")


def shuffled(snapshot: Snapshot, chance: random.Random) -> Snapshot:
    """The same snapshot with its parts in another order."""

    def mixed(items: tuple[Item, ...]) -> tuple[Item, ...]:
        return tuple(chance.sample(items, len(items)))

    return replace(
        snapshot,
        registrations=mixed(snapshot.registrations),
        observations=mixed(snapshot.observations),
        gaps=mixed(snapshot.gaps),
        in_flight=mixed(snapshot.in_flight),
    )


# Properties


@given(meshes(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_same_snapshot_gives_the_same_plan_in_whatever_order(mesh: Mesh, chance: random.Random) -> None:
    snapshot = mesh.snapshot()
    assert planned(shuffled(snapshot, chance)) == planned(snapshot)


@given(meshes())
@settings(max_examples=40, deadline=None)
def test_a_new_address_is_free_alone_and_none_of_those_that_are_never_handed_out(mesh: Mesh) -> None:
    made = planned(mesh)
    fresh = [move for move in made.moves if move.kind is Kind.RENUMBER]
    news = [move.new for move in fresh]
    assert len(set(news)) == len(news)
    assert not set(news) & everything_known(mesh)
    for move in fresh:
        assert network(move.new).subnet_of(network(move.source))  # type: ignore[arg-type]
        plan = AddressPlan(mesh.policy.pools, mesh.policy.region_pools)
        assert not plan.is_reserved(move.new, move.source)


@given(meshes())
@settings(max_examples=40, deadline=None)
def test_everybody_at_a_contested_address_keeps_it_moves_or_is_left_out_with_a_reason(mesh: Mesh) -> None:
    made = planned(mesh)
    for contested in made.contested:
        moved = [move.node for move in contested.moves]
        left = [item.node for item in contested.left_out]
        kept = [contested.keeper.node] if contested.keeper.node else []
        assert Counter([*moved, *left, *kept]) == Counter(contested.claimants)
        assert all(item.why for item in contested.left_out)
    told = {item.address for item in made.contested} | {item.address for item in made.left_out}
    standing = {item.subject for item in of(judge(mesh.snapshot()), "duplicate-address")}
    assert told == set(map(parse_prefix, standing))


@given(meshes())
@settings(max_examples=30, deadline=None)
def test_nothing_moves_that_was_not_seen_as_the_plan_has_it(mesh: Mesh) -> None:
    snapshot = mesh.snapshot()
    devices = {item.node: item.device for item in snapshot.observations}
    flying = {item.node for item in snapshot.in_flight}
    for move in planned(snapshot).moves:
        assert move.old in devices[move.node].addresses
        assert devices[move.node].public_key == move.public_key
        assert move.node not in flying


@given(meshes())
@settings(max_examples=40, deadline=None)
def test_an_address_that_is_planned_whole_is_contested_no_more_once_the_plan_is_carried_out(
    mesh: Mesh,
) -> None:
    made = planned(mesh)
    whole = {item.address for item in made.contested if not item.left_out}
    untouched = {
        parse_prefix(item.subject) for item in of(judge(mesh.snapshot()), "duplicate-address")
    } - whole
    after = judge(carried_out(mesh, made))
    assert {parse_prefix(item.subject) for item in of(after, "duplicate-address")} <= untouched


@pytest.mark.parametrize(("nodes", "seed"), [(15, 1), (60, 7), (200, 36)])
def test_the_demo_fleets_incident_is_planned_whole(nodes: int, seed: int) -> None:
    fleet = build_fleet(nodes, seed)
    assert fleet.incident is not None
    made = planned(snapshot_of(fleet))
    assert {item.address for item in made.contested} == {item.address for item in fleet.incident.contests}
    assert len(made.moves) == 3
    assert not made.left_out
    assert all(not item.left_out for item in made.contested)


# Single rules


def only_move(made: RepairPlan) -> tuple[NodeId, Prefix]:
    [move] = made.moves
    return move.node, move.new


def test_the_younger_moves_with_all_that_the_write_needs() -> None:
    [contested] = planned(pair()).contested
    [move] = contested.moves
    assert contested.keeper.node == node("old")
    assert (move.node, move.rule, move.where, move.modify_index) == (
        node("new"),
        Rule.OLDEST,
        "wireguard/nodes/new",
        20,
    )
    assert move.addresses_after == (move.new,)
    assert move.sample == (node("watch-b"),)
    assert move.host == "underlay.new"


def test_a_new_address_comes_from_the_regions_prefix() -> None:
    made = planned(pair(region_pools={"sin": Prefix("10.99.0.0/16"), "fra": Prefix("10.98.0.0/16")}))
    assert network(only_move(made)[1]).subnet_of(network(Prefix("10.99.0.0/16")))  # type: ignore[arg-type]


def test_the_pool_gives_no_address_that_another_region_is_planned_for() -> None:
    """Else the repair would end in a region-mismatch."""
    regions = {"fra": Prefix("10.0.0.0/9"), "ams": Prefix("10.128.0.0/10")}
    made = planned(pair(region_pools=regions))
    assert network(only_move(made)[1]).subnet_of(network(Prefix("10.192.0.0/10")))  # type: ignore[arg-type]


def claim(prefix: Prefix, state: ClaimState, days: float | None = None) -> AddressClaim:
    until = FINISHED + timedelta(days=days) if days is not None else None
    return AddressClaim(prefix, state, "somebody", None, FINISHED - timedelta(days=40), until)


@pytest.mark.parametrize(
    ("state", "days", "free"),
    [
        (ClaimState.HELD, None, False),
        (ClaimState.RESERVED, None, False),
        (ClaimState.SEEN, None, False),
        (ClaimState.RELEASED, 1, False),
        (ClaimState.RELEASED, None, False),
        (ClaimState.RELEASED, -1, True),
    ],
)
def test_what_is_claimed_or_in_quarantine_is_not_free(
    state: ClaimState, days: float | None, free: bool
) -> None:
    first = only_move(planned(pair()))[1]
    snapshot = replace(pair().snapshot(), address_claims=(claim(first, state, days),))
    assert (only_move(planned(snapshot))[1] == first) is free


def test_an_address_in_an_unreadable_registration_is_not_free() -> None:
    first = only_move(planned(pair()))[1]
    mesh = pair().broken("odd")
    mesh.invalid[0] = replace(mesh.invalid[0], excerpt=f'{{"ip": "{network(first).network_address}", oops')
    made = planned(mesh)
    assert only_move(made)[1] != first
    assert any("cannot be read" in note for note in made.notes)


def test_an_exits_default_route_does_not_make_every_address_taken() -> None:
    mesh = pair().node("exit", "10.7.1.9", "0.0.0.0/0", index=3)
    assert len(planned(mesh).moves) == 1


def test_a_source_without_a_free_address_leaves_the_mover_out() -> None:
    mesh = pair(pools=prefixes(["10.7.0.8/30"]))
    mesh.node("other", "10.7.0.10", index=5)
    [contested] = planned(mesh).contested
    assert contested.left_out[0].why == "no free address was found in 10.7.0.8/30"


def test_a_device_that_drifted_goes_back_to_what_is_registered() -> None:
    mesh = Mesh().node("a", PAIR, index=1).node("b", "10.7.0.8", index=2).holds("b", PAIR)
    [move] = planned(mesh).moves
    assert (move.kind, move.node, move.new) == (Kind.RESTORE, node("b"), Prefix("10.7.0.8/32"))
    assert move.addresses_after == (Prefix("10.7.0.8/32"),)


def test_a_node_at_two_contested_addresses_moves_from_one_and_waits_with_the_other() -> None:
    """After the first move its registration has another index: the second would be refused."""
    mesh = Mesh().node("a", PAIR, "10.7.0.8", index=1).node("b", PAIR, "10.7.0.8", index=2)
    made = planned(mesh)
    assert len(made.moves) == 1
    assert "make a new plan afterwards" in made.contested[1].left_out[0].why


def test_nodes_without_workload_move_first() -> None:
    mesh = pair().node("z", "10.7.0.3", index=5).node("y", "10.7.0.3", index=6)
    snapshot = replace(mesh.snapshot(), workloads=frozenset({node("y"), node("z"), node("old")}))
    made = planned(snapshot, RepairPolicy(workload_service="shop"))
    assert [move.node.name for move in made.moves] == ["new", "y"]


@pytest.mark.parametrize(
    ("mesh", "says"),
    [
        (pair().not_seen("new"), "it was not seen (connect-refused)"),
        (pair().rekeyed("new", "other"), "key-drift"),
        (pair().holds("new", "10.7.0.77"), "its device holds 10.7.0.77"),
        (pair().answers_as("new", "watch-a"), "another server answered in its place"),
        (pair().node("clone", "10.7.3.3", key="new", index=7), "clone@dc1 has the same key"),
    ],
    ids=["not seen", "another key", "drifted off", "wrong host", "a clone"],
)
def test_who_cannot_be_vouched_for_is_left_out_with_the_reason(mesh: Mesh, says: str) -> None:
    [contested] = planned(mesh).contested
    assert not contested.moves
    assert says in contested.left_out[0].why


@pytest.mark.parametrize(
    ("mesh", "says"),
    [
        (pair().gap(GapReason.CONSUL_TIMEOUT), "the registry was not seen whole (consul-timeout)"),
        (
            Mesh()
            .node("a", "10.7.0.0/24", "10.7.1.1", index=1)
            .node("b", "10.7.0.0/24", "10.7.1.2", index=2),
            "a network, not one address",
        ),
        (pair().node("late", PAIR, index=30).flying("late"), "did not hold still during the sweep"),
        (Mesh().node("a", PAIR, key="same").node("b", PAIR, key="same"), "one and the same key"),
    ],
    ids=["blind registry", "a network", "in flight", "one key"],
)
def test_an_address_that_nobody_can_vouch_for_is_left_out_whole(mesh: Mesh, says: str) -> None:
    made = planned(mesh)
    assert not made.moves
    [left] = made.left_out
    assert left.node is None
    assert says in left.why


def test_a_keeper_that_was_not_seen_is_named_as_such() -> None:
    [contested] = planned(pair().not_seen("old")).contested
    assert contested.keeper.why.endswith("it was not seen (connect-refused)")


def test_what_a_second_look_no_longer_shows_needs_no_move() -> None:
    drifted = Mesh().node("a", PAIR, index=1).node("b", "10.7.0.8", index=2)
    first = Mesh().node("a", PAIR, index=1).node("b", "10.7.0.8", index=2).holds("b", PAIR)
    assert not planned(first.snapshot(again=drifted)).moves
    assert planned(first).moves


def test_an_address_that_is_shared_by_agreement_needs_no_move() -> None:
    agreed = SharedAddress(SHARED, frozenset({"old", "new"}), "anycast", FINISHED + timedelta(days=9))
    assert not planned(pair(shared=(agreed,))).contested


def test_one_address_alone_can_be_planned() -> None:
    mesh = pair().node("z", "10.7.0.3", index=5).node("y", "10.7.0.3", index=6)
    assert [item.address for item in planned(mesh, only=SHARED).contested] == [SHARED]


def test_not_enough_seen_and_a_key_that_nobody_knows_are_told() -> None:
    mesh = pair().not_seen("watch-a").peers_with("watch-b", "ghost", PAIR)
    notes = " ".join(planned(mesh).notes)
    assert "Not enough was seen" in notes
    assert "routed to a key that no registration knows" in notes
    assert key_of("ghost") not in {move.public_key for move in planned(mesh).moves}


def test_indexes_that_are_not_known_are_told() -> None:
    mesh = Mesh().node("a", PAIR).node("b", PAIR)
    made = planned(mesh, keep=frozenset({node("a")}))
    assert [move.modify_index for move in made.moves] == [None]
    assert any("without indexes" in note for note in made.notes)


# -- out of production

DRAIN = DrainPolicy(DrainMeans.COMMAND, ("drain", "{node}", "{region}"), ("undrain", "{node}", "{address}"))


@given(meshes(), st.booleans())
@settings(deadline=None)
def test_every_drain_has_its_undrain_and_all_that_changes_a_node_lies_between(
    mesh: Mesh, drained: bool
) -> None:
    made = planned(mesh, RepairPolicy(drain=DRAIN if drained else None))
    for move in made.moves:
        steps = steps_of(move, made.drain)
        assert (steps[0] is Step.DRAIN, steps[-1] is Step.UNDRAIN) == (drained, drained)
        assert (steps.count(Step.DRAIN), steps.count(Step.UNDRAIN)) == (drained, drained)
        assert [step for step in Step if step in steps] == list(steps)
        assert list(steps_of(move, None)) == [step for step in steps if "drain" not in step.value]


def test_a_plan_that_drains_is_another_one_for_each_way_to_do_it() -> None:
    """What was planned is what is applied."""
    maintenance = DrainPolicy(DrainMeans.CONSUL_MAINTENANCE)
    idents = {planned(pair(), RepairPolicy(drain=drain)).ident for drain in (None, DRAIN, maintenance)}
    assert len(idents) == 3


@pytest.mark.parametrize(
    ("name", "region", "says"),
    [
        ("--force", "sin", "its name is none that is put into a command"),
        ("late", None, "its region is not known"),
    ],
)
def test_a_node_that_cannot_be_named_to_the_command_is_left_out(
    name: str, region: str | None, says: str
) -> None:
    mesh = (
        Mesh().node("old", "10.7.0.9", region="fra", index=10).node(name, "10.7.0.9", region=region, index=20)
    )
    made = planned(mesh, RepairPolicy(drain=DRAIN))
    (left,) = made.contested[0].left_out
    assert left.node == node(name)
    assert says in left.why
    assert planned(mesh).moves
