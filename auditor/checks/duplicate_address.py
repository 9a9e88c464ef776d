"""duplicate-address: one mesh address that two or more nodes claim, in the registry, on devices, or both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from auditor.addresses import Prefix, shown
from auditor.checks import fallback_address
from auditor.checks.interface import Check
from auditor.checks.wording import count, placed, routed
from auditor.claims import Fleet
from auditor.models import Claim, Evidence, Finding, NodeId, Severity, Witness, fingerprint

IDENT = "duplicate-address"

PARALLEL_WINDOW = 16
"""Raft indexes that lie no further apart count as close. Consul's index grows with every write of the
whole cluster, so two writers that raced through one lock stand a handful of writes apart."""


def run(fleet: Fleet) -> Iterable[Finding]:
    """One finding a contested prefix, with its claims and who is routed where."""
    for prefix, nodes in fleet.contested.items():
        claims = fleet.claims(prefix)
        picks = fleet.routes.picks(prefix)
        cause, guess = _probable_cause(fleet, prefix, claims)
        regions = fleet.regions(nodes)
        where = f" in {count(len(regions), 'region')}" if len(regions) > 1 else ""
        sentences = [
            f"Claimed by {count(len(nodes), 'node')}{where}: {placed(fleet, nodes)}{_seen(claims, nodes)}."
        ]
        if picks:
            sentences.append(f"{routed(fleet, picks)}.")
        if guess:
            sentences.append(guess)
        yield Finding(
            check=IDENT,
            severity=Severity.CRITICAL,
            subject=shown(prefix),
            summary=" ".join(sentences),
            nodes=nodes,
            regions=regions,
            evidence=Evidence(claims=claims, routing=picks, observers=sum(pick.observers for pick in picks)),
            probable_cause=cause,
            follows_from=tuple(
                fingerprint("duplicate-public-key", key)
                for key in sorted({claim.public_key for claim in claims})
            )
            if len({claim.public_key for claim in claims}) == 1
            else (),
        )


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


def _probable_cause(fleet: Fleet, prefix: Prefix, claims: Sequence[Claim]) -> tuple[str | None, str]:
    registered = [claim for claim in claims if claim.witness is Witness.REGISTERED]
    if len({claim.node for claim in registered}) < 2:
        return None, ""
    pool = fallback_address.pool_whose_first_is(fleet, prefix)
    if pool is not None:
        return (
            "allocator-fallback",
            (
                f"Probably the allocator fell back: it is the first address of {pool}, "
                "handed out when the registry could not be read."
            ),
        )
    for name, closest in (
        ("CreateIndex", _closest((claim, claim.create_index) for claim in registered)),
        ("ModifyIndex", _closest((claim, claim.modify_index) for claim in registered)),
    ):
        if closest is not None and closest <= PARALLEL_WINDOW:
            return (
                "parallel-writers",
                f"Probably written by parallel writers: {name} of the registrations only {closest} apart.",
            )
    return None, ""


def _closest(indexed: Iterable[tuple[Claim, int | None]]) -> int | None:
    """The least distance between two registrations' indexes; each datacenter counts its own."""
    by_datacenter: dict[str, list[int]] = defaultdict(list)
    for claim, index in indexed:
        if claim.node is not None and index is not None:
            by_datacenter[claim.node.datacenter].append(index)
    return min(
        (
            later - earlier
            for indexes in by_datacenter.values()
            for earlier, later in pairwise(sorted(indexes))
        ),
        default=None,
    )


CHECK = Check(IDENT, Severity.CRITICAL, "One mesh address is claimed by two or more nodes.", run)
