"""Guess at pools: wide enough for addresses that nobody was given yet."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.registry.guess.pool_guess import Pools, guess_pools, pool_with
from auditor.values.addresses import Prefix, covers, network, parse_prefix


def guessed(addresses: Iterable[str]) -> Pools:
    """The pools of these addresses, each of a node of its own."""
    return guess_pools([(f"n{number}", parse_prefix(text)) for number, text in enumerate(addresses)])


@pytest.mark.parametrize(
    ("addresses", "pools"),
    [
        (["10.20.0.1", "10.20.1.9"], ["10.20.0.0/16"]),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["10.0.0.0/8"]),  # counted up from the block's first address
        (["10.0.0.1", "10.20.0.5", "10.200.0.7"], ["10.0.0.0/8"]),
        (["192.168.5.1", "192.168.5.2"], ["192.168.0.0/16"]),
        (["172.20.1.1", "172.20.1.2"], ["172.20.0.0/16"]),
        (["100.101.0.1", "100.102.0.1"], ["100.64.0.0/10"]),
        (["fd12:3456:789a::1", "fd12:3456:789a:1::1"], ["fd12:3456:789a::/48"]),
        (["10.20.0.1", "fd12:3456:789a::1"], ["10.20.0.0/16", "fd12:3456:789a::/48"]),
    ],
)
def test_a_pool_has_a_usual_size_around_what_was_given(addresses: list[str], pools: list[str]) -> None:
    assert [item.pool for item in guessed(addresses).pools] == pools


def test_a_few_strays_make_no_pool_and_are_named() -> None:
    found = guessed([*(f"10.20.0.{number}" for number in range(1, 60)), "192.168.1.5"])
    assert [item.pool for item in found.pools] == ["10.20.0.0/16"]
    assert (found.outside, found.outside_count) == ((("n59", "192.168.1.5/32"),), 1)


def test_the_smallest_prefix_is_told_beside_the_proposed_one() -> None:
    (pool,) = guessed(["10.20.0.1", "10.20.1.9"]).pools
    assert (pool.smallest, pool.addresses, pool.of) == ("10.20.0.0/23", 2, 2)


def test_a_pool_that_a_person_names_is_counted() -> None:
    found = pool_with(Prefix("10.0.0.0/8"), [("a", Prefix("10.1.0.1/32")), ("b", Prefix("192.0.2.1/32"))])
    assert (found.addresses, found.of) == (1, 2)


@given(st.lists(st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str), max_size=12))
def test_each_address_lies_in_a_pool_or_is_counted_outside(addresses: list[str]) -> None:
    entries = [("n", Prefix(f"{text}/{128 if ':' in text else 32}")) for text in addresses]
    found = guess_pools(entries)
    inside = [
        prefix
        for _, prefix in entries
        if any(covers(network(item.pool), network(prefix)) for item in found.pools)
    ]
    assert sum(item.addresses for item in found.pools) + found.outside_count == len(entries)
    assert len(inside) >= sum(item.addresses for item in found.pools)
