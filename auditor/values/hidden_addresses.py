"""What of the mesh a node's own routes hide from it: values that its probe tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from auditor.values.addresses import Prefix


class RouteKind(StrEnum):
    """Kind of a route, by the word of `ip route`."""

    UNICAST = "unicast"
    LOCAL = "local"
    """The address is the node's own, on another device."""
    BROADCAST = "broadcast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


@dataclass(frozen=True, slots=True)
class ShadowingRoute:
    """Route of a node that takes packets to its peers' mesh addresses, and does not lead to the mesh device."""

    prefix: Prefix
    kind: RouteKind
    device: str
    """Device that it leads to; "" where it leads to none, as a blackhole."""
    hidden: int
    """Number of prefixes among the peers' allowed-ips that it hides."""
    sample: tuple[Prefix, ...]
    """The first of these, in the order of their text; all of them, where they are few."""
