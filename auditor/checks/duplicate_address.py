"""duplicate-address: one mesh address that two or more nodes claim, in the registry, on devices, or both."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import placed, routed
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix
from auditor.values.models import (
    Claim,
    Evidence,
    Guess,
    GuessedCause,
    NodeId,
    Reference,
    Severity,
    Sureness,
    Witness,
)
from auditor.values.text import count

PARALLEL_WRITERS = 16
"""Registrations that lie no further apart, in the order in which they were written, may have been written by
parallel writers: one that raced another is overtaken by few."""
PARALLEL_WRITES = 512
"""Raft indexes that lie no further apart count as close. Consul's index grows with every write of the whole
cluster, and around one registration there are many: sessions, tries for the lock, its release. 32 writers
with 16 writes each."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """One finding a contested prefix, with its claims and who is routed where."""
    if not fleet.contested:
        return
    written = _WriteOrder(fleet)
    for prefix, nodes in fleet.contested.items():
        claims = fleet.claims(prefix)
        picks = fleet.routes.picks(prefix)
        regions = fleet.regions(nodes)
        where = f" in {count(len(regions), 'region')}" if len(regions) > 1 else ""
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=f"Claimed by {count(len(nodes), 'node')}{where}: {placed(fleet, nodes)}{_seen(claims, nodes)}.",
            routing_statement=f"{routed(fleet, picks)}." if picks else "",
            nodes=nodes,
            regions=regions,
            evidence=Evidence(claims=claims, routing=picks, observers=sum(pick.observers for pick in picks)),
            guess=_guess(fleet, written, prefix, claims),
            follows_from=_one_key(claims),
        )


def _one_key(claims: Sequence[Claim]) -> tuple[Reference, ...]:
    """The duplicate key that it follows from, where all claims are of one key."""
    keys = {claim.public_key for claim in claims}
    return tuple(idents.duplicate_public_key(key) for key in keys if key is not None and len(keys) == 1)


def _seen(claims: Sequence[Claim], nodes: Sequence[NodeId]) -> str:
    registered = {claim.node for claim in claims if claim.witness is Witness.REGISTERED}
    live = {claim.node for claim in claims if claim.witness is Witness.DEVICE}
    if not live:
        return "; in the registry only"
    if not registered:
        return "; on devices only"
    if registered >= set(nodes):
        return "" if live >= set(nodes) else f"; all registered, {len(live)} seen holding it"
    return f"; {len(registered)} registered, {len(live)} seen holding it"


class _WriteOrder:
    """Raft indexes of all registrations, by datacenter, ascending: each datacenter counts its own."""

    def __init__(self, fleet: Fleet) -> None:
        self.created: Mapping[str, list[int]] = _indexes(
            (item.node.datacenter, item.create_index) for item in fleet.registrations
        )
        self.modified: Mapping[str, list[int]] = _indexes(
            (item.node.datacenter, item.modify_index) for item in fleet.registrations
        )


def _guess(fleet: Fleet, written: _WriteOrder, prefix: Prefix, claims: Sequence[Claim]) -> Guess | None:
    registered = [claim for claim in claims if claim.witness is Witness.REGISTERED]
    if len({claim.node for claim in registered}) < 2:
        return None
    pool = fleet.address_plan.first_addresses.get(prefix)
    if pool is not None:
        return Guess(
            GuessedCause.ALLOCATOR_FALLBACK,
            Sureness.PROBABLE,
            f"the allocator fell back: it is the first address of {pool}, "
            "handed out when the registry could not be read",
            (("first address of", pool),),
        )
    nodes = [(claim.node.datacenter, claim) for claim in registered if claim.node is not None]
    for name, of_these, of_all in (
        ("CreateIndex", _indexes((dc, claim.create_index) for dc, claim in nodes), written.created),
        ("ModifyIndex", _indexes((dc, claim.modify_index) for dc, claim in nodes), written.modified),
    ):
        closest = _closest(of_these, of_all)
        if closest is not None:
            return Guess(
                GuessedCause.PARALLEL_WRITERS,
                Sureness.PROBABLE,
                f"written by parallel writers: {name} of the registrations only {closest} apart",
                ((f"{name} apart", str(closest)),),
            )
    return None


def _indexes(indexed: Iterable[tuple[str, int | None]]) -> dict[str, list[int]]:
    """By datacenter its indexes, ascending."""
    by_datacenter: dict[str, list[int]] = defaultdict(list)
    for datacenter, index in indexed:
        if index is not None:
            by_datacenter[datacenter].append(index)
    return {datacenter: sorted(indexes) for datacenter, indexes in by_datacenter.items()}


def _closest(of_these: Mapping[str, list[int]], of_all: Mapping[str, list[int]]) -> int | None:
    """The least distance between two of these that parallel writers may have written; None: none may."""
    close = []
    for datacenter, indexes in of_these.items():
        every = of_all[datacenter]
        for earlier, later in pairwise(indexes):
            places = bisect_left(every, later) - bisect_left(every, earlier)
            if places <= PARALLEL_WRITERS and later - earlier <= PARALLEL_WRITES:
                close.append(later - earlier)
    return min(close, default=None)


CHECK = Check(
    Ident.DUPLICATE_ADDRESS, Severity.CRITICAL, "One mesh address is claimed by two or more nodes.", run
)
