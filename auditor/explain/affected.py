"""Who is affected by what a target names: every observer, whom it reaches and whom it loses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from auditor.checks.catalogue import BY_IDENT
from auditor.checks.idents import PEER_LIST, Ident
from auditor.explain.reach import AddressReach, Group, Loss, Reach
from auditor.explain.targets import Address, Key, Region, Topic, find_target, unknown_address
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.values.addresses import Prefix, PublicKey, format_prefix, prefix_sort_key
from auditor.values.findings import Finding
from auditor.values.models import NodeId, Snapshot
from auditor.values.report import Coverage, Report

Kind = Literal["address", "node", "key", "region", "check", "fingerprint"]


@dataclass(frozen=True, slots=True)
class OwnLosses:
    """What one node loses as an observer."""

    node: NodeId
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True)
class Affected:
    """Observers of a target. Names of observers are listed when a group is asked for them."""

    target: str
    """The target in full, as it was understood."""
    kind: Kind
    places: tuple[AddressReach, ...]
    """Addresses of the target. Of a region or a check: those of which somebody loses a claimant."""
    own: tuple[OwnLosses, ...]
    """What the target's nodes lose as observers: of a node, and of findings about a node's own list of peers."""
    findings: tuple[Finding, ...]
    """The finding of a fingerprint, or those of a check, without what was gone on the second look."""
    observers: int
    """Nodes whose own tables were seen."""
    unseen: tuple[NodeId, ...]
    """Nodes that the registry lists, and whose tables were not seen: whom they reach is not known."""
    coverage: Coverage
    seen_enough: bool
    regions: Mapping[NodeId, str]
    """Regions of all nodes, "" where none is known."""
    ambiguous_names: frozenset[str] = frozenset()

    @property
    def losing(self) -> frozenset[NodeId]:
        """Observers that lose somebody."""
        found = {item.node for item in self.own if item.losses}
        for place in self.places:
            for group in place.losing:
                found.update(node for node in group.list_observers() if group.lost_by(node))
        return frozenset(found)

    def region(self, node: NodeId) -> str:
        """Return a node's region; "" where it is not known."""
        return self.regions.get(node, "")

    def name(self, node: NodeId) -> str:
        """The node as people call it; with its datacenter only where the name alone is not enough."""
        return str(node) if node.name in self.ambiguous_names else node.name


def affected(snapshot: Snapshot, report: Report, target: str) -> Affected:
    """List the observers of `target`: an address, a node, a key, a region, a check's ident or a fingerprint.

    Raises `UsageError` with the nearest known names where the sweep saw nothing of that name.
    """
    latest = latest_state(snapshot)
    fleet = Fleet(latest)
    found = find_target(latest, report, fleet, target.strip(), "affected", frozenset(BY_IDENT))
    return _Affecting(fleet, report, latest).of(found)


class _Affecting:
    """Fleet and report, asked for what a target touches."""

    def __init__(self, fleet: Fleet, report: Report, snapshot: Snapshot) -> None:
        self._fleet = fleet
        self._report = report
        self._snapshot = snapshot
        self._reach = Reach(fleet)

    def of(self, found: Address | NodeId | Key | Finding | Region | Topic) -> Affected:
        """List the observers of a target that was understood."""
        match found:
            case Address(prefix):
                return self._address(prefix)
            case Key(key):
                return self._places(key, "key", self._addresses_of_key(key))
            case Region(region):
                return self._region(region)
            case Topic(ident):
                findings = tuple(item for item in self._report.standing if item.check == ident)
                return self._findings(ident, "check", findings)
            case Finding():
                return self._findings(found.fingerprint, "fingerprint", (found,))
            case _:
                own = (OwnLosses(found, self._reach.losses(found)),)
                return self._places(
                    self._report.name(found), "node", self._reach.addresses_of([found]), own=own
                )

    def _address(self, prefix: Prefix) -> Affected:
        routes = self._fleet.routes
        known = self._fleet.claims(prefix) or routes.keys_anywhere(prefix) or self._fleet.covering(prefix)
        if not known and not routes.keys_passing(prefix):
            raise unknown_address(self._snapshot, self._report, self._fleet, prefix, "affected")
        return self._places(format_prefix(prefix), "address", [prefix])

    def _region(self, region: str) -> Affected:
        """Select what observers lose of the region's nodes, and what the region's observers lose of others."""
        places = []
        for address in self._reach.troubled:
            place = self._reach.place(address)
            losing = place.losing
            if region not in map(self._fleet.region, place.claimants):
                losing = tuple(_within(group, region, self._fleet) for group in losing)
            if losing := tuple(group for group in losing if group.number):
                places.append(replace(place, groups=losing))
        return self._built(region, "region", places)

    def _findings(self, target: str, kind: Kind, findings: tuple[Finding, ...]) -> Affected:
        own: dict[NodeId, None] = {}
        prefixes: dict[Prefix, None] = {}
        for finding in findings:
            if finding.check is Ident.MISSING_PEER and finding.identity[0] == PEER_LIST:
                own.update(dict.fromkeys(finding.nodes))
            else:
                prefixes.update(dict.fromkeys(self._addresses_of_finding(finding)))
        losses = tuple(OwnLosses(node, self._reach.losses(node)) for node in own)
        return self._places(target, kind, prefixes, own=losses, findings=findings)

    def _addresses_of_finding(self, finding: Finding) -> Iterable[Prefix]:
        if finding.check is Ident.OVERLAPPING_ALLOWED_IPS and finding.address is not None:
            taken = self._fleet.routes.taken.get((finding.address, PublicKey(finding.identity[1])))
            return taken or (finding.address,)
        if finding.address is not None:
            return (finding.address,)
        claimed = [claim.prefix for claim in finding.evidence.claims]
        if finding.public_key is not None:
            return (*self._addresses_of_key(finding.public_key), *claimed)
        return (*self._reach.addresses_of(finding.nodes), *claimed)

    def _addresses_of_key(self, key: PublicKey) -> Collection[Prefix]:
        fleet = self._fleet
        nodes = [item.node for item in fleet.by_key.get(key, ())] + fleet.device_holders.get(key, [])
        found = dict.fromkeys(self._reach.addresses_of(nodes))
        found |= dict.fromkeys(
            prefix for prefix in fleet.routes.prefixes_of(key) if not fleet.is_route(prefix)
        )
        return found

    def _places(
        self,
        target: str,
        kind: Kind,
        prefixes: Iterable[Prefix],
        *,
        own: tuple[OwnLosses, ...] = (),
        findings: tuple[Finding, ...] = (),
    ) -> Affected:
        places = [
            self._reach.place(prefix) for prefix in sorted(dict.fromkeys(prefixes), key=prefix_sort_key)
        ]
        if kind == "check":
            places = [replace(place, groups=place.losing) for place in places if place.losing]
        return self._built(target, kind, places, own=own, findings=findings)

    def _built(
        self,
        target: str,
        kind: Kind,
        places: Iterable[AddressReach],
        *,
        own: tuple[OwnLosses, ...] = (),
        findings: tuple[Finding, ...] = (),
    ) -> Affected:
        fleet, report = self._fleet, self._report
        seen = {item.node for item in fleet.witnesses}
        listed = {*fleet.by_node, *fleet.registered.unreadable_nodes}
        return Affected(
            target=target,
            kind=kind,
            places=tuple(places),
            own=own,
            findings=findings,
            observers=len(seen),
            unseen=tuple(sorted(listed - seen)),
            coverage=report.coverage,
            seen_enough=report.seen_enough,
            regions={node: fleet.region(node) for node in sorted(listed | seen)},
            ambiguous_names=report.ambiguous_names,
        )


def _within(group: Group, region: str, fleet: Fleet) -> Group:
    """Reduce a group to the observers of one region."""
    nodes = tuple(node for node in group.list_observers() if fleet.region(node) == region)
    return replace(group, number=len(nodes), list_observers=lambda: nodes)
