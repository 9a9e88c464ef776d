"""The three witnesses side by side: who claims which address, by registry, by device, by route.

A `Fleet` is an index over one snapshot that every check shares. It is built once, in time that grows
with nodes plus lines of the *distinct* tables, and nothing in it loops over observers × peers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from auditor.addresses import Network, Prefix, PublicKey, is_host, network, order
from auditor.models import (
    AuditPolicy,
    Claim,
    InvalidRegistration,
    NodeId,
    Observation,
    Registration,
    Snapshot,
    Witness,
)
from auditor.routes import Routes, covers


class WrongHost(NamedTuple):
    """We asked for `observation.node`, and the server that answered holds `actual`'s key."""

    observation: Observation
    actual: NodeId


class RegionWitness(NamedTuple):
    """One source's word on where a node is."""

    source: str
    region: str


class Fleet:
    """What one snapshot says, indexed. Read-only; independent of the order of the snapshot's parts."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.policy: AuditPolicy = snapshot.policy
        self.registrations: tuple[Registration, ...] = tuple(
            sorted(snapshot.registrations, key=_registration_order)
        )
        self.invalid: tuple[InvalidRegistration, ...] = tuple(
            sorted(snapshot.invalid, key=lambda item: (item.node, item.where, item.reason))
        )
        self.in_flight_nodes = frozenset(item.node for item in snapshot.in_flight)
        self.in_flight_keys = frozenset(item.public_key for item in snapshot.in_flight)
        self.by_node: Mapping[NodeId, Registration] = {item.node: item for item in self.registrations}
        by_key: dict[PublicKey, list[Registration]] = defaultdict(list)
        for registration in self.registrations:
            by_key[registration.public_key].append(registration)
        self.by_key: Mapping[PublicKey, list[Registration]] = dict(by_key)
        self._name_pattern = re.compile(self.policy.name_pattern) if self.policy.name_pattern else None
        self._plan = sorted(
            ((region, network(prefix)) for region, prefix in self.policy.region_pools.items()),
            key=lambda entry: (-entry[1].prefixlen, entry[0]),
        )
        observations = sorted(snapshot.observations, key=lambda item: item.node)
        self.observed: Mapping[NodeId, Observation] = {item.node: item for item in observations}
        self.wrong_hosts: tuple[WrongHost, ...] = tuple(self._wrong_hosts(observations))
        self._landed_elsewhere = frozenset(wrong.observation.node for wrong in self.wrong_hosts)
        self.witnesses: tuple[Observation, ...] = tuple(
            item for item in observations if item.node not in self._landed_elsewhere
        )
        """The observations whose own node answered: the only ones that count as witnesses."""
        holders: dict[PublicKey, list[NodeId]] = defaultdict(list)
        for observation in self.witnesses:
            holders[observation.device.public_key].append(observation.node)
        self.device_holders: Mapping[PublicKey, list[NodeId]] = dict(holders)
        self._tables = snapshot.tables

    @cached_property
    def known_keys(self) -> frozenset[PublicKey]:
        """Keys that the registry knows in whatever form, those in flight included."""
        halfway = {item.public_key for item in self.invalid if item.public_key is not None}
        return frozenset(self.by_key) | self.in_flight_keys | halfway

    @cached_property
    def routes(self) -> Routes:
        """Who routes what where, over the distinct tables."""
        return Routes(
            expected=(
                (item.public_key, prefix)
                for item in self.registrations
                if item.public_key not in self.in_flight_keys
                for prefix in item.addresses
            ),
            tables=self._tables,
            observers=self.witnesses,
            ignored_keys=self.in_flight_keys,
            region_of=self.region,
            node_of=self.node_of_key,
        )

    # -- who is who

    def node_of_key(self, key: PublicKey) -> NodeId | None:
        """The node registered under the key, else the one whose device holds it, else None."""
        registered = self.by_key.get(key)
        if registered:
            return registered[0].node
        holders = self.device_holders.get(key)
        return holders[0] if holders else None

    @cached_property
    def ambiguous_names(self) -> frozenset[str]:
        """Names that stand in more than one datacenter."""
        seen: dict[str, set[str]] = defaultdict(set)
        for node in (*self.by_node, *(item.node for item in self.invalid)):
            seen[node.name].add(node.datacenter)
        return frozenset(name for name, datacenters in seen.items() if len(datacenters) > 1)

    def name(self, node: NodeId) -> str:
        """The node as people call it; with its datacenter only where the name alone is not enough."""
        return str(node) if node.name in self.ambiguous_names else node.name

    def _wrong_hosts(self, observations: Iterable[Observation]) -> Iterable[WrongHost]:
        for observation in observations:
            key = observation.device.public_key
            asked = self.by_node.get(observation.node)
            if asked is None or asked.public_key == key or asked.node in self.in_flight_nodes:
                continue
            owner = self._owner_answering(observation, asked, self.by_key.get(key, ()))
            if owner is not None:
                yield WrongHost(observation, owner.node)

    def _owner_answering(
        self, observation: Observation, asked: Registration, owners: Sequence[Registration]
    ) -> Registration | None:
        """Which owner of the answering key answered in the asked node's place; None: it was a clone.

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

    # -- regions

    def region_witnesses(self, node: NodeId) -> tuple[RegionWitness, ...]:
        """Every source's word on the node's region, the registration's first."""
        words: list[RegionWitness] = []
        registration = self.by_node.get(node)
        if registration is not None and registration.region:
            words.append(RegionWitness("registration", registration.region))
        if self._name_pattern is not None:
            match = self._name_pattern.search(node.name)
            if match is not None and match["region"]:
                words.append(RegionWitness("name", match["region"]))
        if registration is not None and self._plan:
            planned = {region for prefix in registration.addresses if (region := self._planned(prefix))}
            words += [RegionWitness("address plan", region) for region in sorted(planned)]
        observation = self.observed.get(node)
        if observation is not None and observation.region and node not in self._landed_elsewhere:
            words.append(RegionWitness("node itself", observation.region))
        return tuple(words)

    def _planned(self, prefix: Prefix) -> str | None:
        address = network(prefix)
        for region, plan in self._plan:
            if covers(plan, address):
                return region
        return None

    @cached_property
    def _regions(self) -> dict[NodeId, str]:
        return {}

    def region(self, node: NodeId) -> str:
        """The node's region by its best witness; "" where none knows."""
        known = self._regions.get(node)
        if known is None:
            words = self.region_witnesses(node)
            known = words[0].region if words else ""
            self._regions[node] = known
        return known

    def regions(self, nodes: Iterable[NodeId]) -> tuple[str, ...]:
        """The known regions of these nodes, sorted, each once."""
        return tuple(sorted({self.region(node) for node in nodes} - {""}))

    # -- claims

    @cached_property
    def registered_claims(self) -> Mapping[Prefix, tuple[Claim, ...]]:
        """What the registry says of each prefix."""
        claims: dict[Prefix, list[Claim]] = defaultdict(list)
        for item in self.registrations:
            for prefix in item.addresses:
                claims[prefix].append(
                    Claim(
                        Witness.REGISTERED,
                        prefix,
                        item.public_key,
                        item.node,
                        item.where,
                        item.create_index,
                        item.modify_index,
                    )
                )
        return {prefix: tuple(group) for prefix, group in claims.items()}

    @cached_property
    def device_claims(self) -> Mapping[Prefix, tuple[Claim, ...]]:
        """What devices hold themselves. Nodes in flight are left out: theirs may be the old state."""
        claims: dict[Prefix, list[Claim]] = defaultdict(list)
        for item in self.witnesses:
            if item.node in self.in_flight_nodes:
                continue
            for prefix in item.device.addresses:
                claims[prefix].append(
                    Claim(Witness.DEVICE, prefix, item.device.public_key, item.node, item.device.name)
                )
        return {prefix: tuple(group) for prefix, group in claims.items()}

    def claims(self, prefix: Prefix) -> tuple[Claim, ...]:
        """All claims to a prefix, the registry's first."""
        return self.registered_claims.get(prefix, ()) + self.device_claims.get(prefix, ())

    @cached_property
    def known_prefixes(self) -> frozenset[Prefix]:
        """Every prefix that the registry, a device or a route table shows."""
        known = {*self.registered_claims, *self.device_claims}
        for deviation in self.routes.deviations:
            known |= deviation.extra.keys() | deviation.passing.keys()
        return frozenset(known)

    @cached_property
    def _wide_prefixes(self) -> tuple[tuple[Network, Prefix], ...]:
        return tuple((network(prefix), prefix) for prefix in self.known_prefixes if not is_host(prefix))

    def covering(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """Known prefixes that are wider than this one and hold it, routed or not; the longest first."""
        narrow = network(prefix)
        found = [
            (wide, text) for wide, text in self._wide_prefixes if text != prefix and covers(wide, narrow)
        ]
        return tuple(text for _, text in sorted(found, key=lambda entry: -entry[0].prefixlen))

    def keys_of(self, prefix: Prefix) -> frozenset[PublicKey]:
        """The keys that have exactly this prefix in the registry, on a device or in a route table."""
        keys = {claim.public_key for claim in self.claims(prefix)}
        for deviation in self.routes.deviations:
            keys |= self.routes.keys_in(deviation, prefix)
        return frozenset(keys)

    @cached_property
    def contested(self) -> Mapping[Prefix, tuple[NodeId, ...]]:
        """Prefixes that two or more nodes claim, with the claimants; in address order.

        One node that is mirrored into two datacenters (same name, same key) is one claimant.
        """
        contested: dict[Prefix, tuple[NodeId, ...]] = {}
        for prefix in self.registered_claims.keys() | self.device_claims.keys():
            claims = self.claims(prefix)
            if len(claims) < 2:
                continue
            nodes: dict[NodeId | tuple[str, PublicKey], NodeId] = {}
            for claim in claims:
                if claim.node is not None:
                    nodes.setdefault(self.same_node(claim.node), claim.node)
            if len(nodes) > 1:
                contested[prefix] = tuple(
                    sorted(nodes.values(), key=lambda node: (node.name, node.datacenter))
                )
        return dict(sorted(contested.items(), key=lambda entry: order(entry[0])))

    def same_node(self, node: NodeId) -> tuple[str, PublicKey] | NodeId:
        """A value that is equal for a node and its mirror in another datacenter: same name, same key."""
        registration = self.by_node.get(node)
        return (node.name, registration.public_key) if registration is not None else node

    def host_addresses(self, node: NodeId) -> frozenset[Prefix]:
        """The single addresses that the registry gives the node."""
        registration = self.by_node.get(node)
        return frozenset(filter(is_host, registration.addresses)) if registration else frozenset()


def _registration_order(item: Registration) -> tuple[NodeId, str]:
    return item.node, item.where
