"""Meetings of peers: at which outer host an observer met a key, and how long ago."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from auditor.values.addresses import PublicKey
from auditor.values.models import NodeId

FRESH = 180
"""Seconds since a handshake within which its session lives: WireGuard rejects an older one's packets."""


@dataclass(frozen=True, slots=True)
class PeersMet:
    """Answer of one observer to where it meets its peers."""

    observer: NodeId
    endpoints: Mapping[PublicKey, str]
    """Endpoint of each peer that has one, `ip:port`."""
    handshake_ages: Mapping[PublicKey, int]
    """Seconds since the last handshake with each of these peers that had one."""


@lru_cache(maxsize=100_000)
def host_of(endpoint: str) -> str:
    """Return the outer address of an endpoint, without port, zone and brackets, as it is compared."""
    host = endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]").partition("%")[0]
    if ":" not in host:
        return host
    try:
        mapped = IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return str(mapped) if mapped is not None else host
