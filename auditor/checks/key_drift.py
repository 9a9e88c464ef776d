"""key-drift: the key on a node's device is not the one that is registered for it."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.findings import Evidence, Severity


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find nodes whose own machine answered with another key than the registry's."""
    for observation in fleet.witnesses:
        node = observation.node
        registration = fleet.by_node.get(node)
        live = observation.device.public_key
        if registration is None or node in fleet.in_flight_nodes:
            continue
        if registration.public_key is None or registration.public_key == live:
            continue
        owner = next((item.node for item in fleet.by_key.get(live, ())), None)
        prefixes = tuple(dict.fromkeys((*registration.addresses, *observation.device.addresses)))
        whose = f" (registered for {fleet.name(owner)})" if owner else ", which no registration knows"
        yield Draft(
            identity=idents.by_node(node),
            party=fleet.name(node),
            statement=(
                f"{fleet.name(node)} is registered with key {registration.public_key}, but {observation.device.name} "
                f"holds {live}{whose}. Peers that follow the registry cannot reach it."
            ),
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                claims=tuple(
                    claim for prefix in prefixes for claim in fleet.claims(prefix) if claim.node == node
                ),
                facts=(("registered key", registration.public_key), ("device key", live)),
            ),
            follows_from=(
                idents.duplicate_public_key(live),
                *(idents.split_routing(prefix) for prefix in prefixes),
            ),
        )


CHECK = Check(Ident.KEY_DRIFT, Severity.ERROR, "The registered key is not the device's own.", run)
