"""The three witnesses side by side: claims to addresses by registry, by device and by route.

A `Fleet` is an index over one snapshot that every check shares. It is built once, in time that grows
with nodes plus lines of the *distinct* tables, and nothing in it loops over observers × peers.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

from auditor.fleet.met_hosts import MetPlace, meetings, places_at_once
from auditor.fleet.region_sources import RegionWitness
from auditor.fleet.registered import Claims, Registered
from auditor.fleet.routes import Routes
from auditor.values.addresses import Network, Prefix, PublicKey, covers, is_host, network, prefix_sort_key
from auditor.values.findings import Claim, Witness
from auditor.values.models import (
    AddressWrite,
    AuditPolicy,
    LostRegistration,
    NodeId,
    Observation,
    Registration,
    Snapshot,
)
from auditor.values.witness_answers import OWN_LOOPBACK, WitnessAnswer

ANSWERED = "NATS"
"""Source of a region that a node's own server named, when it was asked."""


class WrongHost(NamedTuple):
    """Answer of another server: `observation.node` was asked, and the answering device holds `actual`'s key."""

    observation: Observation
    actual: NodeId


class Fleet:
    """Index over one snapshot. Read-only; independent of the order of the snapshot's parts."""

    def __init__(self, snapshot: Snapshot, registered: Registered | None = None) -> None:
        """Index a snapshot. registered: index of the same registrations by an earlier fleet, for reuse."""
        self.policy: AuditPolicy = snapshot.policy
        self.registered = registered or Registered(snapshot)
        self.registrations = self.registered.registrations
        self.invalid = self.registered.invalid
        self.retired = self.registered.retired
        self.in_flight_nodes = self.registered.in_flight_nodes
        self.in_flight_keys = self.registered.in_flight_keys
        self.by_node = self.registered.by_node
        self.address_plan = self.registered.address_plan
        self.by_key = self.registered.by_key
        observations = sorted(snapshot.observations, key=lambda item: item.node)
        self.observed: Mapping[NodeId, Observation] = {item.node: item for item in observations}
        elsewhere = tuple(self._wrong_hosts(observations))
        self._landed_elsewhere = frozenset(wrong.observation.node for wrong in elsewhere)
        # The way to a node in flight may have changed with its registration: no witness, but no finding either.
        self.wrong_hosts: tuple[WrongHost, ...] = tuple(
            wrong for wrong in elsewhere if wrong.observation.node not in self.in_flight_nodes
        )
        self.witnesses: tuple[Observation, ...] = tuple(
            item for item in observations if item.node not in self._landed_elsewhere
        )
        """Observations whose own node answered: the only ones that count as witnesses."""
        holders: dict[PublicKey, list[NodeId]] = defaultdict(list)
        for observation in self.witnesses:
            holders[observation.device.public_key].append(observation.node)
        self.device_holders: Mapping[PublicKey, list[NodeId]] = dict(holders)
        self.unsettled_before = snapshot.memory.unsettled
        """Nodes whose registrations did not hold still in the sweep before, as far as that is remembered."""
        self._remembered_lost = snapshot.memory.lost
        self.address_writes: Mapping[tuple[NodeId, Prefix], AddressWrite] = {
            (item.node, item.prefix): item for item in snapshot.memory.writes
        }
        """Writes by which nodes got their addresses, where the journal knows them."""
        self._tables = snapshot.tables
        self._meetings = snapshot.meetings
        self.endpoints_asked: bool = snapshot.meetings is not None or any(
            item.handshake_ages is not None for item in observations
        )
        """True: some observers told where they meet their peers, and when."""
        self._answers = snapshot.answers
        self.registry_unread: bool = any(gap.hides_registrations for gap in snapshot.gaps)
        """True: registrations may be missing, so that an unlisted node may be registered all the same."""
        seen = {item.node for item in self.witnesses}
        self._last_held = {
            key: node
            for node, key in sorted(snapshot.memory.drifted.items(), reverse=True)
            if node in self.by_node and node not in seen
        }

    @cached_property
    def lost(self) -> Mapping[PublicKey, LostRegistration]:
        """Registrations that vanished from the registry, by keys that it does not have otherwise.

        Not those that were freed on purpose, nor those that came or went while the sweep looked.
        """
        known = self.known_keys | self.unread_keys
        listed = self.registered.unreadable_nodes | self.by_node.keys() | self.in_flight_nodes
        listed |= {item.node for item in self.retired}
        return {
            item.registration.public_key: item
            for item in self._remembered_lost
            if item.registration.public_key is not None
            and item.registration.public_key not in known
            and item.registration.node not in listed
            and item.released is not True
        }

    @property
    def known_keys(self) -> frozenset[PublicKey]:
        """Keys that the registry knows in whatever form, those in flight and retired ones included."""
        return self.registered.known_keys

    @cached_property
    def unread_keys(self) -> frozenset[PublicKey]:
        """Live keys of nodes whose registered key cannot be read, and may be these."""
        return frozenset(
            item.device.public_key
            for item in self.witnesses
            if (asked := self.by_node.get(item.node)) is not None and asked.public_key is None
        )

    @cached_property
    def routes(self) -> Routes:
        """Routes of all observers, over the distinct tables."""
        return Routes(
            expected=self.registered.expected,
            tables=self._tables,
            observers=self.witnesses,
            region_of=self.region,
            node_of=self.node_of_key,
        )

    # -- nodes and keys

    def node_of_key(self, key: PublicKey) -> NodeId | None:
        """Find the node registered under the key, else the one whose device holds it, else None."""
        registered = self.by_key.get(key)
        if registered:
            return registered[0].node
        holders = self.device_holders.get(key)
        if holders:
            return holders[0]
        retired = self.registered.retired_keys.get(key)
        return retired.node if retired is not None else None

    def unseen_holder(self, key: PublicKey) -> NodeId | None:
        """Find the registered node whose device held the key when last seen, if it was not seen now."""
        return self._last_held.get(key)

    @property
    def ambiguous_names(self) -> frozenset[str]:
        """Names that are registered in more than one datacenter."""
        return self.registered.ambiguous_names

    def name(self, node: NodeId) -> str:
        """Name the node; with its datacenter only where the name alone is ambiguous."""
        return str(node) if node.name in self.ambiguous_names else node.name

    def _wrong_hosts(self, observations: Iterable[Observation]) -> Iterable[WrongHost]:
        for observation in observations:
            key = observation.device.public_key
            asked = self.by_node.get(observation.node)
            if asked is None or asked.public_key == key:
                continue
            if any(form.public_key == key for form in self.registered.in_flight.get(asked.node, ())):
                continue  # its own key, before or after the change
            owner = self._owner_answering(observation, asked, self.by_key.get(key, ()))
            if owner is not None:
                yield WrongHost(observation, owner.node)

    def _owner_answering(
        self, observation: Observation, asked: Registration, owners: Sequence[Registration]
    ) -> Registration | None:
        """Find the owner of the answering key that answered in the asked node's place; None: it was a clone.

        A clone is the asked node's own machine that carries the owner's key. Two different SSH host keys
        are two machines. Where they do not tell, the machine that holds an address which is registered for
        the asked node, and for no owner of the key, is the asked node.
        """
        seen = [
            (owner, other)
            for owner in owners
            if (other := self.observed.get(owner.node)) is not None
            and other.device.public_key == observation.device.public_key
        ]
        for owner, other in seen:
            same_machine = observation.host_key is not None and observation.host_key == other.host_key
            if same_machine and observation.device == other.device:
                return owner
        machines = {other.host_key for _, other in seen}
        if len(seen) == len(owners) and observation.host_key and not machines & {None, observation.host_key}:
            return None
        theirs = {prefix for owner in owners for prefix in owner.addresses}
        if not owners or set(observation.device.addresses) & (set(asked.addresses) - theirs):
            return None
        return owners[0]

    # -- where keys are met

    @cached_property
    def met_at_once(self) -> Mapping[PublicKey, tuple[MetPlace, ...]]:
        """Places at which keys are met at once, of those keys that are met at two or more."""
        met: dict[PublicKey, dict[str, set[NodeId]]] = defaultdict(lambda: defaultdict(set))
        for item in itertools.chain(self._meetings or (), meetings(self.witnesses, self._outer_hosts)):
            met[item.public_key][item.host].add(item.observer)
        found = {}
        for key, hosts in met.items():
            owner = self.node_of_key(key)
            region = self.region(owner) if owner is not None else ""
            places = places_at_once(hosts, self._outer_hosts(key), region, self.region)
            if places and key not in self.in_flight_keys:
                found[key] = places
        return found

    def _outer_hosts(self, key: PublicKey) -> frozenset[str]:
        return self.registered.outer_hosts.get(key, frozenset())

    # -- regions

    def region_witnesses(self, node: NodeId) -> tuple[RegionWitness, ...]:
        """List the node's region by each source, the registration's first."""
        words = self.registered.region_words(node)
        observation = self.observed.get(node)
        if observation is not None and observation.region and node not in self._landed_elsewhere:
            words += _own_word(observation.region)
        return words + self._answered_regions.get(node, ())

    @cached_property
    def _answered_regions(self) -> Mapping[NodeId, tuple[RegionWitness, ...]]:
        """Regions that the nodes' own servers name, each once."""
        found: dict[NodeId, set[str]] = defaultdict(set)
        for answer in self._answers:
            node = answer.observer if answer.address == OWN_LOOPBACK else answer.node
            if node is not None and answer.region:
                found[node].add(answer.region)
        return {
            node: tuple(RegionWitness(ANSWERED, region) for region in sorted(regions))
            for node, regions in found.items()
        }

    @cached_property
    def answers_at(self) -> Mapping[Prefix, tuple[WitnessAnswer, ...]]:
        """Answers of witnesses by the mesh address that was asked for; failed questions included."""
        found: dict[Prefix, list[WitnessAnswer]] = defaultdict(list)
        for answer in self._answers:
            if answer.address != OWN_LOOPBACK:
                found[answer.address].append(answer)
        return {
            address: tuple(sorted(answers, key=lambda item: (item.source, item.observer)))
            for address, answers in found.items()
        }

    def region(self, node: NodeId) -> str:
        """Return the node's region by its best witness; "" where none knows."""
        words = self.registered.region_words(node) or self.region_witnesses(node)
        return words[0].region if words else ""

    def regions(self, nodes: Iterable[NodeId]) -> tuple[str, ...]:
        """List the known regions of these nodes, sorted, each once."""
        return tuple(sorted({self.region(node) for node in nodes} - {""}))

    # -- claims

    @property
    def registered_claims(self) -> Claims[Registration]:
        """Claims of the registry, by prefix."""
        return self.registered.claims

    @cached_property
    def device_claims(self) -> Claims[Observation]:
        """Claims of devices by their own addresses, nodes in flight included: they are live."""
        claimants: dict[Prefix, list[Observation]] = defaultdict(list)
        for item in self.witnesses:
            for prefix in item.device.addresses:
                claimants[prefix].append(item)
        return Claims(dict(claimants), _device_claim)

    def retired_at(self, prefix: Prefix) -> tuple[NodeId, ...]:
        """List retired nodes that had this address."""
        return self._retired_by_prefix.get(prefix, ())

    @cached_property
    def _retired_by_prefix(self) -> Mapping[Prefix, tuple[NodeId, ...]]:
        nodes: dict[Prefix, list[NodeId]] = defaultdict(list)
        for item in self.retired:
            for prefix in item.addresses:
                nodes[prefix].append(item.node)
        return {prefix: tuple(found) for prefix, found in nodes.items()}

    def claims(self, prefix: Prefix) -> tuple[Claim, ...]:
        """List all claims to a prefix, the registry's first."""
        return self.registered_claims.get(prefix, ()) + self.device_claims.get(prefix, ())

    @cached_property
    def known_prefixes(self) -> frozenset[Prefix]:
        """All prefixes that the registry, a device or a route table shows."""
        routed = self.routes.deviations
        return frozenset((*self.registered_claims, *self.device_claims, *routed.extra, *routed.passing))

    @cached_property
    def _wide_prefixes(self) -> tuple[tuple[Network, Prefix], ...]:
        return tuple((network(prefix), prefix) for prefix in self.known_prefixes if not is_host(prefix))

    def covering(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """List known prefixes that are wider than this one and cover it, routed or not; the longest first."""
        narrow = network(prefix)
        found = [
            (wide, text) for wide, text in self._wide_prefixes if text != prefix and covers(wide, narrow)
        ]
        return tuple(text for _, text in sorted(found, key=lambda entry: -entry[0].prefixlen))

    def keys_of(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys that have exactly this prefix in the registry, on a device or in a route table."""
        claimed = frozenset(claim.public_key for claim in self.claims(prefix) if claim.public_key is not None)
        return claimed | self.routes.keys_anywhere(prefix) | self.routes.keys_passing(prefix)

    @cached_property
    def contested(self) -> Mapping[Prefix, tuple[NodeId, ...]]:
        """List prefixes that two or more nodes claim, with the claimants; in address order. A route is no claim.

        One node that is mirrored into two datacenters (same name, same key) is one claimant.
        """
        contested: dict[Prefix, tuple[NodeId, ...]] = {}
        registered, on_devices = self.registered_claims.claimants, self.device_claims.claimants
        several = {
            prefix for prefix, items in registered.items() if len(items) > 1 and not self.is_route(prefix)
        }
        several.update(
            prefix
            for prefix, items in on_devices.items()
            if len(items) > 1 or (prefix in registered and registered[prefix][0].node != items[0].node)
        )
        for prefix in several:
            nodes: dict[NodeId | tuple[str, PublicKey], NodeId] = {}
            for claim in self.claims(prefix):
                if claim.node is not None:
                    nodes.setdefault(self.same_node(claim.node), claim.node)
            if len(nodes) > 1:
                contested[prefix] = tuple(
                    sorted(nodes.values(), key=lambda node: (node.name, node.datacenter))
                )
        return dict(sorted(contested.items(), key=lambda entry: prefix_sort_key(entry[0])))

    def same_node(self, node: NodeId) -> tuple[str, PublicKey] | NodeId:
        """Make a value that is equal for a node and its mirror in another datacenter: same name, same key."""
        registration = self.by_node.get(node)
        if registration is None or registration.public_key is None:
            return node
        return node.name, registration.public_key

    def is_route(self, prefix: Prefix) -> bool:
        """Tell whether the prefix is a route alone, no claim to its addresses: see `AddressPlan.is_route`."""
        return self.registered.is_route(prefix)

    def host_addresses(self, node: NodeId) -> frozenset[Prefix]:
        """List the single addresses that the registry gives the node."""
        registration = self.by_node.get(node)
        return frozenset(filter(is_host, registration.addresses)) if registration else frozenset()


def _device_claim(prefix: Prefix, item: Observation) -> Claim:
    return Claim(Witness.DEVICE, prefix, item.device.public_key, item.node, item.device.name)


@lru_cache(maxsize=1024)
def _own_word(region: str) -> tuple[RegionWitness]:
    return (RegionWitness("node itself", region),)
