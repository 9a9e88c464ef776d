"""overlapping-allowed-ips: prefixes of different keys overlap, and the longest one wins."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import peer
from auditor.fleet.deviations import Deviation
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host, network, prefix_sort_key
from auditor.values.models import Evidence, Severity
from auditor.values.text import count, listed

_MOST_COVERED = 20
"""Prefixes that the facts of a finding list."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find prefixes of one key that cover another's registered ones, and routes that have taken these."""
    yield from _overlaps(fleet)
    yield from _takings(fleet)


def _overlaps(fleet: Fleet) -> Iterable[Draft]:
    """Find prefixes, in the registry or on devices, that cover another key's registered ones. No routes alone."""
    routes = fleet.routes
    holders: dict[tuple[Prefix, PublicKey], list[Deviation]] = defaultdict(list)
    for _, prefix in routes.expected_wide:
        for key in routes.expected[prefix]:
            holders[prefix, key] = []
    for deviation in routes.deviations:
        for prefix, keys in deviation.extra.items():
            if not is_host(prefix):
                for key in keys:
                    holders[prefix, key].append(deviation)
    if not holders:
        return
    keyless = fleet.registered.keyless_prefixes
    present = sorted({*routes.expected, *keyless}, key=prefix_sort_key)
    places = [prefix_sort_key(prefix) for prefix in present]
    for (wide, key), deviations in sorted(
        holders.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1])
    ):
        observers = routes.holders(deviations, but_of=key)
        whole = network(wide)
        size = len(whole.network_address.packed)
        start = bisect_left(places, (size, whole.network_address.packed))
        end = bisect_right(places, (size, whole.broadcast_address.packed, whole.max_prefixlen))
        covered = [
            prefix
            for prefix, place in zip(present[start:end], places[start:end], strict=True)
            if place[2] > whole.prefixlen and (prefix in keyless or routes.expected[prefix] - {key})
        ]
        if not covered:
            continue
        node = fleet.node_of_key(key)
        owner = peer(fleet, key)
        seen = f"on {count(len(observers), 'observer')}" if observers else "by its registration"
        yield Draft(
            identity=idents.by_prefix_of_key(wide, key),
            address=wide,
            party=owner,
            statement=(
                f"{owner} has {wide} {seen}, which covers {count(len(covered), 'prefix', 'prefixes')} of other keys: "
                f"{listed(format_prefix(prefix) for prefix in covered)}. The longest prefix wins; where the longer "
                f"one is missing, traffic goes to {owner} instead."
            ),
            nodes=(node,) if node else (),
            regions=fleet.regions((node,) if node else ()),
            evidence=Evidence(
                observers=len(observers),
                sample=observers.first(),
                facts=(
                    ("key", key),
                    *(("covers", format_prefix(prefix)) for prefix in covered[:_MOST_COVERED]),
                ),
            ),
            follows_from=(idents.key_drift(node),) if node else (),
        )


def _takings(fleet: Fleet) -> Iterable[Draft]:
    """Find routes to which an observer of a full mesh delivers a prefix that is registered for another key.

    A route takes nothing where the longer prefix is there. Where it is not, traffic of a registered host leaves by
    an exit gateway, say. In a partial topology that is the way it is meant to go.
    """
    if fleet.policy.topology == "partial":
        return
    routes = fleet.routes
    for (wide, key), deviations_of in sorted(
        routes.taken_by_routes.items(), key=lambda entry: (prefix_sort_key(entry[0][0]), entry[0][1])
    ):
        node = fleet.node_of_key(key)
        owner = peer(fleet, key)
        lost = sorted(deviations_of, key=prefix_sort_key)
        tables = {item.digest: item for items in deviations_of.values() for item in items}
        observers = routes.holders([tables[digest] for digest in sorted(tables)], but_of=key)
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
