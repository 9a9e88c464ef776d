"""Evidence of a finding in the report for programs: claims, routing, answers, writes, facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import Field

from auditor.reports.json.documents import Part, Timestamp
from auditor.values.findings import Claim, Evidence, Finding, Pick
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import for_json
from auditor.values.witness_answers import Reached

UNKNOWN_REGION = "unknown"


class NamesNodes(Protocol):
    """Value that names nodes: with their datacenter only where the name alone is ambiguous."""

    def name(self, node: NodeId) -> str:
        """Name a node."""
        ...


class ClaimV1(Part):
    """ "This key says that it holds this address", with where it says so."""

    witness: str = Field(description="registered, device or routed; more may be added")
    address: str = Field(description="canonical prefix, such as 10.0.0.1/32")
    public_key: str | None = Field(description="null: a registration whose key cannot be read")
    node: str | None = Field(description="null: a key that no registration knows")
    datacenter: str | None
    where: str = Field(description="the KV key, catalog entry or device that says so")
    create_index: int | None = Field(description="Consul's index of the first write; null where unknown")
    modify_index: int | None = Field(description="Consul's index of the last write; null where unknown")


class PickV1(Part):
    """Observers that route the address to one key."""

    public_key: str | None = Field(description="null: to nobody")
    node: str | None = Field(description="null: nobody, or a key that no node is known to have")
    observers: int = Field(ge=0)
    regions: dict[str, int] = Field(description="observers by their own region; `unknown` where not known")
    sample: list[str] = Field(description="some of the observers, by name")
    everyone: list[str] = Field(
        default=[], description="all of the observers, by name; only there with --full"
    )


class ReachedV1(Part):
    """Observers that met one server at the address, asked over the mesh; or, with `reason`, that got no answer."""

    source: str = Field(description="what was asked: nats or ssh-host-key; more may be added")
    server: str | None = Field(
        description="what the server calls itself, its name or key fingerprint: a claim; null: no answer"
    )
    node: str | None = Field(description="registered node that this ties it to; null: none, or no answer")
    datacenter: str | None
    region: str | None = Field(description="region that the server itself names; null: none")
    reason: str | None = Field(
        description="why there was no answer, which never means that nobody is there; null: there was one"
    )
    observers: int = Field(ge=1)
    regions: dict[str, int] = Field(description="observers by their own region; `unknown` where not known")
    sample: list[str] = Field(description="some of the observers, by name")
    everyone: list[str] = Field(
        default=[], description="all of the observers, by name; only there with --full"
    )


class FactV1(Part):
    """A labelled value."""

    label: str
    value: str


class AddressWriteV1(Part):
    """Write by which a node got an address in the registry."""

    node: str
    datacenter: str | None
    at: Timestamp
    to_the_moment: bool = Field(
        description="true: a watch was told of it when it was written; false: it was written then or before"
    )
    index: int | None = Field(description="Consul's index of the write; null: not known")


class EvidenceV1(Part):
    """What a finding rests on."""

    claims: list[ClaimV1]
    routing: list[PickV1]
    answers: list[ReachedV1] = Field(
        default=[],
        description="who answered at the address, most observers first, failures last; only there where it was asked",
    )
    disagreement: str | None = Field(
        default=None,
        description="answers that the route tables do not explain, in words; only there where there are some",
    )
    observers: int = Field(ge=0, description="how many observers show it; 0 where it is not about observers")
    sample: list[str] = Field(description="some of those observers, by name")
    everyone: list[str] = Field(
        default=[],
        description="all of those observers, by name; only there with --full, and where routing does not name them",
    )
    facts: list[FactV1]
    writes: list[AddressWriteV1] = Field(
        default=[],
        description="writes by which the nodes got the address, oldest first; only there where the journal knows them",
    )


def evidence_part(report: Report, finding: Finding, *, full: bool) -> EvidenceV1:
    evidence = finding.evidence
    named = full and not evidence.routing
    return EvidenceV1(
        **{
            **(_everyone(report, evidence) if named else {}),
            **(_writes(report, evidence) if evidence.writes else {}),
            **(_answers(report, evidence, full=full) if evidence.answers else {}),
            **({"disagreement": for_json(finding.disagreement)} if finding.disagreement else {}),
        },
        claims=[claim_part(report, claim) for claim in evidence.claims],
        routing=[pick_part(report, pick, full=full) for pick in evidence.routing],
        observers=evidence.observers,
        sample=[name_part(report, node) for node in evidence.sample],
        facts=[FactV1(label=for_json(label), value=for_json(value)) for label, value in evidence.facts],
    )


def _writes(report: Report, evidence: Evidence) -> dict[str, Any]:
    parts = [
        AddressWriteV1(
            node=name_part(report, item.node),
            datacenter=optional_part(item.node.datacenter or None),
            at=item.at,
            to_the_moment=item.to_the_moment,
            index=item.index,
        )
        for item in evidence.writes
    ]
    return {"writes": parts}


def _answers(report: Report, evidence: Evidence, *, full: bool) -> dict[str, Any]:
    return {"answers": [reached_part(report, item, full=full) for item in evidence.answers]}


def claim_part(report: NamesNodes, claim: Claim) -> ClaimV1:
    """Convert a claim."""
    return ClaimV1(
        witness=claim.witness.value,
        address=claim.prefix,
        public_key=claim.public_key,
        node=name_part(report, claim.node) if claim.node is not None else None,
        datacenter=optional_part(claim.node.datacenter or None) if claim.node is not None else None,
        where=for_json(claim.where),
        create_index=claim.create_index,
        modify_index=claim.modify_index,
    )


def _everyone(report: NamesNodes, shown: Evidence | Pick | Reached) -> dict[str, list[str]]:
    """Name all observers, as the field of that name."""
    nodes = shown.everyone() if shown.everyone is not None else shown.sample
    return {"everyone": [name_part(report, node) for node in nodes]}


def pick_part(report: NamesNodes, pick: Pick, *, full: bool) -> PickV1:
    """Convert a pick. full: names all of its observers."""
    return PickV1(
        **_everyone(report, pick) if full else {},
        public_key=pick.public_key,
        node=name_part(report, pick.node) if pick.node is not None else None,
        observers=pick.observers,
        regions=region_counts(pick.regions),
        sample=[name_part(report, node) for node in pick.sample],
    )


def reached_part(report: NamesNodes, reached: Reached, *, full: bool) -> ReachedV1:
    """Convert observers that met one server. full: names all of them."""
    return ReachedV1(
        **_everyone(report, reached) if full else {},
        source=reached.source.value,
        server=optional_part(reached.said or None),
        node=name_part(report, reached.node) if reached.node is not None else None,
        datacenter=optional_part(reached.node.datacenter or None) if reached.node is not None else None,
        region=optional_part(reached.region),
        reason=reached.reason.value if reached.reason is not None else None,
        observers=reached.observers,
        regions=region_counts(reached.regions),
        sample=[name_part(report, node) for node in reached.sample],
    )


def region_counts(regions: Mapping[str, int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for region, count in regions.items():
        counts[for_json(region) or UNKNOWN_REGION] += count
    return dict(sorted(counts.items()))


def name_part(report: NamesNodes, node: NodeId) -> str:
    return for_json(report.name(node))


def optional_part(text: str | None) -> str | None:
    return None if text is None else for_json(text)
