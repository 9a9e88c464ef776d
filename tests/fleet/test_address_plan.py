"""Pools, regions and their addresses: what may be handed out is what the audit finds no fault with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.fleet.address_plan import AddressPlan, Taken
from auditor.judge import judge
from auditor.values.addresses import Prefix, format_prefix, network
from tests.fleets import Mesh

ANY = AddressPlan((), {})
POOL = AddressPlan([Prefix("10.0.0.0/8"), Prefix("fd00::/16")], {})
NESTED = {"apac": Prefix("10.16.0.0/12"), "sin": Prefix("10.24.0.0/13")}


@given(
    length=st.integers(22, 32), start=st.integers(0, 2**32 - 1), seed=st.text(max_size=20), six=st.booleans()
)
@settings(deadline=None)
def test_each_address_of_a_prefix_comes_once_but_for_those_kept_off(
    length: int, start: int, seed: str, six: bool
) -> None:
    bits = 128 if six else 32
    source = Prefix(str(ip_network((start << (bits - 32), length + bits - 32), strict=False)))
    whole = network(source)
    found = list(ANY.candidates(source, "", seed))
    spared = 0 if whole.num_addresses < 4 else 2 if six else 3
    assert len(set(found)) == len(found) == whole.num_addresses - spared
    assert all(network(prefix).subnet_of(whole) for prefix in found)  # type: ignore[arg-type]
    assert not any(ANY.is_reserved(prefix, source) for prefix in found)


def test_the_same_asker_tries_the_same_addresses_and_others_begin_elsewhere() -> None:
    firsts = [next(POOL.candidates(Prefix("10.16.0.0/12"), "", f"node-{number}")) for number in range(200)]
    assert firsts == [
        next(POOL.candidates(Prefix("10.16.0.0/12"), "", f"node-{number}")) for number in range(200)
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
    found = set(POOL.candidates(Prefix(source), "", "seed"))
    everything = {f"{address}/{address.max_prefixlen}" for address in ip_network(source)}
    assert everything - found == {str(ip_network(address)) for address in off}


@pytest.mark.parametrize("source", ["10.0.0.0/8", "fd00::/64"])
def test_a_wide_prefix_costs_no_more_than_what_is_taken_of_it(source: str) -> None:
    """A list of all its addresses would not fit into memory."""
    assert len(set(islice(POOL.candidates(Prefix(source), "", "seed"), 1000))) == 1000


# -- what the allocator hands out, the audit accepts


def faults(plan: AddressPlan, region: str, addresses: Iterable[Prefix]) -> list[str]:
    """What the audit says of nodes of the region that are registered with these addresses."""
    mesh = Mesh(pools=plan.pools, region_pools=plan.regions)
    for number, address in enumerate(addresses):
        mesh.node(f"node-{number}", format_prefix(address), region=region)
    return [f"{item.check} {item.subject}" for item in judge(mesh.snapshot()).standing]


def first_of(plan: AddressPlan, region: str, number: int) -> list[Prefix]:
    """The first address that each of so many nodes of the region would get."""
    source = plan.regions[region]
    return [next(plan.candidates(source, region, f"node-{seed}")) for seed in range(number)]


def test_no_address_of_a_region_comes_out_of_a_region_nested_in_it() -> None:
    """Otherwise every second allocation would be a region-mismatch of our own audit."""
    plan = AddressPlan([Prefix("10.0.0.0/8")], NESTED)
    drawn = first_of(plan, "apac", 40)
    assert len(drawn) == 40
    assert faults(plan, "apac", drawn) == []
    assert faults(plan, "sin", first_of(plan, "sin", 40)) == []


@st.composite
def plans(draw: st.DrawFn) -> AddressPlan:
    """Small pools in 10.0.0.0/24, and regions that lie beside, in and around each other and the pools."""

    def prefix() -> Prefix:
        length = draw(st.integers(24, 30))
        return Prefix(str(ip_network((0x0A000000 + draw(st.integers(0, 255)), length), strict=False)))

    pools = draw(st.lists(st.builds(prefix), min_size=1, max_size=3))
    return AddressPlan(pools, {name: prefix() for name in draw(st.sets(st.sampled_from("abcd"), min_size=1))})


@given(plans())
@settings(max_examples=20, deadline=None)
def test_allocator_and_checks_agree_on_every_address_of_every_region(plan: AddressPlan) -> None:
    """What is handed out is no finding, and what is not handed out is one, but for the ends of the region itself."""
    for region, source in plan.regions.items():
        given_out = set(plan.candidates(source, region, "seed"))
        everything = {Prefix(f"{address}/32") for address in ip_network(source)}
        assert given_out <= everything
        faulty = set().union(*judge_of(plan, region, everything))
        assert given_out.isdisjoint(faulty)
        assert all(plan.is_reserved(prefix, source) for prefix in everything - given_out - faulty)


def judge_of(plan: AddressPlan, region: str, addresses: Iterable[Prefix]) -> Iterator[set[Prefix]]:
    """The addresses of each of the audit's findings on nodes of the region that have them."""
    mesh = Mesh(pools=plan.pools, region_pools=plan.regions)
    for number, address in enumerate(addresses):
        mesh.node(f"node-{number}", format_prefix(address), region=region)
    snapshot = mesh.snapshot()
    of_node = {item.node: set(item.addresses) for item in snapshot.registrations}
    for finding in judge(snapshot).standing:
        yield set().union(*(of_node[node] for node in finding.nodes))


def test_regions_of_one_prefix_contradict_neither() -> None:
    plan = AddressPlan([Prefix("10.0.0.0/8")], {"fra": Prefix("10.1.0.0/16"), "sin": Prefix("10.1.0.0/16")})
    for region in plan.regions:
        assert faults(plan, region, first_of(plan, region, 5)) == []


@pytest.mark.parametrize(
    ("pools", "regions"),
    [
        (["10.0.0.0/8"], {"a": "10.0.0.0/9", "b": "10.0.0.0/10", "c": "10.64.0.0/10"}),
        (["10.0.0.0/8"], {"a": "192.168.0.0/16"}),
    ],
)
def test_a_region_that_is_filled_by_others_or_lies_in_no_pool_has_no_address_to_give(
    pools: list[str], regions: dict[str, str]
) -> None:
    """And that is known at once, not after millions of tries."""
    plan = AddressPlan(
        [Prefix(pool) for pool in pools], {name: Prefix(text) for name, text in regions.items()}
    )
    assert next(plan.candidates(plan.regions["a"], "a", "seed"), None) is None


def test_a_network_that_holds_a_whole_source_takes_no_address_of_it() -> None:
    """A default route, or an exit's wide prefix, says nothing of one address."""
    plan = AddressPlan([Prefix("10.0.0.0/8")], NESTED)
    taken = Taken(
        plan, [Prefix("0.0.0.0/0"), Prefix("10.16.0.0/12"), Prefix("10.17.0.0/16"), Prefix("10.18.0.9/32")]
    )
    free = {text: taken.is_free(Prefix(f"{text}/32")) for text in ("10.16.0.9", "10.17.0.9", "10.18.0.9")}
    assert free == {"10.16.0.9": True, "10.17.0.9": False, "10.18.0.9": False}
