"""Document `wgaudit.check/1`: for each record that is to be written, whether it may be, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from auditor.admission.objections import Admission, AdmissionVerdict, Objection, Unseen
from auditor.reports.json.documents import Document, ForeignText, Part


class ObjectionV1(Part):
    """Something that speaks against a record."""

    ident: str = Field(
        description="kebab-case, such as address-registered: docs/prevention.md; more may be added"
    )
    refuses: bool = Field(description="false: a warning, which refuses nothing")
    source: str = Field(description="record, input, registry, claims, live or plan; more may be added")
    statement: ForeignText = Field(description="a clause of facts for a person")
    field: ForeignText | None = Field(description="field of the record that it is about; null: not one field")
    address: str | None = Field(description="canonical prefix, such as 10.0.0.1/32; null: it is about none")
    public_key: str | None
    nodes: list[ForeignText] = Field(
        description="other nodes that have it, with their datacenter where it is known"
    )
    finding: str | None = Field(description="check whose finding a sweep would show; null: none")


class NotReadV1(Part):
    """Something that was not read whole, so that nothing is concluded from what is not in it."""

    source: Literal["registry", "claims", "live"]
    reason: str = Field(description="kebab-case: the reason of a gap, or what is lacking; more may be added")
    detail: ForeignText


class CheckedRecordV1(Part):
    """One record, and whether it may be written."""

    node: ForeignText
    datacenter: ForeignText | None = Field(description="null: not known")
    key: ForeignText = Field(description="KV key that it would be written to")
    verdict: Literal["admitted", "refused", "unknown"]
    public_key: str | None = Field(description="null: it cannot be read")
    addresses: list[str] = Field(description="canonical prefixes, those that can be read")
    region: ForeignText | None
    objections: list[ObjectionV1] = Field(description="those that refuse first")


class CheckV1(Document):
    """Answer of `wgaudit check`. Fields are added, never renamed or removed."""

    schema_: Literal["wgaudit.check/1"] = Field(default="wgaudit.check/1", alias="schema")
    verdict: Literal["admitted", "refused", "unknown"] = Field(
        description="the worst of the records: exit code 0, 1 or 3"
    )
    records: list[CheckedRecordV1]
    registered: int = Field(ge=0, description="registrations that they were judged against")
    claims: bool = Field(description="true: they were judged against the address claims, too")
    live: Literal["replay", "watch"] | None = Field(
        description="where what is live was taken from; null: nowhere"
    )
    passed_over: int = Field(
        ge=0, description="keys of the input that are no registration, or outside the prefix"
    )
    unseen: list[NotReadV1] = Field(description="what was not read whole; empty: nothing")


def check_document(
    admissions: Iterable[Admission],
    verdict: AdmissionVerdict,
    *,
    registered: int,
    claims: bool,
    live: str,
    passed_over: int,
) -> CheckV1:
    """Convert the judgements to their published form. live: `replay`, `watch` or ""."""
    found = list(admissions)
    unseen = dict.fromkeys(item for admission in found for item in admission.unseen)
    return CheckV1(
        verdict=verdict.value,
        records=[_record(item) for item in found],
        registered=registered,
        claims=claims,
        live="replay" if live == "replay" else "watch" if live else None,
        passed_over=passed_over,
        unseen=[_unseen(item) for item in unseen],
    )


def _record(admission: Admission) -> CheckedRecordV1:
    proposal, registration = admission.proposal, admission.proposal.registration
    return CheckedRecordV1(
        node=proposal.node.name,
        datacenter=proposal.node.datacenter or None,
        key=proposal.where,
        verdict=admission.verdict.value,
        public_key=registration.public_key if registration is not None else None,
        addresses=list(registration.addresses) if registration is not None else [],
        region=registration.region if registration is not None else None,
        objections=[_objection(item) for item in admission.objections],
    )


def _objection(item: Objection) -> ObjectionV1:
    return ObjectionV1(
        ident=item.ident.value,
        refuses=item.refuses,
        source=item.source,
        statement=item.statement,
        field=item.field or None,
        address=item.address,
        public_key=item.public_key,
        nodes=[str(node) for node in item.nodes],
        finding=item.finding.value if item.finding is not None else None,
    )


def _unseen(item: Unseen) -> NotReadV1:
    return NotReadV1(source=item.source, reason=item.reason, detail=item.detail)
