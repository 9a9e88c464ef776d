"""Outer hosts at which observers met keys with live sessions, and what of it is two places at once.

A node is met at more than one address for many good reasons: by IPv4 and by IPv6; at an inside address by those
who are near it; at the address of whoever rewrites addresses before an observer. Those are told apart here, by who
met it where. An endpoint without a fresh handshake is where a peer was once: it says nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

from auditor.values.addresses import PublicKey
from auditor.values.meetings import FRESH, host_of
from auditor.values.models import Meeting, NodeId, Observation, Registration

REWRITTEN = 3
"""Keys that one observer meets at one host where none of them is registered: something before it rewrites addresses."""

_INSIDE_V4 = "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"
_INSIDE = tuple(map(ip_network, (*_INSIDE_V4, "fc00::/7", "fe80::/10", "::1/128")))

Hosts = Mapping[str, Collection[NodeId]]
"""Observers by the outer host at which they met one key."""


@dataclass(frozen=True, slots=True)
class MetPlace:
    """Place at which a key is met: the registered hosts together, or one other host."""

    hosts: tuple[str, ...]
    """Outer addresses at which it was met there."""
    registered: bool
    """True: the registration names it."""
    observers: tuple[NodeId, ...]


@lru_cache(maxsize=100_000)
def _kind(host: str) -> tuple[int, bool] | None:
    """Return the family of a host, and whether it is an inside address. None: it is no address."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return address.version, any(
        address in network for network in _INSIDE if network.version == address.version
    )


@lru_cache(maxsize=100_000)
def _spot(host: str) -> str:
    """Return what stands for a host: an IPv6 host changes the lower half of its address by itself."""
    address = ip_address(host)
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else host


def registered_hosts(registrations: Iterable[Registration]) -> frozenset[str]:
    """List the outer addresses that registrations name: of the endpoint, and of SSH. Names are not resolved."""
    named = []
    for item in registrations:
        if item.endpoint:
            named.append(host_of(item.endpoint))
        if item.ssh_host:
            named += [item.ssh_host, host_of(item.ssh_host)]
    return frozenset(host for host in named if _kind(host) is not None)


def places_at_once(
    met: Hosts, registered: Collection[str], region: str, region_of: Callable[[NodeId], str]
) -> tuple[MetPlace, ...]:
    """Find the places at which one key is met at once; the registered one first, empty if it is one place at most.

    met: hosts with fresh meetings. registered: those that its registrations name. region: its own. Only addresses of
    one family, outside or inside, are compared. Where all observers of its own region meet it at one host and nobody
    else meets it there, that is its inside: no place of its own.
    """
    kinds: dict[tuple[int, bool], dict[str, dict[str, set[NodeId]]]] = defaultdict(dict)
    known = {_spot(host) for host in registered}
    for host, observers in met.items():
        kind = _kind(host)
        if kind is None or not observers:
            continue
        spot = "" if _spot(host) in known else _spot(host)
        kinds[kind].setdefault(spot, {}).setdefault(host, set()).update(observers)
    found: list[MetPlace] = []
    for spots in kinds.values():
        seen = {spot: set().union(*hosts.values()) for spot, hosts in spots.items()}
        inside = _inside(seen, region, region_of)
        left = [spot for spot in spots if spot != inside]
        if len(left) > 1:
            found += [
                MetPlace(tuple(sorted(spots[spot])), not spot, tuple(sorted(seen[spot]))) for spot in left
            ]
    return tuple(sorted(found, key=lambda place: (not place.registered, -len(place.observers), place.hosts)))


def _inside(
    seen: Mapping[str, Collection[NodeId]], region: str, region_of: Callable[[NodeId], str]
) -> str | None:
    """Find the one spot at which all observers of the region meet a key, and nobody else does."""
    near = {spot for spot, nodes in seen.items() if any(region_of(node) == region for node in nodes)}
    if len(near) != 1:
        return None
    (spot,) = near
    return spot if region and all(region_of(node) == region for node in seen[spot]) else None


def met_freshly(
    endpoints: Iterable[tuple[PublicKey, str]],
    ages: Mapping[PublicKey, int],
    registered: Callable[[PublicKey], Collection[str]],
) -> Iterator[tuple[PublicKey, str]]:
    """List the keys that one observer met with a live session, each with its host, without rewritten ones."""
    met: list[tuple[PublicKey, str, bool]] = []
    strange: Counter[str] = Counter()
    for key, endpoint in endpoints:
        host, own = host_of(endpoint), registered(key)
        odd = host not in own
        if odd and own:
            strange[host] += 1
        if ages.get(key, FRESH + 1) <= FRESH:
            met.append((key, host, odd))
    for key, host, odd in met:
        if not (odd and strange[host] >= REWRITTEN):
            yield key, host


def meetings(
    witnesses: Iterable[Observation], registered: Callable[[PublicKey], Collection[str]]
) -> Iterator[Meeting]:
    """List the meetings of those keys that some observer met elsewhere than others did, or than registered.

    In time that grows with the lines that differ: an endpoint that is the one which the first observer has costs
    one comparison of a set.
    """
    timed = [item for item in witnesses if item.endpoints and item.handshake_ages is not None]
    usual: dict[PublicKey, str] = {}
    odd: dict[NodeId, set[tuple[PublicKey, str]]] = {}
    """Lines of each observer that are not the usual ones; all lines of those that these are from."""
    for item in timed:
        endpoints = item.endpoints or {}
        if new := endpoints.keys() - usual.keys():
            usual.update((key, endpoints[key]) for key in new)
            odd[item.node] = set(endpoints.items())
    suspects: set[PublicKey] = set()
    for item in timed:
        differing = (item.endpoints or {}).items() - usual.items()
        if differing:
            odd[item.node] = differing | odd.get(item.node, set())
            met = met_freshly(differing, item.handshake_ages or {}, registered)
            suspects.update(key for key, host in met if host != host_of(usual[key]))
    if not suspects:
        return
    for item in timed:
        ages, endpoints = item.handshake_ages or {}, item.endpoints or {}
        lines = odd.get(item.node, set()) | {(key, endpoints[key]) for key in suspects & endpoints.keys()}
        for key, host in met_freshly(lines, ages, registered):
            if key in suspects:
                yield Meeting(key, host, item.node)
