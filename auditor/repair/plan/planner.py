"""PURE: planner of repairs from a snapshot: keepers, moves, and addresses left out, each with its reason."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import islice

from auditor.checks.idents import Ident
from auditor.errors import GapReason, GapScope, InvalidValue, Undecided
from auditor.explain.targets import unreadable_with
from auditor.fleet.address_plan import Taken
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.repair.moves import Contested, Keeper, Kind, LeftOut, Move, RepairPlan, Routed, Rule
from auditor.repair.plan.chosen import ChosenAddresses, claimed
from auditor.repair.plan.keepers import Decision, Workload, decide
from auditor.repair.plan.remaining import remaining
from auditor.values.address_claims import RepairPolicy
from auditor.values.addresses import (
    Prefix,
    PublicKey,
    format_prefix,
    is_host,
    network,
    prefix_sort_key,
)
from auditor.values.drains import command_words
from auditor.values.findings import Finding
from auditor.values.models import NodeId, Observation, Registration, Snapshot
from auditor.values.report import Report
from auditor.values.text import count

TRIES = 100_000
"""Candidates that are looked at before a source counts as full: more than a /16 holds."""


def plan(
    snapshot: Snapshot,
    report: Report,
    policy: RepairPolicy,
    *,
    only: Prefix | None = None,
    keep: Collection[NodeId] = (),
    to: Mapping[NodeId, Prefix] | None = None,
) -> RepairPlan:
    """Plan the repair of every contested address of the snapshot, or of one. Equal arguments give an equal plan.

    `report` is `judge(snapshot)`; `keep` are nodes that a person chose to keep their address, and `to` new addresses
    that a person chose for nodes. Raises `UsageError` for one that cannot be given.
    """
    return _Planner(snapshot, report, policy, keep, to or {}).plan(only)


def seed(node: NodeId, public_key: str) -> str:
    """Make the seed of a node's order of candidates, the same for planner and allocator."""
    return f"{node.name} {public_key}"


class _NotMovable(Exception):
    """A claimant cannot be moved safely on what was seen; becomes a `LeftOut` with this reason."""


class _Planner:
    def __init__(
        self,
        snapshot: Snapshot,
        report: Report,
        policy: RepairPolicy,
        keep: Collection[NodeId],
        to: Mapping[NodeId, Prefix],
    ) -> None:
        self._snapshot = snapshot
        self._report = report
        self._policy = policy
        self._keep = keep
        self._fleet = Fleet(latest_state(snapshot))
        self._workload = Workload(self._fleet, snapshot, policy)
        self._witnesses = frozenset(item.node for item in self._fleet.witnesses)
        self._gaps = {(gap.datacenter or "", gap.node): gap for gap in report.gaps if gap.node is not None}
        self._in_flight = {prefix for item in snapshot.in_flight for prefix in item.addresses}
        known = self._fleet.known_prefixes | self._in_flight
        if snapshot.second_look is not None:
            known |= Fleet(snapshot).known_prefixes  # gone a moment ago is not free for good
        self._taken = Taken(self._fleet.address_plan, known | claimed(snapshot))
        self._chosen = ChosenAddresses(snapshot, self._fleet, self._taken, to)
        for address in to.values():
            self._taken.add(address)
        self._moved: dict[NodeId, Prefix] = {}

    def plan(self, only: Prefix | None) -> RepairPlan:
        contested: list[Contested] = []
        left_out: list[LeftOut] = []
        for prefix, finding in self._standing(only):
            try:
                contested.append(self._contested(prefix, finding))
            except (_NotMovable, Undecided) as error:
                left_out.append(LeftOut(prefix, None, str(error)))
        self._chosen.check_all_given(contested, left_out)
        peers = {
            node: key
            for item in contested
            for node, key in (
                (item.keeper.node, item.keeper.public_key),
                *((move.node, move.public_key) for move in item.moves),
            )
            if node is not None and key is not None
        }
        return RepairPlan(
            snapshot_at=self._snapshot.finished_at,
            verdict=self._report.verdict.value,
            device=self._snapshot.policy.device,
            contested=tuple(contested),
            left_out=tuple(left_out),
            notes=tuple(self._notes(contested)),
            peers=dict(sorted(peers.items())),
            claims_prefix=self._policy.claims_prefix,
            remaining=remaining(self._report, contested, left_out),
            unseen=tuple(sorted(self._fleet.by_node.keys() - self._fleet.observed.keys())),
            drain=self._policy.drain,
        )

    def _standing(self, only: Prefix | None) -> list[tuple[Prefix, Finding]]:
        """The contested addresses that count, in address order."""
        found = [
            (finding.address, finding)
            for finding in self._report.standing
            if finding.check is Ident.DUPLICATE_ADDRESS
            and finding.address is not None
            and only in (None, finding.address)
        ]
        return sorted(found, key=lambda entry: prefix_sort_key(entry[0]))

    def _contested(self, prefix: Prefix, finding: Finding) -> Contested:
        self._check_registry()
        claimants = self._fleet.contested.get(prefix, ())
        if not claimants:
            raise _NotMovable("it changed while the sweep looked; sweep again")
        if not is_host(prefix):
            raise _NotMovable(
                "a network, not one address: which of its addresses are in use is not known here"
            )
        flying = self._fleet.in_flight_nodes
        if prefix in self._in_flight or any(node in flying for node in (*claimants, *finding.nodes)):
            raise _NotMovable("a claimant's registration did not hold still during the sweep; sweep again")
        keys = [self._fleet.by_node[node].public_key for node in claimants if node in self._fleet.by_node]
        if len(set(keys)) < len(keys):
            raise _NotMovable(
                "two of its claimants carry one and the same key: give one of them a key of its own first"
            )
        decision = decide(self._fleet, self._policy, self._workload, prefix, claimants, self._keep)
        moves: list[Move] = []
        left_out: list[LeftOut] = []
        for node in decision.movers:
            try:
                moves.append(self._move(prefix, node, decision))
            except _NotMovable as error:
                left_out.append(LeftOut(prefix, node, str(error)))
            else:
                self._moved[node] = prefix
        return Contested(
            prefix,
            claimants,
            self._seen_keeper(prefix, decision.keeper),
            tuple(moves),
            tuple(left_out),
            tuple(
                Routed(pick.public_key, pick.node, pick.observers)
                for pick in self._fleet.routes.picks(prefix)
            ),
        )

    def _seen_keeper(self, prefix: Prefix, keeper: Keeper) -> Keeper:
        """The keeper, with what a person should know of it before others move in its favour."""
        if keeper.node is None:
            return keeper
        observation = self._fleet.observed.get(keeper.node)
        if observation is None:
            return replace(keeper, why=f"{keeper.why}; it was not seen{self._gap(keeper.node)}")
        if keeper.node not in self._witnesses or observation.device.public_key != keeper.public_key:
            return replace(keeper, why=f"{keeper.why}; its device answered with another key")
        if prefix not in observation.device.addresses:
            return replace(keeper, why=f"{keeper.why}; its device does not hold it (address-drift)")
        return keeper

    def _check_registry(self) -> None:
        # What one registration in flight stands for is known to be taken, in each of its forms.
        blind = [
            gap
            for gap in self._report.gaps
            if gap.scope is GapScope.REGISTRY and gap.reason is not GapReason.UNSETTLED
        ]
        if blind:
            raise _NotMovable(
                f"the registry was not seen whole ({blind[0].reason.value}), so no address is known to be free"
            )

    def _gap(self, node: NodeId) -> str:
        gap = self._gaps.get((node.datacenter, node.name))
        return f" ({gap.reason.value})" if gap else ""

    # -- one mover

    def _move(self, prefix: Prefix, node: NodeId, decision: Decision) -> Move:
        registration, observation, key = self._seen(node)
        if node in self._moved:
            raise _NotMovable(
                f"it moves from {format_prefix(self._moved[node])} first; make a new plan afterwards"
            )
        if prefix not in observation.device.addresses:
            held = ", ".join(map(format_prefix, observation.device.addresses)) or "no address"
            raise _NotMovable(f"its device holds {held}, not this address: settle that first (address-drift)")
        region = self._fleet.region(node)
        idle = self._workload.is_idle(node)
        restore = prefix not in registration.addresses
        if restore:
            kind, rule, source = Kind.RESTORE, Rule.ONLY_REGISTERED, prefix
            new = self._registered_address(prefix, registration)
            why = f"its device holds the address against its registration, which says {format_prefix(new)}"
        else:
            kind, rule = Kind.RENUMBER, decision.keeper.rule
            planned = self._fleet.address_plan.source(region, prefix)
            if planned is None:
                raise _NotMovable("no pool of its family is configured (mesh.pools)")
            chosen = self._chosen.address(node, prefix, region, planned)
            source = chosen.source if chosen is not None else planned
            new = chosen.address if chosen is not None else self._free(source, region, node, key)
            kept_by = self._fleet.name(decision.keeper.node) if decision.keeper.node else "nobody"
            why = f"{kept_by} keeps it: {decision.keeper.why}"
        self._check_drainable(node, region, prefix, new)
        picks = self._fleet.routes.picks(prefix)
        return Move(
            kind=kind,
            node=node,
            public_key=key,
            old=prefix,
            new=new,
            region=region,
            source=source,
            rule=rule,
            why=why,
            where=registration.where,
            modify_index=registration.modify_index,
            addresses=registration.addresses,
            idle=idle,
            sample=next((pick.sample for pick in picks if pick.public_key == registration.public_key), ()),
            host=registration.ssh_host or "",
            chosen=not restore and self._chosen.has(node),
        )

    def _check_drainable(self, node: NodeId, region: str, old: Prefix, new: Prefix) -> None:
        """Check that the node can be named to the commands out of production and back, before and after its move."""
        drain = self._policy.drain
        if drain is None:
            return
        try:
            for words, address in ((drain.drain, old), (drain.undrain, new)):
                command_words(words, node=node.name, region=region, address=format_prefix(address))
        except InvalidValue as error:
            raise _NotMovable(f"it cannot be taken out of production (repair.drain): {error}") from None

    def _seen(self, node: NodeId) -> tuple[Registration, Observation, PublicKey]:
        """Registration, device and key of one that can be moved: both seen, of one key, and of nobody else's."""
        registration = self._fleet.by_node.get(node)
        if registration is None:
            raise _NotMovable("it is not registered, so it is not ours to move")
        key = registration.public_key
        if key is None or node in self._fleet.registered.unreadable_nodes:
            raise _NotMovable(
                "its registration cannot be read whole (invalid-registration): settle that first"
            )
        observation = self._fleet.observed.get(node)
        if observation is None:
            raise _NotMovable(f"it was not seen{self._gap(node)}: its device is not known")
        if node not in self._witnesses:
            raise _NotMovable("another server answered in its place (wrong-host)")
        if observation.device.public_key != key:
            raise _NotMovable(
                "its device has another key than its registration (key-drift): settle that first"
            )
        others = [item.node for item in self._fleet.by_key.get(key, ()) if item.node != node]
        others += [other for other in self._fleet.device_holders.get(key, ()) if other != node]
        if others:
            raise _NotMovable(
                f"{others[0]} has the same key: its peers cannot tell the two apart; settle that first"
            )
        return registration, observation, key

    def _registered_address(self, prefix: Prefix, registration: Registration) -> Prefix:
        """Find the registered address of a device that drifted onto another node's address."""
        family = [
            address
            for address in registration.addresses
            if is_host(address) and network(address).version == network(prefix).version
        ]
        if not family:
            raise _NotMovable("its registration has no single address of this family to go back to")
        if family[0] in self._fleet.contested:
            raise _NotMovable(
                f"the address of its registration, {format_prefix(family[0])}, is contested itself"
            )
        return family[0]

    # -- the new address

    def _free(self, source: Prefix, region: str, node: NodeId, key: PublicKey) -> Prefix:
        tries = self._fleet.address_plan.candidates(source, region, seed(node, key))
        for candidate in islice(tries, TRIES):
            if not self._taken.is_free(candidate) or unreadable_with(self._snapshot.invalid, candidate):
                continue
            self._taken.add(candidate)
            return candidate
        raise _NotMovable(f"no free address was found in {source}")

    def _notes(self, contested: Iterable[Contested]) -> Iterable[str]:
        snapshot, policy = self._snapshot, self._policy
        if snapshot.address_claims is None:
            yield "Address claims were not read: whether a new address is in quarantine is known only to apply."
        if policy.workload_field and not self._workload.field_is_used:
            yield (
                f"No registration here has the value {policy.workload_field} (repair.workload_field; a recording "
                "holds no such values): it decided nothing."
            )
        yield from self._workload_notes(policy.workload_service)
        if not self._report.seen_enough:
            yield (
                "Not enough was seen to say clean: there may be more contested addresses than stand here, and "
                "what the devices hold that were not seen is not known."
            )
        if snapshot.invalid:
            yield (
                f"{count(len(snapshot.invalid), 'registration')} cannot be read: which addresses they hold is "
                "known only from their first characters and from the route tables."
            )
        moves = [move for item in contested for move in item.moves]
        if any(move.kind is Kind.RENUMBER and move.modify_index is None for move in moves):
            yield (
                "The registry was read without indexes: apply cannot compare before it writes, and refuses. "
                "Plan again from a sweep that reads Consul."
            )
        for item in contested:
            known = {
                self._fleet.by_node[node].public_key for node in item.claimants if node in self._fleet.by_node
            }
            if any(
                key not in known and self._fleet.node_of_key(key) is None for key in self._keys(item.address)
            ):
                yield (
                    f"{format_prefix(item.address)} is routed to a key that no registration knows, too "
                    "(unregistered-peer): find out whose it is, for it stays there."
                )

    def _workload_notes(self, service: str) -> Iterable[str]:
        nodes = self._snapshot.workloads
        if not service:
            return
        if nodes is None:
            yield f"Who carries workload was not read (repair.workload_service = {service}): it decided nothing."
        elif not nodes:
            yield (
                f"No node has the service {service} (repair.workload_service): is that its name, and may the "
                "token read it? It decided nothing."
            )
        elif not nodes & self._fleet.by_node.keys():
            yield (
                f"No node of the service {service} has the name of a registered node: do the names differ? "
                "It says now that nobody carries workload."
            )

    def _keys(self, prefix: Prefix) -> list[PublicKey]:
        return [pick.public_key for pick in self._fleet.routes.picks(prefix) if pick.public_key is not None]
