"""Address plan of the mesh from the configuration: pools, reserved ends, and the prefix of each region.

Checks, plan and allocator ask here, so that no address is handed out which the audit would then find fault with.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address
from itertools import accumulate
from typing import Literal

from auditor.values.addresses import (
    Network,
    Prefix,
    covers,
    is_default_route,
    is_host,
    network,
    prefix_sort_key,
)

_SMALLEST_WITH_ENDS = 4
"""Addresses of a prefix from which on its first and last ones are reserved: a /31 or /32 has none to spare."""


class Fault(StrEnum):
    """Fault of an address that must not be given to a node."""

    OUTSIDE = "outside"
    """Address that lies in no pool."""
    NETWORK = "network"
    """Network address of a pool."""
    BROADCAST = "broadcast"
    """Broadcast address of a pool."""


@dataclass(frozen=True, slots=True)
class Misplacement:
    """Fault of an address that must not be given to a node, with the pool whose end it is."""

    fault: Fault
    pool: Prefix | None = None


class AddressPlan:
    """Pools, and the prefix that each region's addresses come from."""

    def __init__(self, pools: Sequence[Prefix], regions: Mapping[str, Prefix]) -> None:
        self.pools = tuple(pools)
        self.regions = dict(regions)
        self._ends = [_Ends(pool) for pool in self.pools]
        owners: dict[Prefix, list[str]] = defaultdict(list)
        for region, prefix in sorted(self.regions.items()):
            owners[prefix].append(region)
        self._owners = sorted(
            ((network(prefix), tuple(names)) for prefix, names in owners.items()),
            key=lambda entry: -entry[0].prefixlen,
        )

    # -- pools

    @cached_property
    def first_addresses(self) -> Mapping[Prefix, Prefix]:
        """List each pool's first address, an allocator's fallback, with the first pool that has it.

        A region's prefix is no pool here: an allocator that fills each region from its first address up would
        never be clean.
        """
        return {first: pool for pool in reversed(self.pools) if (first := first_address(pool)) is not None}

    def misplacement(self, prefix: Prefix) -> Misplacement | None:
        """Find the fault of a prefix that no node may have; None: it lies in a pool, at neither end of one."""
        size, address, length = prefix_sort_key(prefix)
        containing = [ends for ends in self._ends if ends.hold(size, address, length)]
        if not containing:
            return Misplacement(Fault.OUTSIDE)
        if length < 8 * size:
            return None
        for ends in containing:
            fault = ends.fault(address)
            if fault is not None:
                return Misplacement(fault, ends.pool)
        return None

    # -- regions

    def regions_of(self, prefix: Prefix) -> tuple[str, ...]:
        """Find the region of these addresses: the one with the longest prefix that covers them.

        Several, sorted, if they have one and the same prefix; none where no region's prefix covers it.
        """
        narrow = network(prefix)
        return next((names for wide, names in self._owners if covers(wide, narrow)), ())

    def source(self, region: str, beside: Prefix) -> Prefix | None:
        """Find the prefix from which a node of the region gets an address of the family of `beside`.

        The region's own, else the pool that holds `beside`, else the first of its family; None: there is none.
        """
        old = network(beside)
        planned = self.regions.get(region)
        if planned is not None and network(planned).version == old.version:
            return planned
        pools = [pool for pool in self.pools if network(pool).version == old.version]
        return next((pool for pool in pools if covers(network(pool), old)), pools[0] if pools else None)

    def holds_a_source(self, prefix: Prefix) -> bool:
        """Tell whether the prefix holds a whole pool or region: a route, such as an exit's, that takes no address."""
        wide = network(prefix)
        return any(covers(wide, network(source)) for source in (*self.pools, *self.regions.values()))

    def is_route(self, prefix: Prefix, topology: Literal["full", "partial"]) -> bool:
        """Tell whether the prefix is a route alone, which claims none of its addresses and takes them from nobody.

        That is a default route, and in a partial topology also what holds a whole pool or region: a hub's prefix,
        through which the others are reached.
        """
        if is_host(prefix):
            return False
        return is_default_route(prefix) or (topology == "partial" and self.holds_a_source(prefix))

    def lies_in_a_pool(self, prefix: Prefix) -> bool:
        """Tell whether the prefix lies in a pool, whole."""
        narrow = network(prefix)
        return any(covers(network(pool), narrow) for pool in self.pools)

    # -- addresses to hand out

    def candidates(self, source: Prefix, region: str, seed: str) -> Iterator[Prefix]:
        """Yield every address of `source` that a node of `region` may get, each once, in an order that `seed` decides.

        Left out are other regions' prefixes, what lies in no pool, and the network, broadcast and first address of
        the source and of each pool. Two callers begin at different places, so they rarely meet; one caller always
        tries the same ones in the same order. Nothing is listed: the order is a multiplication, so a /8 costs what
        a /24 costs.
        """
        parts = self._parts(source, region)
        ends = list(accumulate(part.num_addresses for part in parts))
        if not ends:
            return
        size = ends[-1]
        # Of each part, what makes an address of a place in the whole.
        places = [int(part.broadcast_address) + 1 - end for part, end in zip(parts, ends, strict=True)]
        whole = network(source)
        kept_off = self._reserved(source)
        digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
        start = int.from_bytes(digest[:16]) % size
        step = int.from_bytes(digest[16:]) % size or 1
        while math.gcd(step, size) != 1:
            step = step % size + 1
        for count in range(size):
            place = (start + count * step) % size
            value = places[bisect_right(ends, place)] + place
            if value not in kept_off:
                yield _host(value, whole.max_prefixlen)

    def is_reserved(self, prefix: Prefix, source: Prefix) -> bool:
        """Tell whether a host address is one that is never handed out: first, network or broadcast address."""
        return int(network(prefix).network_address) in self._reserved(source)

    def _reserved(self, source: Prefix) -> frozenset[int]:
        version = network(source).version
        values: set[int] = set()
        for whole in map(network, (source, *self.pools)):
            if whole.version != version or whole.num_addresses < _SMALLEST_WITH_ENDS:
                continue
            values |= {int(whole.network_address), int(whole.network_address) + 1}
            if whole.version == 4:
                values.add(int(whole.broadcast_address))
        return frozenset(values)

    def _parts(self, source: Prefix, region: str) -> list[Network]:
        """List the parts of the source that lie in a pool and belong to the region, in address order."""
        whole = network(source)
        if region and (owners := self.regions_of(source)) and region not in owners:
            return []
        parts = self._within_pools(whole)
        for other, names in self._owners:
            if other != whole and covers(whole, other) and region not in names:
                parts = [piece for part in parts for piece in _without(part, other)]
        return sorted(parts, key=lambda part: int(part.network_address))

    def _within_pools(self, whole: Network) -> list[Network]:
        pools = list(map(network, self.pools))
        if not pools or any(covers(pool, whole) for pool in pools):
            return [whole]
        return list(_collapsed(pool for pool in pools if covers(whole, pool)))


class _Ends:
    """Pool by the bytes of its ends, for comparison with thousands of addresses."""

    def __init__(self, pool: Prefix) -> None:
        whole = network(pool)
        self.pool = pool
        self._is_v4 = whole.version == 4
        self._length = whole.prefixlen
        self._first, self._last = whole.network_address.packed, whole.broadcast_address.packed
        self._has_ends = whole.num_addresses >= _SMALLEST_WITH_ENDS

    def hold(self, size: int, address: bytes, length: int) -> bool:
        """Tell whether a prefix of so many address bytes lies in the pool, whole."""
        return size == len(self._first) and self._first <= address <= self._last and length >= self._length

    def fault(self, address: bytes) -> Fault | None:
        """Find the fault of this single address of the pool; None: it may be given to a node."""
        if self._has_ends and address == self._first:
            return Fault.NETWORK
        if self._has_ends and self._is_v4 and address == self._last:
            return Fault.BROADCAST
        return None


class Taken:
    """Addresses in use, one by one and as networks."""

    def __init__(self, plan: AddressPlan, prefixes: Iterable[Prefix]) -> None:
        """Take the prefixes in use. One that holds a whole pool or region is a route, and takes no address."""
        self._prefixes = set(prefixes)
        self._wide = [
            network(prefix)
            for prefix in self._prefixes
            if network(prefix).num_addresses > 1 and not plan.holds_a_source(prefix)
        ]

    def is_free(self, prefix: Prefix) -> bool:
        """Tell whether the address is not in use, by itself or with a network around it."""
        address = network(prefix)
        return prefix not in self._prefixes and not any(covers(wide, address) for wide in self._wide)

    def add(self, prefix: Prefix) -> None:
        """Take one address."""
        self._prefixes.add(prefix)


@lru_cache(maxsize=1024)
def first_address(pool: Prefix) -> Prefix | None:
    """Return a pool's first host address, which an allocator falls back to; None: the pool is too small."""
    whole = network(pool)
    if whole.num_addresses < _SMALLEST_WITH_ENDS:
        return None
    return Prefix(f"{whole.network_address + 1}/{whole.max_prefixlen}")


def _without(part: Network, other: Network) -> Collection[Network]:
    """Subtract a network from another one."""
    if covers(other, part):
        return ()
    if not covers(part, other):
        return (part,)
    if isinstance(part, IPv4Network) and isinstance(other, IPv4Network):
        return tuple(part.address_exclude(other))
    if isinstance(part, IPv6Network) and isinstance(other, IPv6Network):
        return tuple(part.address_exclude(other))
    return (part,)


def _collapsed(networks: Iterable[Network]) -> Iterator[Network]:
    """Merge networks, so that no address is in two."""
    every = list(networks)
    yield from collapse_addresses(item for item in every if isinstance(item, IPv4Network))
    yield from collapse_addresses(item for item in every if isinstance(item, IPv6Network))


def _host(value: int, length: int) -> Prefix:
    return Prefix(f"{ip_address(value.to_bytes(length // 8))}/{length}")
