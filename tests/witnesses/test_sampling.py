"""Who asks where: bounded, spread over regions, repeatable, and never a claimant for its own address."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import AnswerSource
from auditor.witnesses.sampling import addresses_beside, questions_for

REGIONS = ("ams", "fra", "sin")


def node(number: int) -> Registration:
    return Registration(NodeId("dc1", f"n{number:03}"), None, (Prefix(f"10.0.0.{number}/32"),))


FLEET = {region: [node(number) for number in range(at, 90, 3)] for at, region in enumerate(REGIONS)}
ADDRESSES = [Prefix(f"10.0.0.{number}/32") for number in range(90)]
CLAIMANTS = {item.addresses[0]: {item.node} for nodes in FLEET.values() for item in nodes}

asked = st.lists(st.sampled_from(ADDRESSES), max_size=8)
seeds = st.text("abc", max_size=3)


@given(asked, st.integers(1, 5), seeds)
def test_each_address_is_asked_from_so_many_nodes_of_each_region(
    addresses: list[Prefix], each: int, seed: str
) -> None:
    found = questions_for(
        addresses, FLEET, AnswerSource.NATS, claimants=CLAIMANTS, each_region=each, seed=seed
    )
    region_of = {item.node: region for region, nodes in FLEET.items() for item in nodes}
    counts = Counter((item.address, region_of[item.observer.node]) for item in found)
    assert counts == {(address, region): each for address in set(addresses) for region in REGIONS}


@given(asked, st.none() | st.integers(1, 40), seeds)
def test_a_claimant_never_asks_for_its_own_address(
    addresses: list[Prefix], each: int | None, seed: str
) -> None:
    found = questions_for(
        addresses, FLEET, AnswerSource.NATS, claimants=CLAIMANTS, each_region=each, seed=seed
    )
    assert not [item for item in found if item.observer.node in CLAIMANTS[item.address]]


@given(asked, seeds)
def test_few_nodes_ask_for_many_addresses(addresses: list[Prefix], seed: str) -> None:
    """One more at most for each claimant among them."""
    found = questions_for(addresses, FLEET, AnswerSource.NATS, claimants=CLAIMANTS, each_region=2, seed=seed)
    assert len({item.observer.node for item in found}) <= 2 * len(REGIONS) + len(set(addresses))


def test_all_means_everybody_but_the_claimants() -> None:
    found = questions_for(
        ADDRESSES[:1], FLEET, AnswerSource.NATS, claimants=CLAIMANTS, each_region=None, seed="x"
    )
    assert len({item.observer.node for item in found}) == 89


def test_the_next_sweep_asks_others() -> None:
    samples = {
        tuple(
            item.observer.node
            for item in questions_for(
                ADDRESSES[:1], FLEET, AnswerSource.NATS, claimants={}, each_region=1, seed=seed
            )
        )
        for seed in "abcdef"
    }
    assert len(samples) > 1


@given(asked, st.floats(0, 1), seeds)
def test_beside_the_asked_addresses_a_share_of_the_others_is_asked(
    addresses: list[Prefix], share: float, seed: str
) -> None:
    beside = addresses_beside(ADDRESSES, addresses, share, seed)
    assert not set(beside) & set(addresses)
    assert len(beside) == len(set(beside)) <= share * len(ADDRESSES) + 1
    assert bool(beside) == (share > 0)
    assert beside == addresses_beside(reversed(ADDRESSES), addresses, share, seed)
