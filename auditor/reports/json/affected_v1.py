"""Document `wgaudit.affected/1`: every observer of a target, whom it reaches and whom it loses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.explain.affected import Affected
from auditor.explain.reach import AddressReach, Loss, RoutedKey
from auditor.reports.json.documents import Document, ForeignText, Part
from auditor.reports.json.evidence_v1 import NamesNodes
from auditor.values.models import NodeId
from auditor.values.report import Report


class RegionalNodeV1(Part):
    """Node with its region."""

    node: ForeignText = Field(
        description="its name; with its datacenter (name@dc1) where the name alone is ambiguous"
    )
    region: ForeignText | None = Field(description="null where it is not known")


class ObserverV1(RegionalNodeV1):
    """Node that looks at its peers."""

    loses: list[ForeignText] = Field(description="claimants of the address that it does not reach")


class DestinationV1(Part):
    """Key that observers send an address to."""

    public_key: str
    nodes: list[ForeignText] = Field(
        description="nodes whose devices hold the key, or unseen ones that are registered with it; empty: none is known"
    )
    obstacle: str | None = Field(
        description="why it does not arrive, or not for certain: key-not-on-device, link-down, key-on-several-nodes; "
        "null: nothing is known to be in the way; more may be added"
    )


class GroupV1(Part):
    """Observers that send an address to the same destinations."""

    reach: Literal["nodes", "itself", "nobody"] = Field(
        description="itself: each holds the address and delivers it to itself; nobody: it is on no peer there"
    )
    to: list[DestinationV1] = Field(
        description="where it is sent; nearly always one; empty for itself and nobody"
    )
    by: str | None = Field(
        description="wider prefix that it is sent by; null: by the address itself, or not at all"
    )
    observers: list[ObserverV1] = Field(description="all of them, by name")


class AddressV1(Part):
    """One address, with who claims it and where observers send it."""

    address: str = Field(description="canonical prefix, such as 10.0.0.1/32")
    claimants: list[RegionalNodeV1]
    groups: list[GroupV1] = Field(
        description="every observer once; of a region or a check only those that lose a claimant"
    )


class LossV1(Part):
    """Address of which a node, as an observer, loses a claimant."""

    address: str
    reach: Literal["nodes", "itself", "nobody"]
    to: list[DestinationV1]
    by: str | None
    loses: list[ForeignText]


class OwnV1(RegionalNodeV1):
    """What a node of the target loses as an observer."""

    losses: list[LossV1]


class AffectedFindingV1(Part):
    """Finding that the target stands for."""

    fingerprint: str
    check: str
    severity: Literal["critical", "error", "warning", "info"]
    subject: ForeignText


class AffectedV1(Document):
    """Observers of a target. Fields are added, never renamed or removed; readers must ignore unknown ones."""

    schema_: Literal["wgaudit.affected/1"] = Field(default="wgaudit.affected/1", alias="schema")
    target: ForeignText = Field(description="the target in full")
    kind: str = Field(description="address, node, key, region, check or fingerprint; more may be added")
    observers: int = Field(ge=0, description="nodes whose own tables were seen")
    losing: list[ForeignText] = Field(description="observers that lose somebody, by name")
    seen_enough: bool = Field(description="false: more of them may lose somebody, for not enough was seen")
    unseen: list[RegionalNodeV1] = Field(
        description="registered nodes that were not seen: whom they reach is not known"
    )
    findings: list[AffectedFindingV1] = Field(description="the finding of a fingerprint, or those of a check")
    addresses: list[AddressV1] = Field(
        description="addresses of the target; of a region or a check those of which somebody loses a claimant"
    )
    own: list[OwnV1] = Field(description="what the target's own nodes lose as observers")
    mesh: ForeignText | None = Field(description="name of the mesh (alerts.mesh); null: it has none")
    version: ForeignText | None = Field(
        description="version of wgaudit that made it; null where nobody said it"
    )


def affected_document(found: Affected, report: Report) -> AffectedV1:
    """Convert the observers of a target, of the sweep of this report, to their published form."""
    return AffectedV1(
        mesh=report.mesh or None,
        version=report.version or None,
        target=found.target,
        kind=found.kind,
        observers=found.observers,
        losing=[found.name(node) for node in sorted(found.losing)],
        seen_enough=found.seen_enough,
        unseen=[_node(found, node) for node in found.unseen],
        findings=[
            AffectedFindingV1(
                fingerprint=item.fingerprint,
                check=item.check,
                severity=item.severity.value,
                subject=item.subject,
            )
            for item in found.findings
        ],
        addresses=[_address(found, place) for place in found.places],
        own=[
            OwnV1(
                node=found.name(own.node),
                region=found.region(own.node) or None,
                losses=[loss_part(found, loss) for loss in own.losses],
            )
            for own in found.own
        ],
    )


def loss_part(named: NamesNodes, loss: Loss) -> LossV1:
    """Convert an address of which one observer loses a claimant."""
    (observer,) = loss.group.list_observers()
    return LossV1(
        address=loss.address,
        reach=loss.group.reach,
        to=[_destination(named, each) for each in loss.group.destinations],
        by=loss.group.by,
        loses=[named.name(node) for node in loss.group.lost_by(observer)],
    )


def _address(found: Affected, place: AddressReach) -> AddressV1:
    return AddressV1(
        address=place.address,
        claimants=[_node(found, node) for node in place.claimants],
        groups=[
            GroupV1(
                reach=group.reach,
                to=[_destination(found, each) for each in group.destinations],
                by=group.by,
                observers=[
                    ObserverV1(
                        node=found.name(node),
                        region=found.region(node) or None,
                        loses=[found.name(lost) for lost in group.lost_by(node)],
                    )
                    for node in group.list_observers()
                ],
            )
            for group in place.groups
        ],
    )


def _destination(found: NamesNodes, key: RoutedKey) -> DestinationV1:
    return DestinationV1(
        public_key=key.public_key,
        nodes=[found.name(node) for node in key.nodes],
        obstacle=key.obstacle.value if key.obstacle is not None else None,
    )


def _node(found: Affected, node: NodeId) -> RegionalNodeV1:
    return RegionalNodeV1(node=found.name(node), region=found.region(node) or None)
