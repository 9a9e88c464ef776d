"""Reach of observers: where each of them sends an address, whom of its claimants it reaches, and whom it loses.

Each distinct route table is looked at once, and only where it deviates at the address; names of observers are listed
only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

from auditor.fleet.fleet import Fleet
from auditor.fleet.routes import Sent
from auditor.values.addresses import Prefix, PublicKey, is_host, prefix_sort_key
from auditor.values.models import NodeId, Observation


class Obstacle(StrEnum):
    """Obstacle behind a route: what is sent to the key does not arrive at its node, or not for certain."""

    OTHER_KEY = "key-not-on-device"
    """The node is registered with the key, and its device has another one."""
    LINK_DOWN = "link-down"
    """The link of the node's device is down."""
    SHARED_KEY = "key-on-several-nodes"
    """Several nodes have the key: whichever of them spoke last receives it."""


@dataclass(frozen=True, slots=True)
class RoutedKey:
    """Key that observers send an address to, with the nodes behind it."""

    public_key: PublicKey
    nodes: tuple[NodeId, ...]
    """Nodes whose devices hold it, and unseen ones that are registered with it. Empty: nobody is known to have it."""
    obstacle: Obstacle | None = None

    @property
    def arrives(self) -> bool:
        """Tell whether what is sent to the key may reach its nodes."""
        return self.obstacle in (None, Obstacle.SHARED_KEY)


@dataclass(frozen=True, slots=True)
class Group:
    """Observers that send one address to the same destinations, and lose the same claimants."""

    destinations: tuple[RoutedKey, ...]
    """Nearly always one. Empty: to nobody, or to themselves."""
    itself: bool
    """True: each holds the address itself, and delivers it to itself."""
    by: Prefix | None
    """Wider prefix by which it is sent; None: by the address itself, or not at all."""
    loses: tuple[NodeId, ...]
    """Claimants that these observers do not reach. Where each holds the address itself: all of the others."""
    number: int
    list_observers: Callable[[], tuple[NodeId, ...]]
    """Names them, in order."""

    @property
    def reached(self) -> tuple[NodeId, ...]:
        """Nodes at which it arrives."""
        return tuple(node for each in self.destinations if each.arrives for node in each.nodes)

    @property
    def reach(self) -> Literal["nodes", "itself", "nobody"]:
        """Kind of destination."""
        if self.itself:
            return "itself"
        return "nodes" if self.destinations else "nobody"

    def lost_by(self, observer: NodeId) -> tuple[NodeId, ...]:
        """List the claimants that one of these observers does not reach."""
        return tuple(node for node in self.loses if node != observer)


@dataclass(frozen=True, slots=True)
class AddressReach:
    """One address: who claims it, and where all observers send it."""

    address: Prefix
    claimants: tuple[NodeId, ...]
    groups: tuple[Group, ...]
    """Every observer is in one group. Most observers first; nobody, then those that hold it themselves, last."""

    @property
    def losing(self) -> tuple[Group, ...]:
        """Groups that lose a claimant."""
        return tuple(group for group in self.groups if group.loses)


@dataclass(frozen=True, slots=True)
class Loss:
    """One address as one observer sees it, where the observer loses a claimant of it."""

    address: Prefix
    group: Group
    """Of this observer alone."""


class Reach:
    """Reach of all observers, over an indexed fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def place(self, address: Prefix) -> AddressReach:
        """Group all observers by where they send the address."""
        claimants = self._claimants(address)
        groups = [
            self._group(address, sent, claimants, lambda sent=sent: sent.nodes)  # type: ignore[misc]
            for sent in self._fleet.routes.sent(address)
        ]
        return AddressReach(address, claimants, tuple(groups))

    def losses(self, node: NodeId) -> tuple[Loss, ...]:
        """List the addresses of which the node, as an observer, loses a claimant; none where it was not seen."""
        observation = self._fleet.observed.get(node)
        if observation is None or observation not in self._fleet.witnesses:
            return ()
        candidates = {*self._fleet.contested, *self._fleet.routes.prefixes_at(node), *self._unreachable}
        ordered = sorted(candidates, key=prefix_sort_key)
        return tuple(loss for address in ordered if (loss := self._loss(observation, address)) is not None)

    def _loss(self, observation: Observation, address: Prefix) -> Loss | None:
        sent = self._fleet.routes.sent_by(observation, address)
        group = self._group(address, sent, self._claimants(address), lambda: (observation.node,))
        return Loss(address, group) if group.lost_by(observation.node) else None

    @property
    def troubled(self) -> tuple[Prefix, ...]:
        """List addresses of which somebody may lose a claimant: contested, routed otherwise, behind an obstacle."""
        candidates = {*self._fleet.contested, *self._fleet.routes.deviating_prefixes, *self._unreachable}
        return tuple(sorted(candidates, key=prefix_sort_key))

    def addresses_of(self, nodes: Iterable[NodeId]) -> tuple[Prefix, ...]:
        """List the addresses that nodes claim, by registration or by device. No routes."""
        fleet, found = self._fleet, dict[Prefix, None]()
        for node in nodes:
            registration, observation = fleet.by_node.get(node), fleet.observed.get(node)
            if registration is not None:
                found.update(dict.fromkeys(registration.addresses))
            if observation is not None:
                found.update(dict.fromkeys(observation.device.addresses))
        return tuple(prefix for prefix in found if is_host(prefix) or not fleet.is_route(prefix))

    def _group(
        self,
        address: Prefix,
        sent: Sent,
        claimants: tuple[NodeId, ...],
        list_observers: Callable[[], tuple[NodeId, ...]],
    ) -> Group:
        destinations = tuple(self._destination(key) for key in sorted(sent.keys))
        by = sent.by if sent.by != address else None
        return Group(
            destinations=destinations,
            itself=sent.itself,
            by=by,
            loses=self._lost(claimants, destinations, sent, by),
            number=sent.number,
            list_observers=list_observers,
        )

    def _lost(
        self,
        claimants: tuple[NodeId, ...],
        destinations: tuple[RoutedKey, ...],
        sent: Sent,
        by: Prefix | None,
    ) -> tuple[NodeId, ...]:
        if sent.itself:
            return claimants if len(claimants) > 1 or by is not None else ()
        # In a partial topology nobody must have every peer, and a wider prefix is the way through a gateway.
        if self._fleet.policy.topology == "partial" and (by is not None or not destinations):
            return ()
        reached = {
            self._fleet.same_node(node) for each in destinations if each.arrives for node in each.nodes
        }
        return tuple(
            node for node in claimants if self._has_key(node) and self._fleet.same_node(node) not in reached
        )

    def _has_key(self, node: NodeId) -> bool:
        """Tell whether a key of the node is known: who reaches it cannot be told otherwise."""
        registration = self._fleet.by_node.get(node)
        return node in self._witnessed or (registration is not None and registration.public_key is not None)

    def _claimants(self, address: Prefix) -> tuple[NodeId, ...]:
        """List the nodes that claim an address, each once; a node and its mirror in another datacenter are one."""
        found: dict[object, NodeId] = {}
        for claim in self._fleet.claims(address):
            if claim.node is not None:
                found.setdefault(self._fleet.same_node(claim.node), claim.node)
        return tuple(sorted(found.values(), key=lambda node: (node.name, node.datacenter)))

    def _destination(self, key: PublicKey) -> RoutedKey:
        known = self._destinations.get(key)
        if known is None:
            known = self._destinations[key] = self._behind(key)
        return known

    @cached_property
    def _destinations(self) -> dict[PublicKey, RoutedKey]:
        return {}

    def _behind(self, key: PublicKey) -> RoutedKey:
        fleet = self._fleet
        holders = fleet.device_holders.get(key, [])
        registered = [item.node for item in fleet.by_key.get(key, ())]
        unseen = [node for node in registered if node not in self._witnessed]
        nodes = self._each_once([*holders, *unseen])
        if not nodes:
            if registered:
                return RoutedKey(key, self._each_once(registered), Obstacle.OTHER_KEY)
            retired = fleet.node_of_key(key)
            return RoutedKey(key, (retired,) if retired is not None else ())
        if len(nodes) > 1:
            return RoutedKey(key, nodes, Obstacle.SHARED_KEY)
        down = holders and all(self._witnessed[node].device.link_up is False for node in holders)
        return RoutedKey(key, nodes, Obstacle.LINK_DOWN if down else None)

    def _each_once(self, nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
        found: dict[object, NodeId] = {}
        for node in nodes:
            found.setdefault(self._fleet.same_node(node), node)
        return tuple(sorted(found.values()))

    @cached_property
    def _witnessed(self) -> Mapping[NodeId, Observation]:
        return {item.node: item for item in self._fleet.witnesses}

    @cached_property
    def _unreachable(self) -> tuple[Prefix, ...]:
        """List addresses of nodes with another key on the device than the registered one, or with its link down."""
        nodes = [
            item.node
            for item in self._fleet.witnesses
            if item.device.link_up is False
            or (
                (registration := self._fleet.by_node.get(item.node)) is not None
                and registration.public_key != item.device.public_key
            )
        ]
        return self.addresses_of(nodes)
