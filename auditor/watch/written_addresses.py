"""PURE: times at which nodes got their addresses in a followed registry, as the watch was told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from auditor.registry.interface import RegistryNews
from auditor.values.addresses import Prefix
from auditor.values.models import AddressWrite, NodeId, Registration
from auditor.values.registration_changes import MOMENT


@dataclass(slots=True)
class _Datacenter:
    """What is known of one datacenter."""

    first_at: datetime
    last_at: datetime
    registered: dict[NodeId, Registration]
    writes: dict[tuple[NodeId, Prefix], AddressWrite] = field(default_factory=dict)
    """Of addresses that came since the first reading, and are held now."""


class WrittenAddresses:
    """Times of writes, of all datacenters. It grows with the addresses that are registered, not with writes."""

    def __init__(self) -> None:
        self._datacenters: dict[str, _Datacenter] = {}

    def take(self, news: RegistryNews) -> None:
        """Take in a reading, in the order in which they arrived. One with a gap says nothing."""
        if news.reading.gaps:
            return
        now = {item.node: item for item in news.reading.registrations}
        known = self._datacenters.get(news.datacenter)
        if known is None:
            self._datacenters[news.datacenter] = _Datacenter(news.arrived_at, news.arrived_at, now)
            return
        since = max(news.before_at or known.last_at, known.last_at)
        to_the_moment = news.woken or news.arrived_at - since <= MOMENT
        for node, item in now.items():
            older = known.registered.get(node)
            if older is item:
                continue
            before = frozenset(older.addresses) if older is not None else frozenset[Prefix]()
            for prefix in before.symmetric_difference(item.addresses):
                if prefix in before:
                    known.writes.pop((node, prefix), None)
                    continue
                known.writes[node, prefix] = AddressWrite(
                    node, prefix, news.arrived_at, to_the_moment, item.modify_index if to_the_moment else None
                )
        for node in known.registered.keys() - now.keys():
            for prefix in known.registered[node].addresses:
                known.writes.pop((node, prefix), None)
        known.registered, known.last_at = now, news.arrived_at

    def contested(self, registrations: Iterable[Registration]) -> tuple[AddressWrite, ...]:
        """List the writes by which nodes got addresses that several are registered with, by address and node.

        What was there at the first reading was written then, or before.
        """
        # At each change of thousands of registrations: nothing is made for an address that one node has alone.
        first: dict[Prefix, NodeId] = {}
        holders: dict[Prefix, set[NodeId]] = {}
        for item in registrations:
            if not item.retired:
                for prefix in item.addresses:
                    holder = first.setdefault(prefix, item.node)
                    if holder != item.node:
                        holders.setdefault(prefix, {holder}).add(item.node)
        found = (
            self._write(node, prefix) for prefix, nodes in sorted(holders.items()) for node in sorted(nodes)
        )
        return tuple(item for item in found if item is not None)

    def _write(self, node: NodeId, prefix: Prefix) -> AddressWrite | None:
        known = self._datacenters.get(node.datacenter)
        item = known.registered.get(node) if known is not None else None
        if known is None or item is None or prefix not in item.addresses:
            return None
        found = known.writes.get((node, prefix))
        return found or AddressWrite(node, prefix, known.first_at, to_the_moment=False)


def with_older(
    writes: Iterable[AddressWrite], remembered: Iterable[AddressWrite]
) -> tuple[AddressWrite, ...]:
    """Put what an earlier watch remembers in place of those of which only the first reading is known."""
    known: Mapping[tuple[NodeId, Prefix], AddressWrite] = {
        (item.node, item.prefix): item for item in remembered
    }
    return tuple(item if item.to_the_moment else known.get((item.node, item.prefix), item) for item in writes)
