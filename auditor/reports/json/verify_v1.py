"""Document `wgaudit.verify/1`: of each node what was verified, by how many observers, and what could not be seen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field

from auditor.repair.verification import NodeVerification, VerificationOutcome, VerifiedThing
from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.values.models import Gap

OutcomeText = Literal["verified", "not-verified", "unknown"]


class VerifyNodeV1(Part):
    """What one node shows."""

    node: ForeignText
    shows: ForeignText = Field(description="what it shows instead, or the reason why it was not seen")


class VerifiedThingV1(Part):
    """One thing that was looked at."""

    subject: str = Field(
        description="registration, device, routes, old-addresses or answers; more may be added"
    )
    outcome: OutcomeText
    statement: ForeignText = Field(description="a clause of facts for a person")
    right: int = Field(ge=0, description="observers that show it as it should be")
    asked: int = Field(ge=0, description="observers that were to show it")
    wrong: list[VerifyNodeV1]
    unseen: list[VerifyNodeV1]


class VerifiedNodeV1(Part):
    """One node, and what was verified of it."""

    node: ForeignText
    datacenter: ForeignText | None = Field(description="null: not known")
    addresses: list[str] = Field(description="registered ones, as canonical prefixes")
    outcome: OutcomeText
    things: list[VerifiedThingV1]


class UnreadRegistryV1(Part):
    """Part of the registry that could not be read."""

    reason: str = Field(description="kebab-case: the reason of a gap; more may be added")
    datacenter: ForeignText | None
    detail: ForeignText


class VerifyV1(Document):
    """Answer of `wgaudit verify`. Fields are added, never renamed or removed."""

    schema_: Literal["wgaudit.verify/1"] = Field(default="wgaudit.verify/1", alias="schema")
    at: Timestamp
    outcome: OutcomeText = Field(description="the worst of all: exit code 0, 1 or 3")
    nodes: list[VerifiedNodeV1]
    registry_gaps: list[UnreadRegistryV1] = Field(description="empty: it was read whole")
    observers: int = Field(ge=0, description="observers that were asked")
    fleet: int = Field(ge=0, description="registered nodes")


def verify_document(
    at: datetime,
    outcome: VerificationOutcome,
    nodes: Iterable[NodeVerification],
    gaps: Iterable[Gap],
    *,
    observers: int,
    fleet: int,
) -> VerifyV1:
    """Convert a verification to its published form."""
    return VerifyV1(
        at=at,
        outcome=outcome.value,
        nodes=[_node(item) for item in nodes],
        registry_gaps=[
            UnreadRegistryV1(reason=gap.reason.value, datacenter=gap.datacenter, detail=gap.detail)
            for gap in gaps
        ],
        observers=observers,
        fleet=fleet,
    )


def _node(item: NodeVerification) -> VerifiedNodeV1:
    return VerifiedNodeV1(
        node=item.node.name,
        datacenter=item.node.datacenter or None,
        addresses=list(item.addresses),
        outcome=item.outcome.value,
        things=[_thing(thing) for thing in item.things],
    )


def _thing(thing: VerifiedThing) -> VerifiedThingV1:
    return VerifiedThingV1(
        subject=thing.subject.value,
        outcome=thing.outcome.value,
        statement=thing.statement,
        right=thing.right,
        asked=thing.asked,
        wrong=[VerifyNodeV1(node=name, shows=what) for name, what in thing.wrong],
        unseen=[VerifyNodeV1(node=name, shows=why) for name, why in thing.unseen],
    )
