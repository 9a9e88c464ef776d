"""retired-but-live: a registration says that its node left the mesh, and its key or address is there all the same."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import key_places, peer
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host, prefix_sort_key
from auditor.values.findings import Claim, Evidence, Severity, Witness
from auditor.values.models import NodeId, Registration
from auditor.values.text import listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find retired nodes whose key or address a device holds, or observers have in their tables."""
    live = yield from _by_key(fleet)
    for registration in fleet.retired:
        if registration.node not in live:
            yield from _by_address(fleet, registration)


def _by_key(fleet: Fleet) -> Generator[Draft, None, set[NodeId]]:
    """Find retired nodes whose key is live. Returns them."""
    retired = fleet.registered.retired_keys
    if not retired:
        return set()
    live: set[NodeId] = set()
    found = fleet.routes.observers_with(fleet.routes.deviations.extra_keys, retired.keys())
    routed = fleet.routes.extra_prefixes(retired.keys())
    for key, registration in sorted(retired.items()):
        observers, holders = found.get(key), fleet.device_holders.get(key, ())
        if not observers and not holders:
            continue
        node, name = registration.node, fleet.name(registration.node)
        live.add(node)
        prefixes = sorted(routed[key], key=prefix_sort_key)
        places = key_places(fleet, observers, holders, prefixes)
        nodes = tuple(dict.fromkeys((node, *holders)))
        yield Draft(
            identity=idents.by_node(node),
            party=name,
            from_absence=True,  # a node that moved is registered anew, perhaps where the registry was not read
            statement=f"{name} is retired ({registration.state}), but its key is {places}.",
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(
                claims=tuple(
                    Claim(Witness.ROUTED, prefix, key, node, "allowed-ips of observers")
                    for prefix in prefixes
                ),
                observers=len(observers) if observers else 0,
                sample=observers.first() if observers else (),
                everyone=observers.nodes if observers else None,
                facts=(
                    ("registered key", key),
                    ("state", registration.state or ""),
                    ("where", registration.where),
                ),
            ),
            follows_from=tuple(idents.split_routing(prefix) for prefix in prefixes),
        )
    return live


def _by_address(fleet: Fleet, registration: Registration) -> Iterable[Draft]:
    """Find addresses of a retired node that nobody else is registered with, and that are live with another key."""
    node = registration.node
    holders: set[NodeId] = set()
    keys: set[PublicKey] = set()
    claims: list[Claim] = []
    live: list[Prefix] = []
    for prefix in filter(is_host, registration.addresses):
        if prefix in fleet.registered_claims:
            continue  # given to somebody else since
        held = fleet.device_claims.get(prefix, ())
        routed = fleet.routes.keys_anywhere(prefix)
        if held or routed:
            live.append(prefix)
            holders |= {claim.node for claim in held if claim.node is not None}
            keys |= routed
            claims += held
    if not live:
        return
    name = fleet.name(node)
    places = [f"on the device of {listed(map(fleet.name, sorted(holders)))}"] if holders else []
    if keys:
        places.append(f"routed to {listed(sorted({peer(fleet, key) for key in keys}))}")
    nodes = tuple(dict.fromkeys((node, *sorted(holders))))
    yield Draft(
        identity=idents.by_node(node),
        party=name,
        from_absence=True,
        statement=(
            f"{name} is retired ({registration.state}), but its address "
            f"{listed(map(format_prefix, live))} is {' and '.join(places)}."
        ),
        nodes=nodes,
        regions=fleet.regions(nodes),
        evidence=Evidence(
            claims=tuple(claims),
            facts=(("state", registration.state or ""), ("where", registration.where)),
        ),
        follows_from=tuple(idents.address_drift(holder) for holder in sorted(holders)),
    )


CHECK = Check(
    Ident.RETIRED_BUT_LIVE,
    Severity.ERROR,
    "A node is retired in the registry, and its key or address is live in the mesh.",
    run,
)
