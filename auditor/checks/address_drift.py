"""address-drift: the addresses on a node's device are not the ones that are registered for it."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, covers, format_prefix, network, prefix_sort_key
from auditor.values.findings import Evidence, Severity
from auditor.values.text import listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find nodes whose device holds other addresses than are registered. A registered network is routed, not held."""
    for observation in fleet.witnesses:
        node = observation.node
        registration = fleet.by_node.get(node)
        if registration is None or node in fleet.in_flight_nodes:
            continue
        if registration.addresses == observation.device.addresses:
            continue
        registered = fleet.host_addresses(node)
        held = frozenset(observation.device.addresses)
        behind = [prefix for prefix in registration.addresses if not fleet.is_route(prefix)]
        lacking = sorted(registered - held, key=prefix_sort_key)
        unexpected = sorted(
            (
                item
                for item in held - registered
                # It may be registered in the entry that could not be read.
                if registration.all_addresses_read
                and _within(item, fleet.policy.pools)
                and not _within(item, behind)
            ),
            key=prefix_sort_key,
        )
        if not lacking and not unexpected:
            continue
        device = observation.device.name
        parts = []
        if lacking:
            parts.append(f"registered with {_addresses(lacking)}, which {device} does not hold")
        if unexpected:
            parts.append(f"{device} holds {_addresses(unexpected)}, which is not registered for it")
        if lacking and not held:
            parts = [f"registered with {_addresses(lacking)}, but {device} holds no address at all"]
        yield Draft(
            identity=idents.by_node(node),
            party=fleet.name(node),
            statement=f"{fleet.name(node)}: {'; '.join(parts)}.",
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                claims=tuple(
                    claim
                    for prefix in (*lacking, *unexpected)
                    for claim in fleet.claims(prefix)
                    if claim.node == node
                )
            ),
            follows_from=(
                idents.duplicate_public_key(observation.device.public_key),
                # The kernel drops IPv6 addresses with the link, and keeps those of IPv4.
                *(
                    []
                    if unexpected or any("." in prefix for prefix in lacking)
                    else [idents.device_down(node)]
                ),
                *(idents.duplicate_address(prefix) for prefix in (*unexpected, *lacking)),
                # Somebody else answers at the address that it lost: who is met there is the worse of the two.
                *(idents.answered_by_other(prefix) for prefix in lacking),
            ),
        )


def _within(prefix: Prefix, wider: Iterable[Prefix]) -> bool:
    address = network(prefix)
    return any(covers(network(item), address) for item in wider)


def _addresses(prefixes: Iterable[Prefix]) -> str:
    return listed(map(format_prefix, prefixes))


CHECK = Check(Ident.ADDRESS_DRIFT, Severity.ERROR, "The registered address is not the device's own.", run)
