"""Document `wgaudit.ask/1`: who answers at addresses, from where, with the time it took."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.reports.json.evidence_v1 import ReachedV1, reached_part
from auditor.reports.json_v1 import GapV1, gap_part
from auditor.values.asked_addresses import AskedAddress, Asking
from auditor.values.models import NodeId
from auditor.values.witness_answers import WitnessAnswer


class HolderV1(Part):
    """Node that is registered for the address."""

    node: ForeignText
    datacenter: ForeignText | None
    region: ForeignText | None


class AnswerV1(Part):
    """One question from one observer, and what came of it."""

    observer: ForeignText = Field(description="node from which it was asked")
    datacenter: ForeignText | None = Field(description="the observer's")
    observer_region: ForeignText | None
    source: str = Field(description="what was asked: nats or ssh-host-key; more may be added")
    server: ForeignText | None = Field(description="what the server calls itself: a claim; null: no answer")
    node: ForeignText | None = Field(
        description="registered node that this ties it to; null: none, or no answer"
    )
    region: ForeignText | None = Field(description="region that the server itself names; null: none")
    seconds: float = Field(ge=0, description="time until the answer, or until it was given up")
    reason: str | None = Field(
        description="why there was no answer, which never means that nobody is there; null: there was one"
    )
    detail: ForeignText | None = Field(description="of a failed question, one line for a person")
    advice: ForeignText | None = Field(description="of a failed question, what to do")


class AskedAddressV1(Part):
    """One address, and all answers there."""

    address: str = Field(description="canonical prefix, such as 10.0.0.1/32")
    registered: list[HolderV1]
    agreed: bool = Field(description="[[shared]] lets them share it")
    outcome: Literal["somebody-else", "contested", "unknown", "registered"]
    why: str = Field(description="the outcome in words")
    reached: list[ReachedV1] = Field(
        description="observers by whom they met, most first, failures last; everyone is named"
    )
    answers: list[AnswerV1] = Field(description="one for each question, in the order in which they came")


class AskV1(Document):
    """Outcome of one call of `wgaudit ask`."""

    schema_: Literal["wgaudit.ask/1"] = Field(default="wgaudit.ask/1", alias="schema")
    mesh: ForeignText | None = Field(description="name of the mesh (alerts.mesh); null: it has none")
    version: str | None = Field(description="version of wgaudit; null where nobody said it")
    asked_at: Timestamp
    outcome: Literal["somebody-else", "contested", "unknown", "registered"] = Field(
        description="the worst of the addresses'; never registered where not everything was asked or read"
    )
    cut_short: ForeignText | None = Field(
        description="why it ended early; null if every question had its time"
    )
    addresses: list[AskedAddressV1]
    gaps: list[GapV1] = Field(
        description="what of the registry could not be read: others may be registered too"
    )


def ask_document(asking: Asking) -> AskV1:
    """Convert the outcome to its published form."""
    return AskV1(
        mesh=asking.mesh or None,
        version=asking.version or None,
        asked_at=asking.asked_at,
        outcome=asking.outcome.value,
        cut_short=asking.cut_short,
        addresses=[_address(asking, item) for item in asking.addresses],
        gaps=[gap_part(gap) for gap in asking.gaps],
    )


def _address(asking: Asking, item: AskedAddress) -> AskedAddressV1:
    return AskedAddressV1(
        address=item.address,
        registered=[_holder(asking, node) for node in item.holders],
        agreed=item.agreed,
        outcome=item.outcome.value,
        why=item.why,
        reached=[reached_part(asking, each, full=True) for each in asking.reached(item)],
        answers=[_answer(asking, answer) for answer in item.answers],
    )


def _holder(asking: Asking, node: NodeId) -> HolderV1:
    return HolderV1(
        node=asking.name(node), datacenter=node.datacenter or None, region=asking.region(node) or None
    )


def _answer(asking: Asking, answer: WitnessAnswer) -> AnswerV1:
    return AnswerV1(
        observer=asking.name(answer.observer),
        datacenter=answer.observer.datacenter or None,
        observer_region=asking.region(answer.observer) or None,
        source=answer.source.value,
        server=answer.said or None,
        node=asking.name(answer.node) if answer.node is not None else None,
        region=answer.region,
        seconds=round(answer.seconds, 4),
        reason=answer.reason.value if answer.reason is not None else None,
        detail=answer.detail or None,
        advice=asking.advice.get(answer.reason) if answer.reason is not None else None,
    )
