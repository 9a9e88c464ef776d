"""self-routed-address: a node's own mesh address is among one of its peers' allowed-ips."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import peer
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import format_prefix
from auditor.values.findings import Claim, Evidence, Severity, Witness
from auditor.values.text import listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find own addresses that a node has also given to a peer."""
    observers = fleet.routes.observers
    for observation in observers.members(observers.everyone):
        own = {observation.device.public_key}
        for prefix in observation.device.addresses:
            routed = fleet.routes.keys_at(observation.node, prefix)
            if routed <= own:
                continue
            keys = sorted(routed - own - fleet.in_flight_keys)
            if not keys:
                continue
            node = observation.node
            peers = [peer(fleet, key) for key in keys]
            yield Draft(
                identity=idents.by_address_of_node(prefix, node),
                address=prefix,
                party=fleet.name(node),
                relation="on",
                statement=(
                    f"{fleet.name(node)} holds {format_prefix(prefix)} itself and also routes it to its peer "
                    f"{listed(peers)}: packets from that peer are taken for its own address."
                ),
                nodes=(node,),
                regions=fleet.regions((node,)),
                evidence=Evidence(
                    claims=tuple(
                        Claim(
                            Witness.ROUTED,
                            prefix,
                            key,
                            fleet.node_of_key(key),
                            f"allowed-ips on {node.name}",
                        )
                        for key in keys
                    ),
                    observers=1,
                    sample=(node,),
                ),
                follows_from=(
                    idents.duplicate_address(prefix),
                    idents.split_routing(prefix),
                    idents.address_drift(node),
                    idents.displaced_allowed_ips(prefix, node),
                ),
            )


CHECK = Check(
    Ident.SELF_ROUTED_ADDRESS,
    Severity.ERROR,
    "A node's own address stands in one of its peers' allowed-ips.",
    run,
)
