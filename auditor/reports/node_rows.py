"""PURE: a row for each server of a sweep: what is registered for it, what is live on it, whether it was seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from auditor.checks.idents import Ident
from auditor.errors import GapReason
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.reports.selection import Selection
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.findings import Finding
from auditor.values.models import Gap, NodeId, Observation, Registration, Snapshot
from auditor.values.report import Report

_DRIFTS = frozenset({Ident.ADDRESS_DRIFT, Ident.KEY_DRIFT})


class Listing(StrEnum):
    """How the registry lists a node."""

    REGISTERED = "registered"
    UNREADABLE = "unreadable"
    """Something of its registration cannot be read."""
    MOVING = "moving"
    """Its registration had not held still when the sweep ended."""
    RETIRED = "retired"


class SshHost(NamedTuple):
    """Where a node is reached on the underlay, by its registration."""

    host: str
    port: int | None
    """None: ssh's own choice, 22."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One server."""

    node: NodeId
    listing: Listing
    registered_addresses: tuple[Prefix, ...]
    registered_key: PublicKey | None
    live_addresses: tuple[Prefix, ...]
    live_key: PublicKey | None
    """None: its own device was not seen; then there are no live addresses either."""
    host_key: str | None
    """`SHA256:…` of the SSH host key that the server proved to hold."""
    table: int | None
    """Number of its route table: 1 is the one that most nodes share. None: not seen."""
    table_digest: str | None
    region: str = ""
    """ "" where no witness knows it."""
    gap: Gap | None = None
    """Why its device was not seen; None where it was, or where nobody asked."""
    findings: tuple[Finding, ...] = ()
    """Standing findings that name it, the worst first."""
    ssh: SshHost | None = None
    """None: its registration leads to no host."""

    @property
    def seen(self) -> bool:
        """Tell whether its own device answered."""
        return self.live_key is not None

    @property
    def differs(self) -> bool:
        """Tell whether a check says that what is live on it is not what is registered for it."""
        return self.seen and any(finding.check in _DRIFTS for finding in self.findings)


@dataclass(frozen=True, slots=True)
class NodeList:
    """Rows that are shown, and how many there are."""

    rows: tuple[NodeRow, ...]
    """Sorted by region and name."""
    nodes: tuple[NodeId, ...]
    """All servers, those not shown included."""
    regions: frozenset[str]
    """All regions that are known, those not shown included."""
    holders: Mapping[int, int]
    """By number of a route table: how many nodes have it, those not shown included."""


def node_list(
    snapshot: Snapshot, report: Report, selection: Selection, hosts: Mapping[NodeId, SshHost]
) -> NodeList:
    """Make the rows, as each node was last seen. Of checks and severities, the findings that name a node decide.

    hosts: of the nodes whose registration leads to one.
    """
    fleet = Fleet(latest_state(snapshot))
    witnesses = {item.node: item for item in fleet.witnesses}
    counts = Counter(item.table for item in witnesses.values())
    # Ties by digest, so that the same fleet gets the same numbers.
    ordered = sorted(counts, key=lambda digest: (-counts[digest], digest))
    numbers = {digest: position for position, digest in enumerate(ordered, 1)}
    gaps = _gaps(report)
    named: dict[NodeId, list[Finding]] = defaultdict(list)
    for finding in report.standing:
        for node in finding.nodes:
            named[node].append(finding)
    rows = []
    listed = list(_listed(fleet))
    regions = set()
    for node, listing, registration in listed:
        region = fleet.region(node)
        regions.add(region)
        findings = tuple(named.get(node, ()))
        if _taken(selection, node, region, findings, report):
            row = _row(node, listing, registration, witnesses.get(node), numbers)
            gap = gaps.get(node) if not row.seen else None
            rows.append(replace(row, region=region, gap=gap, findings=findings, ssh=hosts.get(node)))
    rows.sort(key=lambda row: (row.region == "", row.region, row.node.name, row.node.datacenter))
    return NodeList(
        rows=tuple(rows),
        nodes=tuple(node for node, _, _ in listed),
        regions=frozenset(regions - {""}),
        holders={numbers[digest]: counts[digest] for digest in ordered},
    )


def _listed(fleet: Fleet) -> Iterator[tuple[NodeId, Listing, Registration | None]]:
    """Yield each node that the registry lists, with its registration, as far as that could be read."""
    seen: set[NodeId] = set()
    moving = {node: forms[-1] for node, forms in fleet.registered.in_flight.items()}
    unreadable = fleet.registered.unreadable_nodes
    for node in sorted({*fleet.by_node, *moving, *unreadable}):
        seen.add(node)
        listing = (
            Listing.MOVING
            if node in moving
            else Listing.UNREADABLE
            if node in unreadable
            else Listing.REGISTERED
        )
        yield node, listing, fleet.by_node.get(node) or moving.get(node)
    for registration in fleet.retired:
        if registration.node not in seen:
            seen.add(registration.node)
            yield registration.node, Listing.RETIRED, registration


def _taken(
    selection: Selection, node: NodeId, region: str, findings: tuple[Finding, ...], report: Report
) -> bool:
    by_kind = Selection(checks=selection.checks, severities=selection.severities)
    return selection.takes_node(node, region) and (
        not by_kind or any(by_kind.takes_finding(finding, report.node_regions) for finding in findings)
    )


def _gaps(report: Report) -> Mapping[NodeId, Gap]:
    """Choose one gap of each node: one that says why its device was not seen, before all others."""
    found: dict[NodeId, Gap] = {}
    for gap in report.not_seen:
        if gap.node is not None:
            node = NodeId(gap.datacenter or "", gap.node)
            if node not in found or found[node].reason is GapReason.UNSETTLED:
                found[node] = gap
    return found


def _row(
    node: NodeId,
    listing: Listing,
    registration: Registration | None,
    seen: Observation | None,
    numbers: Mapping[str, int],
) -> NodeRow:
    return NodeRow(
        node=node,
        listing=listing,
        registered_addresses=registration.addresses if registration is not None else (),
        registered_key=registration.public_key if registration is not None else None,
        live_addresses=seen.device.addresses if seen is not None else (),
        live_key=seen.device.public_key if seen is not None else None,
        host_key=seen.host_key if seen is not None else None,
        table=numbers[seen.table] if seen is not None else None,
        table_digest=seen.table if seen is not None else None,
    )
