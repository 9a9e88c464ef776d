"""Addresses that a person chose with `--to`: given if they are free and in place, else refused with one reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from auditor.errors import UsageError
from auditor.repair.moves import RepairPlan
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.models import Snapshot
from tests.fleets import FINISHED, Mesh, prefixes
from tests.repair.plans import node, pair, planned

POOLS = {"sin": Prefix("10.7.0.0/24"), "fra": Prefix("10.8.0.0/24")}


def mesh() -> Mesh:
    """The pair, of which `new` moves, in a mesh with a prefix for each region, and a second pair."""
    found = pair(pools=prefixes(["10.0.0.0/8"]), region_pools=POOLS)
    found.node("other-old", "10.7.0.10", region="sin", index=30)
    found.node("other-new", "10.7.0.10", region="sin", index=31)
    return found.node("drifted", "10.7.0.11", region="sin", index=40).holds("drifted", "10.7.0.12")


def claimed(state: ClaimState, until: timedelta | None = None) -> Snapshot:
    """The mesh with one claim in the store, to 10.7.0.60."""
    end = FINISHED + until if until is not None else None
    claim = AddressClaim(parse_prefix("10.7.0.60"), state, "gone", None, FINISHED, end, "allocate")
    return replace(mesh().snapshot(), address_claims=(claim,))


def chosen(source: Mesh | Snapshot, **to: str) -> RepairPlan:
    return planned(
        source, to={node(name.replace("_", "-")): parse_prefix(address) for name, address in to.items()}
    )


def test_a_chosen_address_is_given_and_told_as_chosen() -> None:
    made = chosen(mesh(), new="10.7.0.60")
    [move] = [move for move in made.moves if move.node == node("new")]
    assert (move.new, move.source, move.chosen) == ("10.7.0.60/32", "10.7.0.0/24", True)


def test_no_other_move_gets_an_address_that_was_chosen() -> None:
    free = next(move.new for move in planned(mesh()).moves if move.node == node("other-new"))
    made = chosen(mesh(), new=free)
    assert len({move.new for move in made.moves}) == len(made.moves)


def test_an_address_of_a_quarantine_that_is_over_is_free() -> None:
    assert chosen(claimed(ClaimState.RELEASED, timedelta(seconds=-1)), new="10.7.0.60").moves


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("11.0.0.1", "outside every pool (mesh.pools)"),
        ("10.0.0.0", "network address of 10.0.0.0/8"),
        ("10.255.255.255", "broadcast address of 10.0.0.0/8"),
        ("10.0.0.1", "the first address of 10.0.0.0/8 is what an allocator falls back to"),
        ("10.7.0.0/28", "a network, and a node gets one address"),
        ("10.8.0.9", "it is of region sin, whose prefix is 10.7.0.0/24 ([regions.pools])"),
        ("10.7.0.9", "registered for new"),
        ("10.7.0.11", "registered for drifted"),
        ("10.7.0.12", "the device of drifted holds it"),
    ],
)
def test_an_address_that_cannot_be_given_is_refused_with_its_reason(address: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(mesh(), new=address)
    assert str(refused.value).startswith("--to new=")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("snapshot", "says"),
    [
        (claimed(ClaimState.RELEASED, timedelta(days=1)), "in quarantine until 2026-"),
        (claimed(ClaimState.HELD), "claimed for gone (held)"),
    ],
    ids=["quarantine", "claim"],
)
def test_an_address_that_the_store_has_a_claim_for_is_refused(snapshot: Snapshot, says: str) -> None:
    with pytest.raises(UsageError, match="--to new=") as refused:
        chosen(snapshot, new="10.7.0.60")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ({"old": "10.8.0.60"}, "it keeps 10.7.0.9"),
        ({"watch_a": "10.7.0.60"}, "it claims no contested address of this plan"),
        ({"new": "10.7.0.60", "other_new": "10.7.0.60"}, "new gets it already"),
    ],
    ids=["keeper", "no claimant", "twice"],
)
def test_an_address_for_a_node_that_does_not_take_it_is_refused(to: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as refused:
        chosen(mesh(), **to)
    assert says in str(refused.value)


def test_the_reason_why_a_node_is_left_out_stands_in_the_refusal() -> None:
    with pytest.raises(UsageError, match="it is left out: it was not seen"):
        chosen(mesh().not_seen("new"), new="10.7.0.60")
