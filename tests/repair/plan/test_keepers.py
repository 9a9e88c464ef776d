"""Who keeps a contested address, by which rule, and what nobody decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.errors import Undecided
from auditor.fleet.fleet import Fleet
from auditor.repair.moves import Rule
from auditor.repair.plan.keepers import Decision, Workload, decide
from auditor.values.address_claims import RepairPolicy
from auditor.values.models import NodeId
from tests.fleets import Mesh, prefixes

A, B, C = (NodeId("dc1", name) for name in "abc")
SHARED, FIRST = prefixes(["10.7.0.9", "10.0.0.1"])


def three(address: str = "10.7.0.9") -> Mesh:
    """`a`, `b` and `c` are registered with one address; `b` was the first, `a` the last."""
    mesh = Mesh()
    for name, index in (("a", 30), ("b", 10), ("c", 20)):
        mesh.node(name, address, index=index)
    return mesh


def decided(
    mesh: Mesh,
    *,
    policy: RepairPolicy | None = None,
    keep: frozenset[NodeId] = frozenset(),
    works: frozenset[NodeId] | None = None,
) -> Decision:
    """The decision over the mesh's one contested address."""
    snapshot = replace(mesh.snapshot(), workloads=works)
    fleet = Fleet(snapshot)
    [(prefix, claimants)] = fleet.contested.items()
    policy = policy or RepairPolicy()
    return decide(fleet, policy, Workload(fleet, snapshot, policy), prefix, claimants, keep)


def test_the_lowest_create_index_keeps_and_the_sentence_has_the_numbers() -> None:
    keeper = decided(three()).keeper
    assert (keeper.node, keeper.rule) == (B, Rule.OLDEST)
    assert keeper.why == "lowest CreateIndex: 10, against c 20, a 30"
    assert keeper.addresses == (SHARED,)


@pytest.mark.parametrize(("keeper", "expected"), [("oldest", B), ("nobody", None)])
def test_the_configuration_says_who_keeps_what_came_from_the_fallback(
    keeper: str, expected: NodeId | None
) -> None:
    decision = decided(three("10.0.0.1"), policy=RepairPolicy(fallback_keeper=keeper))
    assert decision.keeper.node == expected
    assert set(decision.movers) == {A, B, C} - {expected}


def test_nobody_keeps_the_fallback_alone_not_any_address() -> None:
    assert decided(three(), policy=RepairPolicy(fallback_keeper="nobody")).keeper.node == B


def test_a_node_that_carries_workload_keeps_before_an_older_one() -> None:
    policy = RepairPolicy(workload_service="shop")
    keeper = decided(three(), policy=policy, works=frozenset({C})).keeper
    assert (keeper.node, keeper.rule) == (C, Rule.CARRIES_WORKLOAD)


def test_of_those_that_carry_workload_the_oldest_keeps_and_the_idle_move_first() -> None:
    policy = RepairPolicy(workload_service="shop")
    decision = decided(three(), policy=policy, works=frozenset({A, C}))
    assert (decision.keeper.node, decision.keeper.rule) == (C, Rule.CARRIES_WORKLOAD)
    assert decision.movers == (B, A)


@pytest.mark.parametrize("works", [None, frozenset(), frozenset({A, B, C})])
def test_workload_that_tells_nobody_apart_or_was_not_read_leaves_it_to_age(
    works: frozenset[NodeId] | None,
) -> None:
    keeper = decided(three(), policy=RepairPolicy(workload_service="shop"), works=works).keeper
    assert (keeper.node, keeper.rule) == (B, Rule.OLDEST)


def test_a_value_of_the_registration_says_who_carries_workload() -> None:
    mesh = three()
    mesh.registrations[A] = replace(mesh.registrations[A], values={"duty": "yes"})
    mesh.registrations[C] = replace(mesh.registrations[C], values={"duty": "No"})
    assert decided(mesh, policy=RepairPolicy(workload_field="duty")).keeper.node == A


def test_a_service_without_a_node_says_nothing_of_anybody() -> None:
    """So answers an older Consul whose token may not read the service."""
    snapshot = replace(three().snapshot(), workloads=frozenset())
    workload = Workload(Fleet(snapshot), snapshot, RepairPolicy(workload_service="shop"))
    assert workload.is_idle(A) is None


def test_a_value_that_no_registration_has_says_nothing_of_anybody() -> None:
    """A recording holds no such values: that must not turn every node into an idle one."""
    snapshot = three().snapshot()
    workload = Workload(Fleet(snapshot), snapshot, RepairPolicy(workload_field="duty"))
    assert workload.is_idle(A) is None


def test_keep_stands_above_every_rule() -> None:
    decision = decided(three("10.0.0.1"), policy=RepairPolicy(fallback_keeper="nobody"), keep=frozenset({A}))
    assert (decision.keeper.node, decision.keeper.rule) == (A, Rule.CHOSEN)


@pytest.mark.parametrize(
    ("mesh", "keep", "says"),
    [
        (three(), frozenset({A, B}), "names 2 of its claimants"),
        (
            three().node("d", "10.7.0.8").holds("d", "10.7.0.9"),
            frozenset({NodeId("dc1", "d")}),
            "another address",
        ),
        (Mesh().node("a", "10.7.0.9", index=1).node("b", "10.7.0.9"), frozenset(), "b has no CreateIndex"),
        (
            Mesh().node("a", "10.7.0.9", index=1).node("b", "10.7.0.9", index=1),
            frozenset(),
            "the same CreateIndex",
        ),
        (
            Mesh().node("a", "10.7.0.9", index=1).node("b", "10.7.0.9", index=9, dc="dc2"),
            frozenset(),
            "different datacenters",
        ),
    ],
    ids=["two kept", "kept but not registered", "no index", "equal indexes", "datacenters"],
)
def test_what_no_rule_decides_is_said_and_not_guessed(mesh: Mesh, keep: frozenset[NodeId], says: str) -> None:
    with pytest.raises(Undecided, match=says):
        decided(mesh, keep=keep)


def test_the_only_registered_holder_keeps_against_those_that_drifted() -> None:
    mesh = Mesh().node("a", "10.7.0.9").node("b", "10.7.0.8").holds("b", "10.7.0.9")
    keeper = decided(mesh).keeper
    assert (keeper.node, keeper.rule) == (A, Rule.ONLY_REGISTERED)


def test_nobody_keeps_what_nobody_registered() -> None:
    mesh = Mesh().node("a", "10.7.0.7").node("b", "10.7.0.8").holds("a", "10.7.0.9").holds("b", "10.7.0.9")
    decision = decided(mesh)
    assert decision.keeper.node is None
    assert decision.movers == (A, B)
