"""PURE: contents of a reading: what two readings must differ in so that there is news."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditor.values.models import NodeId, RegistryReading

# Not `modify_index`: a lock that is taken on a registration's key raises it, and changes nothing that was registered.
_REGISTERED = attrgetter(
    "node",
    "public_key",
    "addresses",
    "region",
    "endpoint",
    "ssh_host",
    "values",
    "where",
    "create_index",
    "state",
    "retired",
    "all_addresses_read",
)


class Contents:
    """Contents of a reading, to compare with those of another."""

    def __init__(self, reading: RegistryReading) -> None:
        self._all = (
            [_REGISTERED(item) for item in reading.registrations],
            reading.invalid,
            # A detail may hold a number that is another each time.
            {(gap.reason, gap.datacenter) for gap in reading.gaps},
        )
        self.nodes = frozenset(
            item.node for items in (reading.registrations, reading.invalid) for item in items
        )

    def same_as(self, other: Contents) -> bool:
        """Tell whether both say the same."""
        return self._all == other._all

    def lost_in(self, later: Contents) -> frozenset[NodeId]:
        """List nodes that a later reading lacks."""
        return self.nodes - later.nodes
