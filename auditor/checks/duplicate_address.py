"""duplicate-address: one mesh address that two or more nodes claim, in the registry, on devices, or both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from auditor.checks import idents
from auditor.checks.causes import WriteOrder, WriteTimes, registry_claims
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import NAMED, placed, routed
from auditor.fleet.fleet import Fleet
from auditor.fleet.met import Met
from auditor.values.findings import Claim, Evidence, Reference, Severity, Witness
from auditor.values.models import AddressWrite, NodeId
from auditor.values.text import count, tenth


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find contested prefixes, with their claims and the routes of all observers."""
    if not fleet.contested:
        return
    written = WriteOrder(fleet)
    for prefix, nodes in fleet.contested.items():
        claims = fleet.claims(prefix)
        picks = fleet.routes.picks(prefix)
        met = Met(fleet, prefix)
        writes = WriteTimes(fleet, registry_claims(claims)).known
        regions = fleet.regions(nodes)
        where = f" in {count(len(regions), 'region')}" if len(regions) > 1 else ""
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=(
                f"Claimed by {count(len(nodes), 'node')}{where}: {placed(fleet, nodes)}{_seen(claims, nodes)}."
                f"{_when(fleet, writes)}"
            ),
            routing_statement=f"{routed(fleet, picks)}." if picks else "",
            answers_statement=met.sentence,
            disagreement=met.disagreement,
            nodes=nodes,
            regions=regions,
            evidence=Evidence(
                claims=claims,
                routing=picks,
                observers=sum(pick.observers for pick in picks),
                writes=writes,
                answers=met.reached,
            ),
            guess=written.guess(prefix, claims),
            follows_from=_one_key(claims),
        )


def _when(fleet: Fleet, writes: Sequence[AddressWrite]) -> str:
    """Word who got it in the registry when, where one time at least is known to the moment; else "".

    ` Written to the registry: edge-1 2026-03-01 14:53:07.2 UTC, edge-2 0.3 s later.`
    """
    moments = [item for item in writes if item.to_the_moment]
    if not moments:
        return ""
    words = [f"{fleet.name(item.node)} before" for item in writes if not item.to_the_moment][:NAMED]
    words.append(f"{fleet.name(moments[0].node)} {tenth(moments[0].at)}")
    for pair in pairwise(moments[:NAMED]):
        words.append(f"{fleet.name(pair[1].node)} {WriteTimes.seconds(pair):,.1f} s later")
    more = len(moments) - NAMED
    return f" Written to the registry: {', '.join(words)}{f' and {more:,} more' if more > 0 else ''}."


def _one_key(claims: Sequence[Claim]) -> tuple[Reference, ...]:
    """Refer to the duplicate key that the finding follows from, where all claims are of one key."""
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


CHECK = Check(
    Ident.DUPLICATE_ADDRESS, Severity.CRITICAL, "One mesh address is claimed by two or more nodes.", run
)
