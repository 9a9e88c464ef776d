"""outside-pool: a registered address that lies in no pool, or is a pool's network or broadcast address."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import listed, placed
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, network, prefix_sort_key
from auditor.values.models import Evidence, Severity


def run(fleet: Fleet) -> Iterable[Draft]:
    """One finding an address."""
    pools = [_Pool(pool) for pool in fleet.policy.pools]
    wrong_ones = {
        prefix: wrong for prefix in fleet.registered_claims if (wrong := _wrong(prefix, pools)) is not None
    }
    for prefix, wrong in sorted(wrong_ones.items(), key=lambda entry: prefix_sort_key(entry[0])):
        claims = fleet.registered_claims[prefix]
        nodes = tuple(sorted({claim.node for claim in claims if claim.node is not None}))
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=f"Registered for {placed(fleet, nodes)}, but {wrong}.",
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(claims=claims),
            follows_from=(idents.duplicate_address(prefix),),
        )


class _Pool:
    """A pool by the bytes of its first and last address, which is all that thousands of addresses are held against."""

    def __init__(self, pool: Prefix) -> None:
        whole = network(pool)
        self._text = pool
        self._is_v4 = whole.version == 4
        self._length = whole.prefixlen
        self._first, self._last = whole.network_address.packed, whole.broadcast_address.packed
        self._has_ends = whole.num_addresses >= 4

    def __str__(self) -> str:
        return self._text

    def holds(self, size: int, address: bytes, length: int) -> bool:
        """Whether a prefix of so many address bytes lies in it, whole."""
        return size == len(self._first) and self._first <= address <= self._last and length >= self._length

    def end(self, address: bytes) -> str | None:
        """What this single address of it is, if it is none to give to a node."""
        if self._has_ends and address == self._first:
            return f"it is the network address of {self}"
        if self._has_ends and self._is_v4 and address == self._last:
            return f"it is the broadcast address of {self}"
        return None


def _wrong(prefix: Prefix, pools: list[_Pool]) -> str | None:
    size, address, length = prefix_sort_key(prefix)
    containing = [pool for pool in pools if pool.holds(size, address, length)]
    if not containing:
        return f"in none of the pools ({listed(map(str, pools))}); add its prefix to mesh.pools if it belongs"
    if length == 8 * size:
        return next((end for pool in containing if (end := pool.end(address)) is not None), None)
    return None


CHECK = Check(
    Ident.OUTSIDE_POOL,
    Severity.WARNING,
    "An address lies in no pool, or is a network or broadcast address.",
    run,
)
