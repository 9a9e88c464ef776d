"""The order in which addresses are tried: each that may be handed out once, and nothing that may not."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.repair.claims.candidates import candidates, kept_off
from auditor.values.addresses import Prefix, network

POOL = (Prefix("10.0.0.0/8"),)


@given(
    length=st.integers(22, 32), start=st.integers(0, 2**32 - 1), seed=st.text(max_size=20), six=st.booleans()
)
def test_each_address_of_a_prefix_comes_once_but_for_those_kept_off(
    length: int, start: int, seed: str, six: bool
) -> None:
    bits = 128 if six else 32
    source = Prefix(str(ip_network((start << (bits - 32), length + bits - 32), strict=False)))
    whole = network(source)
    found = list(candidates(source, (), seed))
    spared = 0 if whole.num_addresses < 4 else 2 if six else 3
    assert len(set(found)) == len(found) == whole.num_addresses - spared
    assert all(network(prefix).subnet_of(whole) for prefix in found)  # type: ignore[arg-type]
    assert not any(kept_off(prefix, source, ()) for prefix in found)


def test_the_same_asker_tries_the_same_addresses_and_others_begin_elsewhere() -> None:
    firsts = [next(candidates(Prefix("10.16.0.0/12"), POOL, f"node-{number}")) for number in range(200)]
    assert firsts == [
        next(candidates(Prefix("10.16.0.0/12"), POOL, f"node-{number}")) for number in range(200)
    ]
    assert len(set(firsts)) >= 199


@pytest.mark.parametrize(
    ("source", "off"),
    [
        ("10.0.0.0/24", ["10.0.0.0", "10.0.0.1", "10.0.0.255"]),
        ("10.255.255.0/24", ["10.255.255.0", "10.255.255.1", "10.255.255.255"]),
        ("fd00::/120", ["fd00::", "fd00::1"]),
        ("10.16.0.8/31", []),
    ],
)
def test_the_first_network_and_broadcast_address_of_source_and_pool_are_kept_off(
    source: str, off: list[str]
) -> None:
    found = set(candidates(Prefix(source), POOL, "seed"))
    everything = {f"{address}/{address.max_prefixlen}" for address in ip_network(source)}
    assert everything - found == {str(ip_network(address)) for address in off}


@pytest.mark.parametrize("source", ["10.0.0.0/8", "fd00::/64"])
def test_a_wide_prefix_costs_no_more_than_what_is_taken_of_it(source: str) -> None:
    """A list of all its addresses would not fit into memory."""
    assert len(set(islice(candidates(Prefix(source), POOL, "seed"), 1000))) == 1000
