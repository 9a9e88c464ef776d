"""displaced-allowed-ips: a registered peer is there, but without its address: traffic to it is dropped there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import peer
from auditor.fleet.deviations import Deviation
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, format_prefix, prefix_sort_key
from auditor.values.models import Evidence, NodeId, Severity
from auditor.values.text import count, listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registered addresses that observers lack on the node's peer: each once, over all its observers."""
    lacking: dict[tuple[Prefix, PublicKey], list[Deviation]] = defaultdict(list)
    winners: dict[tuple[Prefix, PublicKey], set[PublicKey]] = defaultdict(set)
    for deviation in fleet.routes.deviations:
        for prefix, keys in deviation.missing.items():
            match = fleet.routes.longest_match(deviation, prefix)
            # What arrives by a wider prefix of its own is lost to nobody.
            arriving = match[1] if match is not None and match[0] != prefix else frozenset()
            for key in keys - deviation.absent_keys - arriving:
                if any(item.device.public_key != key for item in deviation.holders):
                    lacking[prefix, key].append(deviation)
                    winners[prefix, key] |= match[1] if match is not None else frozenset()
    for (prefix, key), deviations in sorted(
        lacking.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1])
    ):
        observers = fleet.routes.holders(deviations, but_of=key)
        node = next(item.node for item in fleet.by_key[key] if prefix in item.addresses)
        others = sorted(winners[prefix, key] - {key})
        to = sorted({peer(fleet, other) for other in others})
        taken = f"; it is routed to {listed(to)} instead" if to else "; it is on no peer there"
        yield Draft(
            identity=idents.by_address_of_node(prefix, node),
            address=prefix,
            party=fleet.name(node),
            statement=(
                f"{count(len(observers), 'observer has', 'observers have')} {fleet.name(node)} as a peer, but without "
                f"{format_prefix(prefix)}{taken}. What they send to it is lost or goes elsewhere."
            ),
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                claims=tuple(claim for claim in fleet.claims(prefix) if claim.public_key == key),
                observers=len(observers),
                sample=observers.first(),
            ),
            follows_from=(
                idents.duplicate_address(prefix),
                idents.duplicate_public_key(key),
                idents.split_routing(prefix),
                idents.key_drift(node),
                *(idents.address_drift(other) for item in others for other in _nodes(fleet, item)),
                *(idents.retired_but_live(other) for item in others for other in _nodes(fleet, item)),
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
