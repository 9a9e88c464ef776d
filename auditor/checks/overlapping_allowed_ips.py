"""overlapping-allowed-ips: prefixes of different keys overlap, and the longest one wins."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.deviations import Deviation
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host, network, prefix_sort_key
from auditor.values.models import Evidence, Severity
from auditor.values.text import count, listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """One finding a prefix of more than one address that covers another key's prefix somewhere."""
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
    present = sorted({*routes.expected, *routes.deviating_prefixes}, key=prefix_sort_key)
    keys_of = {prefix: routes.keys_anywhere(prefix) for prefix in present}
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
            if place[2] > whole.prefixlen and keys_of[prefix] - {key}
        ]
        if not covered:
            continue
        node = fleet.node_of_key(key)
        owner = fleet.name(node) if node else f"unregistered key {key[:8]}…"
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
                facts=(("key", key), *(("covers", format_prefix(prefix)) for prefix in covered[:20])),
            ),
            follows_from=(idents.key_drift(node),) if node else (),
        )


CHECK = Check(
    Ident.OVERLAPPING_ALLOWED_IPS,
    Severity.ERROR,
    "Prefixes of different keys overlap; the longest wins.",
    run,
)
