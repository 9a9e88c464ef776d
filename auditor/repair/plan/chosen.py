"""PURE: new addresses that a person chose with `--to`: each is held against all that is known before it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from auditor.errors import UsageError
from auditor.explain.targets import unreadable_with
from auditor.fleet.address_plan import Taken
from auditor.fleet.fleet import Fleet
from auditor.repair.moves import Contested, Kind, LeftOut
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, covers, format_prefix, is_host, network
from auditor.values.models import NodeId, Snapshot
from auditor.values.text import timestamp


class Chosen(NamedTuple):
    """An address that a person chose, and the region's prefix or the pool that it lies in."""

    address: Prefix
    source: Prefix


def claims_that_stand(snapshot: Snapshot) -> Iterable[AddressClaim]:
    """Yield the store's claims; a quarantine that was over by then claims nothing."""
    for claim in snapshot.address_claims or ():
        if not claim.is_over(snapshot.finished_at):
            yield claim


def claimed(snapshot: Snapshot) -> set[Prefix]:
    """Collect the addresses that the store holds a claim for."""
    return {claim.prefix for claim in claims_that_stand(snapshot)}


class ChosenAddresses:
    """The addresses of `--to`, by node. Each refusal is a `UsageError` of one line."""

    def __init__(self, snapshot: Snapshot, fleet: Fleet, taken: Taken, to: Mapping[NodeId, Prefix]) -> None:
        """`taken`: all that is in use; checked here once, before the chosen ones are taken themselves."""
        self._snapshot = snapshot
        self._fleet = fleet
        self._to = to
        by_address: dict[Prefix, NodeId] = {}
        for node, address in to.items():
            if not is_host(address):
                self._refuse(node, "a network, and a node gets one address")
            if address in by_address:
                self._refuse(node, f"{fleet.name(by_address[address])} gets it already")
            by_address[address] = node
            self._check_plan(node, address)
            if not taken.is_free(address):
                self._refuse(node, self._in_use(address))
            if unreadable := unreadable_with(snapshot.invalid, address):
                self._refuse(node, f"{unreadable[0].where} cannot be read and names it: settle that first")

    def has(self, node: NodeId) -> bool:
        """Tell whether an address was chosen for the node."""
        return node in self._to

    def address(self, node: NodeId, old: Prefix, region: str, source: Prefix) -> Chosen | None:
        """Return the node's chosen address in place of `old`; None: none was chosen. Raises `UsageError`.

        source: the region's prefix, or the pool, that it would get an address from otherwise.
        """
        chosen = self._to.get(node)
        if chosen is None:
            return None
        here, plan = network(chosen), self._fleet.address_plan
        if here.version != network(old).version:
            self._refuse(node, f"it moves from {format_prefix(old)}, which is of the other family")
        if source == plan.regions.get(region) and not covers(network(source), here):
            self._refuse(node, f"it is of region {region}, whose prefix is {source} ([regions.pools])")
        owners = plan.regions_of(chosen)
        if region and owners and region not in owners:
            self._refuse(
                node, f"that is an address of region {', '.join(owners)}, and the node is of {region}"
            )
        if covers(network(source), here):
            return Chosen(chosen, source)
        return Chosen(chosen, next(pool for pool in plan.pools if covers(network(pool), here)))

    def check_all_given(self, contested: Iterable[Contested], left_out: Iterable[LeftOut]) -> None:
        """Refuse an address for a node that the plan does not renumber. Raises `UsageError`."""
        renumbered: set[NodeId] = set()
        why: dict[NodeId, str] = {}
        for item in contested:
            address = format_prefix(item.address)
            why |= {left.node: f"it is left out: {left.why}" for left in item.left_out if left.node}
            if item.keeper.node is not None:
                why[item.keeper.node] = f"it keeps {address}; --keep names another who does"
            for move in item.moves:
                if move.kind is Kind.RENUMBER:
                    renumbered.add(move.node)
                else:
                    why[move.node] = (
                        f"its device goes back to its registration, {format_prefix(move.new)}: "
                        "that is no choice of the plan's"
                    )
        for left in left_out:
            for node in self._fleet.contested.get(left.address, ()):
                why.setdefault(node, f"{format_prefix(left.address)} is left out: {left.why}")
        for node in self._to:
            if node not in renumbered:
                self._refuse(node, why.get(node, "it claims no contested address of this plan"))

    def _check_plan(self, node: NodeId, address: Prefix) -> None:
        plan = self._fleet.address_plan
        if (place := plan.misplacement(address)) is not None:
            of = f" address of {place.pool}" if place.pool is not None else " every pool (mesh.pools)"
            self._refuse(node, f"{place.fault.value}{of}")
        pool = next(pool for pool in plan.pools if covers(network(pool), network(address)))
        if plan.is_reserved(address, pool):
            self._refuse(node, f"the first address of {pool} is what an allocator falls back to")

    def _in_use(self, address: Prefix) -> str:
        """Say who has the address."""
        fleet = self._fleet
        registered = [node for node, item in fleet.by_node.items() if address in item.addresses]
        if registered:
            return f"registered for {fleet.name(min(registered))}"
        live = [node for node, item in fleet.observed.items() if address in item.device.addresses]
        if live:
            return f"the device of {fleet.name(min(live))} holds it"
        for claim in claims_that_stand(self._snapshot):
            if claim.prefix == address and claim.state is ClaimState.RELEASED:
                end = f" until {timestamp(claim.until)}" if claim.until is not None else ""
                return f"in quarantine{end}"
            if claim.prefix == address:
                return f"claimed for {claim.node or 'a key'} ({claim.state.value})"
        return "in use: observers route it, a registration in flight has it, or a network around it is in use"

    def _refuse(self, node: NodeId, why: str) -> NoReturn:
        raise UsageError(f"--to {self._fleet.name(node)}={format_prefix(self._to[node])}: {why}")
