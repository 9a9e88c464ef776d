"""unregistered-allowed-ips: inside a pool, observers route a prefix that nobody registered and no device holds."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import (
    Prefix,
    PublicKey,
    covers,
    format_prefix,
    is_host,
    network,
    prefix_sort_key,
)
from auditor.values.findings import Claim, Evidence, Severity, Witness
from auditor.values.text import count


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find prefixes of registered keys that nothing explains: each once, over all observers that route it there.

    A key that no registration knows is an unregistered peer, whatever it is given. What some device holds is
    drift or a duplicate, and what somebody else is registered with is displaced or split.
    """
    known = _Known(fleet)
    seen = {item.node for item in fleet.witnesses}
    given = {
        (prefix, key): members
        for prefix, by_key in fleet.routes.deviations.extra.items()
        for key, members in by_key.items()
        if known.is_odd(prefix, key)
    }
    for (prefix, key), members in sorted(
        given.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1])
    ):
        observers = fleet.routes.group(members, but_of=key)
        if not observers:
            continue
        node = fleet.by_key[key][0].node
        name = fleet.name(node)
        yield Draft(
            identity=idents.by_prefix_of_key(prefix, key),
            address=prefix,
            party=name,
            from_absence=True,
            # A device that was not seen may hold the prefix: then it is that node's drift.
            hidden_at=tuple(item.node for item in fleet.by_key[key] if item.node not in seen),
            statement=(
                f"{count(len(observers), 'observer routes', 'observers route')} {format_prefix(prefix)} to {name}, "
                "but no registration has it, and no device that was seen holds it: the allocator may hand it out, "
                f"and whoever gets it is cut off from {'that observer' if len(observers) == 1 else 'them'}."
            ),
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                claims=(Claim(Witness.ROUTED, prefix, key, node, "allowed-ips of observers"),),
                observers=len(observers),
                sample=observers.first(),
                everyone=observers.nodes,
                facts=(("key", key),),
            ),
            follows_from=(
                idents.duplicate_public_key(key),
                idents.split_routing(prefix),
                idents.key_drift(node),
                *(idents.displaced_allowed_ips(item, node) for item in fleet.by_node[node].addresses),
                *(() if is_host(prefix) else (idents.overlapping_allowed_ips(prefix, key),)),
                *(
                    idents.overlapping_allowed_ips(wide, owner)
                    for wide in fleet.routes.covering(prefix)
                    for owner in sorted(fleet.routes.keys_anywhere(wide) - {key})
                ),
            ),
        )


class _Known:
    """Known prefixes and keys, for comparison with routes."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._held = {prefix for item in fleet.witnesses for prefix in item.device.addresses}

    def is_odd(self, prefix: Prefix, key: PublicKey) -> bool:
        """Tell whether nothing explains that the key is given the prefix."""
        fleet = self._fleet
        registered = fleet.by_key.get(key)
        if not registered or prefix in self._held or prefix in fleet.registered.in_flight_prefixes:
            return False
        if prefix in fleet.registered_claims or not fleet.address_plan.lies_in_a_pool(prefix):
            return False
        narrow = network(prefix)
        own = (wide for item in registered for wide in item.addresses if not is_host(wide))
        return not any(covers(network(wide), narrow) for wide in own if not fleet.is_route(wide))


CHECK = Check(
    Ident.UNREGISTERED_ALLOWED_IPS,
    Severity.WARNING,
    "Inside a pool, observers route a prefix that nobody registered and no device holds.",
    run,
)
