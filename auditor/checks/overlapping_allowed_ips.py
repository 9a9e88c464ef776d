"""overlapping-allowed-ips: prefixes of different keys overlap, and the longest one wins."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import peer
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, format_prefix, prefix_sort_key
from auditor.values.findings import Evidence, Severity
from auditor.values.text import count, listed

_MOST_COVERED = 20
"""Prefixes that the facts of a finding list."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registered prefixes that cover another key's registered ones, and wide prefixes that have taken these."""
    yield from _overlaps(fleet)
    yield from _takings(fleet)


def _overlaps(fleet: Fleet) -> Iterable[Draft]:
    """Find registered prefixes that cover another key's registered ones. No routes."""
    routes = fleet.routes
    if not routes.expected_wide:
        return
    keyless = fleet.registered.keyless_prefixes
    present = sorted({*routes.expected, *keyless}, key=prefix_sort_key)
    places = [prefix_sort_key(prefix) for prefix in present]
    for whole, wide in routes.expected_wide:
        size = len(whole.network_address.packed)
        start = bisect_left(places, (size, whole.network_address.packed))
        end = bisect_right(places, (size, whole.broadcast_address.packed, whole.max_prefixlen))
        inside = [
            prefix
            for prefix, place in zip(present[start:end], places[start:end], strict=True)
            if place[2] > whole.prefixlen
        ]
        for key in sorted(routes.expected[wide]):
            covered = [prefix for prefix in inside if prefix in keyless or routes.expected[prefix] - {key}]
            if covered:
                yield _overlap(fleet, wide, key, covered)


def _overlap(fleet: Fleet, wide: Prefix, key: PublicKey, covered: Sequence[Prefix]) -> Draft:
    node = fleet.node_of_key(key)
    owner = peer(fleet, key)
    return Draft(
        identity=idents.by_prefix_of_key(wide, key),
        address=wide,
        party=owner,
        statement=(
            f"{owner} has {wide} by its registration, which covers {count(len(covered), 'prefix', 'prefixes')} of "
            f"other keys: {listed(format_prefix(prefix) for prefix in covered)}. The longest prefix wins; where the "
            f"longer one is missing, traffic goes to {owner} instead."
        ),
        nodes=(node,) if node else (),
        regions=fleet.regions((node,) if node else ()),
        evidence=Evidence(
            facts=(("key", key), *(("covers", format_prefix(prefix)) for prefix in covered[:_MOST_COVERED])),
        ),
        follows_from=(idents.key_drift(node),) if node else (),
    )


def _takings(fleet: Fleet) -> Iterable[Draft]:
    """Find wide prefixes to whose holder an observer delivers a prefix that is registered for another key.

    They take nothing where the longer prefix is there. Where it is not, traffic of a registered host leaves by an
    exit gateway, say. In a partial topology that is the way it is meant to go, by a route.
    """
    routes = fleet.routes
    for (wide, key), taken in sorted(
        routes.taken.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1])
    ):
        if fleet.policy.topology == "partial" and fleet.is_route(wide):
            continue
        node = fleet.node_of_key(key)
        owner = peer(fleet, key)
        lost = sorted(taken, key=prefix_sort_key)
        members = 0
        for those in taken.values():
            members |= those
        observers = routes.group(members, but_of=key)
        yield Draft(
            identity=idents.by_prefix_of_key(wide, key),
            address=wide,
            party=owner,
            statement=(
                f"{count(len(observers), 'observer sends', 'observers send')} "
                f"{count(len(lost), 'registered address', 'registered addresses')} of other keys to {owner} by its "
                f"{wide}, for the longer prefix is missing there: {listed(map(format_prefix, lost))}."
            ),
            nodes=(node,) if node else (),
            regions=fleet.regions((node,) if node else ()),
            evidence=Evidence(
                observers=len(observers),
                sample=observers.first(),
                everyone=observers.nodes,
                facts=(("key", key), *(("takes", format_prefix(prefix)) for prefix in lost[:_MOST_COVERED])),
            ),
            follows_from=tuple(
                reference
                for prefix in lost
                for other in sorted(routes.expected[prefix])
                for reference in (
                    idents.split_routing(prefix),
                    *(idents.key_drift(item.node) for item in fleet.by_key[other]),
                    *(idents.displaced_allowed_ips(prefix, item.node) for item in fleet.by_key[other]),
                )
            ),
        )


CHECK = Check(
    Ident.OVERLAPPING_ALLOWED_IPS,
    Severity.ERROR,
    "Prefixes of different keys overlap; the longest wins.",
    run,
)
