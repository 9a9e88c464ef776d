"""Index over the registry's content, made once for every look at the nodes that is judged by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Generic, TypeVar

from auditor.fleet.address_plan import AddressPlan
from auditor.fleet.deviations import Expected
from auditor.fleet.met_hosts import registered_hosts
from auditor.fleet.region_sources import RegionSources, RegionWitness
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.findings import Claim, Witness
from auditor.values.models import InvalidRegistration, NodeId, Registration, Snapshot

T = TypeVar("T")


class Claims(Mapping[Prefix, tuple[Claim, ...]], Generic[T]):
    """Claims by prefix, each made when it is asked for: most never are."""

    def __init__(self, claimants: Mapping[Prefix, Sequence[T]], claim: Callable[[Prefix, T], Claim]) -> None:
        self.claimants = claimants
        """Claimants by prefix."""
        self._claim = claim

    def __getitem__(self, prefix: Prefix) -> tuple[Claim, ...]:
        return tuple(self._claim(prefix, item) for item in self.claimants[prefix])

    def __iter__(self) -> Iterator[Prefix]:
        return iter(self.claimants)

    def __len__(self) -> int:
        return len(self.claimants)


class Registered:
    """Registry's part of a snapshot, indexed. Read-only; independent of the order of the snapshot's parts."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._policy = snapshot.policy
        ordered = sorted(snapshot.registrations, key=_registration_order)
        self.registrations: tuple[Registration, ...] = tuple(item for item in ordered if not item.retired)
        """Registrations of nodes that belong to the mesh: not the retired ones."""
        self.retired: tuple[Registration, ...] = tuple(item for item in ordered if item.retired)
        self.invalid: tuple[InvalidRegistration, ...] = tuple(
            sorted(snapshot.invalid, key=lambda item: (item.node, item.where, item.reason))
        )
        in_flight: dict[NodeId, list[Registration]] = defaultdict(list)
        for item in snapshot.in_flight:
            in_flight[item.node].append(item)
        self.in_flight: Mapping[NodeId, Sequence[Registration]] = dict(in_flight)
        """Every form that was read of each registration that had not held still when the sweep ended."""
        self.in_flight_nodes = frozenset(in_flight)
        self.in_flight_prefixes = frozenset(
            prefix for item in snapshot.in_flight for prefix in item.addresses
        )
        self.in_flight_keys = frozenset(
            item.public_key for item in snapshot.in_flight if item.public_key is not None
        )
        self.by_node: Mapping[NodeId, Registration] = {item.node: item for item in self.registrations}
        by_key: dict[PublicKey, list[Registration]] = defaultdict(list)
        for registration in self.registrations:
            if registration.public_key is not None:
                by_key[registration.public_key].append(registration)
        self.by_key: Mapping[PublicKey, list[Registration]] = dict(by_key)
        self.address_plan = AddressPlan(self._policy.pools, self._policy.region_pools)
        self._regions = RegionSources(self._policy, self.address_plan)
        self._words: dict[NodeId, tuple[RegionWitness, ...]] = {}

    @cached_property
    def known_keys(self) -> frozenset[PublicKey]:
        """Keys that the registry knows in whatever form, those in flight and retired ones included."""
        return frozenset(self.by_key) | self.in_flight_keys | self.retired_keys.keys()

    @cached_property
    def retired_keys(self) -> Mapping[PublicKey, Registration]:
        """Keys of retired registrations that no other registration has."""
        return {
            item.public_key: item
            for item in self.retired
            if item.public_key is not None and item.public_key not in self.by_key
        }

    @cached_property
    def outer_hosts(self) -> Mapping[PublicKey, frozenset[str]]:
        """Outer addresses that the registrations of each key name."""
        return {key: registered_hosts(items) for key, items in self.by_key.items()}

    @cached_property
    def keyless_prefixes(self) -> frozenset[Prefix]:
        """Prefixes of registrations whose key cannot be read: whose peer has them is not known."""
        return frozenset(
            prefix for item in self.registrations if item.public_key is None for prefix in item.addresses
        )

    @property
    def unreadable_nodes(self) -> frozenset[NodeId]:
        """Nodes of whose registration something could not be read."""
        return frozenset(item.node for item in self.invalid)

    @cached_property
    def ambiguous_names(self) -> frozenset[str]:
        """Names that are registered in more than one datacenter."""
        seen: dict[str, str] = {}
        return frozenset(
            node.name
            for node in (
                *self.by_node,
                *(item.node for item in self.invalid),
                *(item.node for item in self.retired),
            )
            if seen.setdefault(node.name, node.datacenter) != node.datacenter
        )

    @cached_property
    def expected(self) -> Expected:
        """Route table that follows from the registrations."""
        return Expected(
            (
                (item.public_key, prefix)
                for item in self.registrations
                if item.public_key is not None and item.public_key not in self.in_flight_keys
                for prefix in item.addresses
            ),
            ignored_keys=self.in_flight_keys,
            open_keys=frozenset(
                item.public_key
                for item in self.registrations
                if item.public_key is not None
                and not item.all_addresses_read
                and item.public_key not in self.in_flight_keys
            ),
            is_route=self.is_route,
        )

    def is_route(self, prefix: Prefix) -> bool:
        """Tell whether the prefix is a route alone: see `AddressPlan.is_route`."""
        return self.address_plan.is_route(prefix, self._policy.topology)

    @cached_property
    def claims(self) -> Claims[Registration]:
        """Claims of the registry, by prefix."""
        claimants: dict[Prefix, list[Registration]] = defaultdict(list)
        for item in self.registrations:
            for prefix in item.addresses:
                claimants[prefix].append(item)
        return Claims(dict(claimants), registered_claim)

    def region(self, node: NodeId) -> str:
        """Return the node's region by the best of these sources; "" where none names one."""
        words = self.region_words(node)
        return words[0].region if words else ""

    def region_words(self, node: NodeId) -> tuple[RegionWitness, ...]:
        """List the node's region by registration, name and address plan, in this order."""
        known = self._words.get(node)
        if known is None:
            known = self._words[node] = self._regions.words(node, self.by_node.get(node))
        return known


def registered_claim(prefix: Prefix, item: Registration) -> Claim:
    """Make the claim of a registration to one of its prefixes."""
    return Claim(
        Witness.REGISTERED,
        prefix,
        item.public_key,
        item.node,
        item.where,
        item.create_index,
        item.modify_index,
    )


def _registration_order(item: Registration) -> tuple[NodeId, str]:
    return item.node, item.where
