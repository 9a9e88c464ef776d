"""displaced-allowed-ips: a registered peer is there, but without its address: traffic to it is dropped there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import peer
from auditor.fleet.fleet import Fleet
from auditor.fleet.met import Met
from auditor.fleet.routes import Held
from auditor.values.addresses import Prefix, PublicKey, format_prefix, prefix_sort_key
from auditor.values.findings import Evidence, Severity
from auditor.values.models import NodeId
from auditor.values.text import count, listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registered addresses that observers lack on the node's peer: each once, over all its observers."""
    routes = fleet.routes
    lacking: dict[tuple[Prefix, PublicKey], int] = defaultdict(int)
    winners: dict[tuple[Prefix, PublicKey], set[PublicKey]] = defaultdict(set)
    for prefix, by_key in routes.deviations.missing.items():
        matches: Sequence[Held] | None = None
        for key, members in by_key.items():
            there = members & ~routes.deviations.absent_keys.get(key, 0) & ~routes.observers.own(key)
            if not there:
                continue
            if matches is None:
                matches = tuple(routes.longest_matches(prefix))
            for held in matches:
                # What arrives by a wider prefix of its own is lost to nobody.
                arrives = held.by != prefix and key in held.keys
                if those := 0 if arrives else there & held.observers:
                    lacking[prefix, key] |= those
                    winners[prefix, key] |= held.keys
    for (prefix, key), members in sorted(
        lacking.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1])
    ):
        observers = routes.group(members, but_of=key)
        node = next(item.node for item in fleet.by_key[key] if prefix in item.addresses)
        others = sorted(winners[prefix, key] - {key})
        to = sorted({peer(fleet, other) for other in others})
        taken = f"; it is routed to {listed(to)} instead" if to else "; it is on no peer there"
        met = Met(fleet, prefix)
        yield Draft(
            identity=idents.by_address_of_node(prefix, node),
            address=prefix,
            party=fleet.name(node),
            statement=(
                f"{count(len(observers), 'observer has', 'observers have')} {fleet.name(node)} as a peer, but without "
                f"{format_prefix(prefix)}{taken}. What they send to it is lost or goes elsewhere."
            ),
            answers_statement=met.sentence,
            disagreement=met.disagreement,
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                claims=tuple(claim for claim in fleet.claims(prefix) if claim.public_key == key),
                observers=len(observers),
                sample=observers.first(),
                everyone=observers.nodes,
                answers=met.reached,
            ),
            follows_from=(
                idents.duplicate_address(prefix),
                idents.duplicate_public_key(key),
                idents.split_routing(prefix),
                idents.answered_by_other(prefix),
                idents.key_drift(node),
                *(idents.address_drift(other) for item in others for other in _nodes(fleet, item)),
                *(idents.retired_but_live(other) for item in others for other in _nodes(fleet, item)),
                *(
                    idents.registration_vanished(fleet.lost[item].registration.node)
                    for item in others
                    if item in fleet.lost
                ),
                idents.address_drift(node),
            ),
        )


def _nodes(fleet: Fleet, key: PublicKey) -> Iterable[NodeId]:
    node = fleet.node_of_key(key)
    return () if node is None else (node,)


CHECK = Check(
    Ident.DISPLACED_ALLOWED_IPS,
    Severity.ERROR,
    "A registered peer is on the observer's device, but its address is not routed to it.",
    run,
)
