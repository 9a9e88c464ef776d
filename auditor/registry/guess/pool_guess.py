"""PURE: the prefixes that mesh addresses seem to come from, with the counts that say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from auditor.registry.guess.field_guess import PRIVATE_BLOCKS
from auditor.values.addresses import Network, Prefix, covers, is_host, network, parse_prefix
from auditor.values.registry_guess import PoolGuess

_LEAST_SHARE = 0.05
"""A block with a smaller share of the addresses holds strays, and is no pool."""
_MOST_OUTSIDE = 3
_USUAL = {4: (16, 8), 6: (48, 32)}
"""Lengths of pools, as people give them. A narrower pool than it is would make every new address a finding."""


class Pools(NamedTuple):
    """Guessed pools, and what lies in none of them."""

    pools: tuple[PoolGuess, ...]
    outside: tuple[tuple[str, Prefix], ...]
    """A few nodes with their addresses."""
    outside_count: int


def guess_pools(addresses: Sequence[tuple[str, Prefix]]) -> Pools:
    """Guess the pools of registered host addresses, given with their nodes.

    Of each private block with more than a few addresses: the block itself where they begin at its start, as those of an
    allocator do that counts up; else the smallest of the usual sizes that holds them all. What lies in no private block
    counts as one block for each family.
    """
    hosts = [(node, prefix) for node, prefix in addresses if is_host(prefix)]
    blocks: dict[object, list[tuple[str, Prefix]]] = defaultdict(list)
    for node, prefix in hosts:
        blocks[_block(network(prefix))].append((node, prefix))
    few = max(1.0, _LEAST_SHARE * len(hosts))
    pools, outside = [], []
    for entries in blocks.values():
        # The largest block is a pool in any case: somewhere the addresses come from.
        if len(entries) <= few and len(entries) < max(map(len, blocks.values())):
            outside += entries
            continue
        smallest = _common([network(prefix) for _, prefix in entries])
        pools.append(PoolGuess(_usual(smallest), len(entries), len(hosts), _prefix(smallest)))
    pools.sort(key=lambda item: (-item.addresses, item.pool))
    return Pools(tuple(pools), tuple(sorted(outside)[:_MOST_OUTSIDE]), len(outside))


def pool_with(pool: Prefix, addresses: Iterable[tuple[str, Prefix]]) -> PoolGuess:
    """Count the registered host addresses in a pool that a person named."""
    hosts = [network(prefix) for _, prefix in addresses if is_host(prefix)]
    inside = [address for address in hosts if covers(network(pool), address)]
    return PoolGuess(pool, len(inside), len(hosts), _prefix(_common(inside)) if inside else pool)


def _block(address: Network) -> object:
    return next((block for block in PRIVATE_BLOCKS if covers(block, address)), address.version)


def _common(addresses: Sequence[Network]) -> Network:
    """Return the smallest network that holds all of these, of one family."""
    lowest = min(addresses, key=lambda item: int(item.network_address))
    highest = max(int(item.broadcast_address) for item in addresses)
    differing = (int(lowest.network_address) ^ highest).bit_length()
    return lowest.supernet(new_prefix=min(lowest.prefixlen, lowest.max_prefixlen - differing))


def _usual(smallest: Network) -> Prefix:
    """Return the pool of a usual size around this network, within its private block."""
    block = next((block for block in PRIVATE_BLOCKS if covers(block, smallest)), None)
    around = [
        smallest.supernet(new_prefix=length)
        for length in _USUAL[smallest.version]
        if length <= smallest.prefixlen and (block is None or length >= block.prefixlen)
    ]
    if block is None:
        return _prefix(around[0] if around else smallest)
    begins = bool(around) and around[0].network_address == block.network_address
    return _prefix(block if begins or not around else around[0])


def _prefix(found: Network) -> Prefix:
    return parse_prefix(str(found))
