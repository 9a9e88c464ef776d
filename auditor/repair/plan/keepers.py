"""PURE: the rules that choose which claimant keeps a contested address, and which ones move."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from auditor.errors import Undecided
from auditor.fleet.fleet import Fleet
from auditor.repair.moves import Keeper, Rule
from auditor.values.address_claims import RepairPolicy
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration, Snapshot
from auditor.values.text import listed

_IDLE_WORDS = frozenset({"", "0", "no", "none", "false", "off", "idle"})


@dataclass(frozen=True, slots=True)
class Decision:
    """Outcome for one contested address: its keeper, with the rule, and the nodes that move."""

    keeper: Keeper
    movers: tuple[NodeId, ...]
    """Nodes without workload first, then by name."""


class Workload:
    """Workload of nodes, from a field of the registration and from a service in Consul."""

    def __init__(self, fleet: Fleet, snapshot: Snapshot, policy: RepairPolicy) -> None:
        self._registrations = fleet.by_node
        # An older Consul leaves out what a token may not read, without a word: no node at all says nothing.
        self._nodes = (snapshot.workloads or None) if policy.workload_service else None
        self._field = policy.workload_field
        # A recording holds no such values, and a misspelt field is nobody's: neither says that all are idle.
        self.field_is_used = bool(self._field) and any(
            self._field in registration.values for registration in self._registrations.values()
        )

    def is_idle(self, node: NodeId) -> bool | None:
        """Tell whether the node carries no workload; None: nothing says so, or it was not read."""
        words: list[bool] = []
        registration = self._registrations.get(node)
        if self.field_is_used and registration is not None:
            words.append(registration.values.get(self._field, "").strip().lower() in _IDLE_WORDS)
        if self._nodes is not None:
            words.append(node not in self._nodes)
        # One word that it works is enough: idle is only what every witness calls so.
        return all(words) if words else None


def decide(
    fleet: Fleet,
    policy: RepairPolicy,
    workload: Workload,
    prefix: Prefix,
    claimants: Sequence[NodeId],
    keep: Collection[NodeId] = (),
) -> Decision:
    """Choose the keeper of one contested address. Raises `Undecided`.

    `keep`: nodes that a person chose to keep theirs; it stands above every rule.
    """
    registered = [node for node in claimants if _registers(fleet, node, prefix)]
    chosen = [node for node in claimants if node in keep]
    keeper = _keeper(fleet, policy, workload, prefix, registered, chosen)
    movers = [node for node in claimants if node != keeper.node]
    movers.sort(key=lambda node: (workload.is_idle(node) is not True, node.name, node.datacenter))
    return Decision(keeper, tuple(movers))


def _keeper(
    fleet: Fleet,
    policy: RepairPolicy,
    workload: Workload,
    prefix: Prefix,
    registered: list[NodeId],
    chosen: list[NodeId],
) -> Keeper:
    if len(chosen) > 1:
        raise Undecided(f"--keep names {len(chosen)} of its claimants; one can keep it")
    if chosen:
        if chosen[0] not in registered:
            raise Undecided(f"--keep names {fleet.name(chosen[0])}, whose registration has another address")
        return _kept(fleet, chosen[0], Rule.CHOSEN, "--keep names it")
    pool = fleet.address_plan.first_addresses.get(prefix)
    if pool is not None and policy.fallback_keeper == "nobody":
        return Keeper(
            None,
            None,
            Rule.FALLBACK_NOBODY,
            f"the first address of {pool} is what the allocator falls back to, and repair.fallback_keeper is nobody",
        )
    if not registered:
        return Keeper(None, None, Rule.ONLY_REGISTERED, "no registration has this address")
    if len(registered) == 1:
        return _kept(
            fleet, registered[0], Rule.ONLY_REGISTERED, "the others hold it against their own registrations"
        )
    idle = {node: workload.is_idle(node) for node in registered}
    working = [node for node in registered if idle[node] is False]
    if working and all(idle[node] is True for node in registered if node not in working):
        if len(working) == 1:
            return _kept(fleet, working[0], Rule.CARRIES_WORKLOAD, "it carries workload, the others do not")
        if len(working) < len(registered):
            oldest, why = _oldest(fleet, working)
            return _kept(fleet, oldest, Rule.CARRIES_WORKLOAD, f"{why}, of those that carry workload")
    oldest, why = _oldest(fleet, registered)
    return _kept(fleet, oldest, Rule.OLDEST, why)


def _oldest(fleet: Fleet, nodes: Sequence[NodeId]) -> tuple[NodeId, str]:
    """The node with the lowest CreateIndex, and a sentence with the numbers. Raises `Undecided`."""
    if len({node.datacenter for node in nodes}) > 1:
        raise Undecided(
            "its claimants are registered in different datacenters, whose indexes do not compare; choose with --keep"
        )
    indexes: dict[NodeId, int] = {}
    for node in nodes:
        index = fleet.by_node[node].create_index
        if index is None:
            raise Undecided(
                f"the registration of {fleet.name(node)} has no CreateIndex, so nobody is known as the oldest; "
                "choose with --keep"
            )
        indexes[node] = index
    ordered = sorted(nodes, key=lambda node: indexes[node])
    if indexes[ordered[0]] == indexes[ordered[1]]:
        raise Undecided("its oldest registrations have one and the same CreateIndex; choose with --keep")
    others = listed([f"{fleet.name(node)} {indexes[node]}" for node in ordered[1:]], most=3, last=", ")
    return ordered[0], f"lowest CreateIndex: {indexes[ordered[0]]}, against {others}"


def _kept(fleet: Fleet, node: NodeId, rule: Rule, why: str) -> Keeper:
    registration = fleet.by_node[node]
    return Keeper(node, registration.public_key, rule, why, registration.addresses)


def _registers(fleet: Fleet, node: NodeId, prefix: Prefix) -> bool:
    registration: Registration | None = fleet.by_node.get(node)
    return registration is not None and prefix in registration.addresses
