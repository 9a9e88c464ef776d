"""Keys met at hosts, turn by turn: who is at two at once, who moved, and who is asked when."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId
from auditor.watch.met_keys import FEWEST, FORGOTTEN, LINES, MOST, MetKeys, observers_of_turn
from tests.fleets import key_of

KEY = key_of("edge-sin-1")
OBSERVERS = [NodeId("", f"edge-fra-{number}") for number in range(1, 7)]
HERE, THERE = "198.18.0.1", "198.18.0.66"
TURN = 60.0


def watched(
    where: Callable[[NodeId, float], tuple[str, float]], turns: int, keys: MetKeys | None = None
) -> MetKeys:
    """A watch of so many turns. where: the host of the key on an observer at a time, and its handshake's time."""
    keys = keys or MetKeys()
    for turn in range(1, turns + 1):
        now = turn * TURN
        met = []
        for observer in OBSERVERS:
            host, handshake = where(observer, now)
            met.append(PeersMet(observer, {KEY: f"{host}:51820"}, {KEY: int(now - handshake)}))
        keys.take(met, lambda _: frozenset({HERE}), now)
    return keys


def hosts(keys: MetKeys) -> set[str]:
    return {item.host for item in keys.meetings()}


def test_a_key_that_goes_on_to_be_met_at_two_hosts_is_at_both() -> None:
    keys = watched(lambda node, now: (HERE if node.name < "edge-fra-4" else THERE, now - 5), 2)
    assert hosts(keys) == {HERE, THERE}
    assert {item.observer for item in keys.meetings()} == {*OBSERVERS}


def test_at_first_sight_it_may_have_moved() -> None:
    assert (
        watched(lambda node, now: (HERE if node.name < "edge-fra-4" else THERE, now - 5), 1).meetings() == ()
    )


@given(moved=st.floats(0, 600), idle=st.sets(st.sampled_from(OBSERVERS)), turns=st.integers(1, 15))
def test_a_node_that_moved_once_is_never_at_two_hosts(moved: float, idle: set[NodeId], turns: int) -> None:
    """Idle observers keep the old endpoint and the old handshake; at no time is that a second place."""

    def where(node: NodeId, now: float) -> tuple[str, float]:
        if now <= moved:
            return HERE, now - 5
        return (HERE, moved - 5) if node in idle else (THERE, max(moved, now - 5))

    for number in range(1, turns + 1):
        assert watched(where, number).meetings() == ()


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=3, max_size=12))
def test_who_is_met_at_both_hosts_in_two_turns_running_is_at_both(flips: list[list[bool]]) -> None:
    """However the two take turns at the observers."""
    keys = watched(
        lambda node, now: (
            THERE if flips[int(now / TURN) - 1][OBSERVERS.index(node)] else HERE,
            now - 5,
        ),
        len(flips),
    )
    both = [len(set(turn)) == 2 for turn in flips]
    if any(one and two for one, two in itertools.pairwise(both)):
        assert hosts(keys) == {HERE, THERE}


def test_what_is_not_met_any_more_is_forgotten_but_not_while_nobody_answers() -> None:
    keys = watched(lambda node, now: (HERE if node.name < "edge-fra-4" else THERE, now - 5), 2)
    keys.take([], lambda _: frozenset(), 10 * FORGOTTEN)
    assert hosts(keys) == {HERE, THERE}
    keys.take([PeersMet(OBSERVERS[0], {KEY: f"{HERE}:1"}, {KEY: 5})], lambda _: frozenset(), 10 * FORGOTTEN)
    assert keys.meetings() == ()


@given(st.integers(1, 3000))
def test_each_observer_is_asked_in_turn_and_no_turn_asks_for_too_much(size: int) -> None:
    nodes = [NodeId("", f"n{number}") for number in range(size)]
    first = observers_of_turn(nodes, 0)
    assert len(first) == len(set(first)) == min(size, max(FEWEST, min(MOST, LINES // size)))
    turns = -(-size // len(first))
    if size < 200:
        assert {node for turn in range(turns) for node in observers_of_turn(nodes, turn)} == set(nodes)
