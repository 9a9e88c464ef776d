"""PURE: the addresses of a prefix that may be handed out, each once, in an order of the asker's own."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address

from auditor.values.addresses import Network, Prefix, network


def candidates(source: Prefix, pools: Iterable[Prefix], seed: str) -> Iterator[Prefix]:
    """Every address of `source` that may be handed out, each once, in an order that `seed` decides.

    Two askers begin at different places, so they rarely meet; one asker always tries the same ones in the
    same order. Nothing is listed: the order is a multiplication, so a /8 costs what a /24 costs. Left out
    are the network and broadcast addresses of the source and of each pool, and the first address of each.
    """
    whole = network(source)
    kept_off = _kept_off([whole, *map(network, pools)])
    size = whole.num_addresses
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
    start = int.from_bytes(digest[:16]) % size
    step = int.from_bytes(digest[16:]) % size or 1
    while math.gcd(step, size) != 1:
        step = step % size + 1
    base = int(whole.network_address)
    for count in range(size):
        value = base + (start + count * step) % size
        if value not in kept_off:
            yield _host(value, whole)


def kept_off(prefix: Prefix, source: Prefix, pools: Iterable[Prefix]) -> bool:
    """Whether a host address is one that is never handed out: first, network or broadcast address."""
    value = int(network(prefix).network_address)
    return value in _kept_off([network(source), *map(network, pools)])


def _kept_off(wholes: Collection[Network]) -> frozenset[int]:
    values: set[int] = set()
    for whole in wholes:
        if whole.num_addresses < 4:
            continue  # a /31 or /32 has no address to spare
        values |= {int(whole.network_address), int(whole.network_address) + 1}
        if whole.version == 4:
            values.add(int(whole.broadcast_address))
    return frozenset(values)


def _host(value: int, whole: Network) -> Prefix:
    packed = value.to_bytes(whole.max_prefixlen // 8)
    return Prefix(f"{ip_address(packed)}/{whole.max_prefixlen}")
