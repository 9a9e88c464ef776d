"""Sweeps of ten thousand simulated nodes, in virtual time: black holes, slow nodes, overload, limits."""

from __future__ import annotations

import random

import pytest

from auditor.errors import GapReason
from tests.networks import CONNECT_TIMEOUT, Network, Seconds, fleet, steady, swept

FLEET = 10_000
SMALLER = 3_000
"""Where the number of nodes is not what counts."""


def spread_out(draw: random.Random) -> float:
    """A long tail: half of the nodes within 0.2 s, some take seconds."""
    return min(5.0, draw.lognormvariate(-1.6, 0.8))


# Steady nodes of 0.3 s: the two tests that follow have them.
@pytest.mark.parametrize("answer", [steady(0.05), steady(1.0), spread_out], ids=["50ms", "1s", "tail"])
def test_one_black_hole_in_twenty_costs_less_than_two_connect_timeouts(answer: Seconds) -> None:
    """Each of the 500 is waited for twice; nobody waits for them."""
    whole, without = swept(Network(FLEET, answer))
    assert len(whole.observations) == FLEET
    network = Network(FLEET, answer, holes=0.05)
    holed, took = swept(network)
    assert {gap.reason for gap in holed.gaps} == {GapReason.CONNECT_TIMEOUT}
    assert (len(holed.observations), len(holed.gaps)) == (9_500, 500)
    assert all("tried twice" in gap.detail for gap in holed.gaps)
    assert took - without <= 2 * CONNECT_TIMEOUT


def test_a_black_hole_is_done_with_two_connect_timeouts_after_it_was_first_asked() -> None:
    """Both tries and the pause between them."""
    network = Network(FLEET, steady(0.3), holes=0.05)
    swept(network)
    assert {network.asked[node] for node in network.holes} == {2}
    assert max(network.ended[node] - network.began[node] for node in network.holes) <= 2 * CONNECT_TIMEOUT


def test_three_black_holes_in_ten_hold_nobody_up_either() -> None:
    """Each of 3,000 takes up room for less than half a second of the hundred places, and then none."""
    _, alone = swept(Network(7_000, steady(0.3)))
    network = Network(FLEET, steady(0.3), holes=0.3)
    snapshot, took = swept(network)
    assert len(snapshot.observations) == 7_000
    answering = {item.node for item in snapshot.observations}
    assert max(network.ended[node] for node in answering) < alone + 3_000 * 0.5 / 100
    assert took < alone + 3_000 * 0.5 / 100 + 2 * CONNECT_TIMEOUT


def test_with_room_for_few_all_are_asked_and_the_bound_holds() -> None:
    """An open connection each is what a low limit on files does not allow."""
    network = Network(SMALLER, steady(0.3), holes=0.3)
    snapshot, _ = swept(network, room=300)
    assert network.busiest == 300
    assert (len(snapshot.observations), len(snapshot.gaps)) == (0.7 * SMALLER, 0.3 * SMALLER)


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_nodes_that_take_seconds_are_asked_by_the_hundred(seconds: float) -> None:
    """Slow nodes are no reason to ask fewer: the window grows to the most that is allowed."""
    network = Network(FLEET, steady(seconds))
    _, took = swept(network)
    assert took < 1.15 * FLEET / 100 * seconds
    assert network.busiest <= 110


@pytest.mark.parametrize("logins", [4, 20, 60])
def test_a_network_that_resets_what_is_too_much_is_asked_for_less(logins: int) -> None:
    """Like sshd's MaxStartups: few are reset, nearly all of them answer the second time, and no time is wasted."""
    network = Network(FLEET, lambda draw: draw.uniform(0.1, 0.5), logins=logins)
    snapshot, took = swept(network)
    assert network.resets <= 0.03 * FLEET
    assert len(snapshot.gaps) <= 5
    assert took < 1.6 * FLEET * 0.3 / logins


@pytest.mark.parametrize("capacity", [20, 50, 200])
def test_where_more_at_once_brings_no_more_answers_no_more_are_asked(capacity: int) -> None:
    """The rest would only wait in line: it takes as long as the line does, and the line stays short."""
    network = Network(SMALLER, steady(0.3), capacity=capacity)
    _, took = swept(network, most=1_000)
    assert took < SMALLER / capacity + 3  # seconds to find out
    assert network.busiest <= 5 * max(8, 0.3 * capacity)


@pytest.mark.parametrize("broken", [0.01, 0.1, 0.5])
def test_nodes_that_always_hang_up_do_not_slow_the_others_down(broken: float) -> None:
    """It is not that there were too many at once, and the second try of each tells so."""
    network = Network(SMALLER, steady(0.3), broken=broken)
    snapshot, took = swept(network)
    assert len(snapshot.gaps) == broken * SMALLER
    assert took < 2 * SMALLER * 0.3 / 100


def test_a_fleet_that_is_dead_is_told_of_in_bounded_time() -> None:
    """Each one is waited for, but not one after the other."""
    snapshot, took = swept(Network(2_000, steady(0.3), holes=1.0))
    assert len(snapshot.gaps) == 2_000
    assert took < 2_000 / 12


def test_the_first_nodes_are_not_asked_in_one_burst() -> None:
    """Eight, and two for each that answers."""
    network = Network(SMALLER, steady(0.3))
    swept(network)
    begun = sorted(network.began.values())
    assert sum(moment < 0.3 for moment in begun) == 8
    assert sum(moment < 0.9 for moment in begun) <= 8 + 16 + 32


def test_what_stands_together_in_the_registry_is_not_asked_together() -> None:
    """Neighbours there are often neighbours in a rack, or behind one bastion."""
    network = Network(SMALLER, steady(0.3))
    swept(network)
    first = sorted(network.began, key=network.began.__getitem__)[:200]
    tenths = {int(node.name.removeprefix("node-")) * 10 // SMALLER for node in first}
    assert tenths == set(range(10))


def test_two_sweeps_of_one_fleet_see_the_same_in_the_same_order() -> None:
    """Who answered first does not show in a snapshot."""
    first, _ = swept(Network(500, spread_out, holes=0.1, seed=1))
    network = Network(500, spread_out, holes=0.1, seed=1)
    second, _ = swept(network, most=30)
    assert first.observations == second.observations
    assert first.gaps == second.gaps
    assert list(first.tables) == list(second.tables)
    assert [item.node for item in first.observations] == sorted(item.node for item in first.observations)
    assert [gap.node for gap in first.gaps] == sorted(node.name for node in network.holes)
    assert first.registrations == fleet(500)
