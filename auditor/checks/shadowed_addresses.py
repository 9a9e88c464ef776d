"""shadowed-addresses: a node's own route inside a pool takes packets to mesh addresses elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, covers, format_prefix, network, prefix_sort_key
from auditor.values.findings import Claim, Evidence, Severity
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from auditor.values.models import Observation
from auditor.values.text import count, listed

SAMPLE = 5
"""Observers, and registrations that are hidden from them, that the evidence shows."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find routes that hide registered addresses: one finding a route, over all nodes that have it.

    A device whose link is down has no routes, so that others seem to hide what it would lead to.
    """
    found: dict[tuple[Prefix, RouteKind, str], list[tuple[Observation, ShadowingRoute]]] = defaultdict(list)
    for observation in fleet.witnesses:
        if observation.device.link_up is False:
            continue
        for route in observation.shadows or ():
            found[route.prefix, route.kind, route.device].append((observation, route))
    for (prefix, kind, device), shown in sorted(
        found.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1:])
    ):
        claims = _hidden(fleet, shown)
        if claims:
            yield _draft(fleet, prefix, kind, device, shown, claims)


def _draft(
    fleet: Fleet,
    prefix: Prefix,
    kind: RouteKind,
    device: str,
    shown: Sequence[tuple[Observation, ShadowingRoute]],
    claims: Sequence[Claim],
) -> Draft:
    observers = tuple(item.node for item, _ in shown)
    names = [fleet.name(node) for node in observers]
    hidden = sorted({fleet.name(claim.node) for claim in claims if claim.node is not None})
    own = {item.device.name for item, _ in shown}
    addressed = format_prefix(prefix)
    what = {
        RouteKind.LOCAL: f"{'has' if len(names) == 1 else 'have'} {addressed} on {device}",
        RouteKind.BROADCAST: f"{'has' if len(names) == 1 else 'have'} {addressed} as a broadcast address of {device}",
    }.get(kind, f"{'sends' if len(names) == 1 else 'send'} {addressed} {_to(kind, device)}")
    return Draft(
        identity=idents.by_route(prefix, device or kind),
        address=prefix,
        party=device or f"{kind} route",
        relation="on",
        statement=(
            f"{listed(names)} {what} and not to {listed(sorted(own))}: nothing from there reaches {listed(hidden)} "
            f"through the mesh. {_advice(kind, device)}"
        ),
        nodes=observers,
        regions=fleet.regions(observers),
        evidence=Evidence(
            claims=tuple(claims[:SAMPLE]),
            observers=len(observers),
            sample=observers[:SAMPLE],
            facts=(
                ("route", f"{kind} {prefix}" + (f" dev {device}" if device else "")),
                ("hides", count(len(claims), "registered address", "registered addresses")),
            ),
        ),
        follows_from=tuple(idents.address_drift(node) for node in observers),
    )


def _to(kind: RouteKind, device: str) -> str:
    return f"to {device}" if kind is RouteKind.UNICAST else f"nowhere, by a route of the kind {kind},"


def _advice(kind: RouteKind, device: str) -> str:
    if kind is RouteKind.UNICAST:
        return f"Move what is behind {device} to a network outside the pools."
    if kind in (RouteKind.LOCAL, RouteKind.BROADCAST):
        return f"Take the address off {device}, or give the registered node another one."
    return "Remove that route, or let it spare what is registered."


def _hidden(fleet: Fleet, shown: Iterable[tuple[Observation, ShadowingRoute]]) -> list[Claim]:
    """List the claims of the registry to addresses that such a route hides from another node than the claimant."""
    found: dict[Prefix, list[Claim]] = {}
    for observation, route in shown:
        addresses: Iterable[Prefix] = route.sample
        if route.hidden > len(route.sample):
            wide = network(route.prefix)
            addresses = {
                *addresses,
                *(item for item in fleet.registered_claims if covers(wide, network(item))),
            }
        for address in addresses:
            if address not in found:
                claims = [
                    claim
                    for claim in fleet.registered_claims.get(address, ())
                    if claim.node != observation.node
                ]
                if claims:
                    found[address] = claims
    return [
        claim
        for _, claims in sorted(found.items(), key=lambda entry: prefix_sort_key(entry[0]))
        for claim in claims
    ]


CHECK = Check(
    Ident.SHADOWED_ADDRESSES,
    Severity.ERROR,
    "A node's own route inside a pool, not of the mesh device, hides mesh addresses from it.",
    run,
)
