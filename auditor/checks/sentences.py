"""Parts of sentences that several checks share: names, counts and observers, in one bounded form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from auditor.fleet.fleet import Fleet
from auditor.fleet.observer_sets import ObserverGroup
from auditor.values.addresses import Prefix, PublicKey, format_prefix
from auditor.values.findings import Pick
from auditor.values.models import NodeId, Registration
from auditor.values.text import count, listed

NAMED = 5
"""Number of nodes that a summary names before it counts the rest."""


def placed(fleet: Fleet, nodes: Iterable[NodeId]) -> str:
    """Word the nodes with their regions: `edge-fra-1 (fra) and edge-sin-1 (sin)`."""
    return listed(
        f"{fleet.name(node)} ({region})" if (region := fleet.region(node)) else fleet.name(node)
        for node in nodes
    )


def peer(fleet: Fleet, key: PublicKey) -> str:
    """Name the node that a key belongs to, or the key, shortened, where none is known."""
    node = fleet.node_of_key(key)
    return fleet.name(node) if node is not None else f"unregistered key {key[:8]}…"


def routed(fleet: Fleet, picks: Sequence[Pick]) -> str:
    """Word the routing: `6 observers route it to edge-sin-1, 2 to edge-fra-1, 1 to nobody`."""
    words: list[str] = []
    times = Counter(pick.node for pick in picks)
    for pick in picks:
        if pick.public_key is None:
            target = "nobody"
        else:
            target = peer(fleet, pick.public_key)
            if pick.node is not None and times[pick.node] > 1:
                target += f" (key {pick.public_key[:8]}…)"
        if not words:
            words.append(f"{count(pick.observers, 'observer routes', 'observers route')} it to {target}")
        else:
            words.append(f"{pick.observers:,} to {target}")
    return ", ".join(words)


def motion(fleet: Fleet, node: NodeId) -> str:
    """Word the change of the registration of a node in flight: `address 10.0.0.9, before 10.0.0.8`."""
    forms = fleet.registered.in_flight[node]
    now = fleet.by_node.get(node)
    if now is None:
        return "it was removed meanwhile"
    changes = []
    for name, say in _MOVING.items():
        before = sorted({say(form) for form in forms} - {say(now)})
        if before:
            changes.append(f"{name} {say(now)}, before {listed(before, most=NAMED)}")
    return "; ".join(changes) or "it was registered meanwhile"


_MOVING: dict[str, Callable[[Registration], str]] = {
    "address": lambda item: listed(map(format_prefix, item.addresses)) or "none",
    "key": lambda item: f"{item.public_key[:8]}…" if item.public_key else "none",
    "region": lambda item: item.region or "none",
    "endpoint": lambda item: item.endpoint or "none",
    "ssh_host": lambda item: item.ssh_host or "none",
    "state": lambda item: item.state or "none",
}


def key_places(
    fleet: Fleet, observers: ObserverGroup | None, holders: Collection[NodeId], prefixes: Iterable[Prefix]
) -> str:
    """Word where a key is live that should not be: at observers, with what they route to it, and on devices."""
    places = []
    if observers:
        addresses = listed(map(format_prefix, prefixes))
        with_addresses = f" with {addresses}" if addresses else ""
        places.append(
            f"a peer{with_addresses} on {count(len(observers), 'observer')}: "
            f"{listed(map(fleet.name, observers.first(NAMED)), total=len(observers))}"
        )
    if holders:
        places.append(f"the device's own on {listed(map(fleet.name, holders))}")
    return "; and ".join(places)
