"""The report for programs: `wgaudit.report/1`, a type of its own that gains fields and never renames one.

`python -m auditor.reports.json_v1` prints its JSON Schema, which stands in docs/report-v1.schema.json.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from auditor.reports.interface import Layout
from auditor.reports.outline import Command, Outline, outline
from auditor.values.models import Claim, Coverage, Evidence, Finding, Gap, Guess, NodeId, Pick, Report
from auditor.values.schema import schema_document
from auditor.values.text import for_json, timestamp

SCHEMA: Literal["wgaudit.report/1"] = "wgaudit.report/1"
UNKNOWN_REGION = "unknown"
_DOCS = "docs/findings.md"
_LAYOUT = Layout()


Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"Z$"}, mode="serialization"),
]


class _ReportPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CoverageV1(_ReportPart):
    """How much of the fleet was seen."""

    registered: int = Field(ge=0, description="nodes that the registry lists, those in flight left out")
    observed: int = Field(ge=0, description="of these, the ones whose own device answered")
    share: float = Field(
        ge=0, le=1, description="observed / registered, 3 decimals; 1.0 only if every node was seen"
    )
    distinct_tables: int = Field(ge=0, description="distinct route tables among the observers")
    undigested: int = Field(ge=0, description="nodes that sent their table at full cost")
    unreadable: int = Field(
        ge=0, description="of the registered ones, those whose registration cannot be read"
    )


class GapV1(_ReportPart):
    """What could not be seen, and why."""

    source: str = Field(description="consul, file, ssh or sweep; more may be added")
    scope: str = Field(description="what it hides: registry, node, witness or sweep; more may be added")
    node: str | None = Field(description="null where the gap is not about one node")
    datacenter: str | None = Field(description="null where none is known")
    reason: str = Field(description="kebab-case, such as connect-refused; more may be added")
    detail: str = Field(description="one line for a person")


class ClaimV1(_ReportPart):
    """ "This key says that it holds this address", with where it says so."""

    witness: str = Field(description="registered, device or routed; more may be added")
    address: str = Field(description="canonical prefix, such as 10.0.0.1/32")
    public_key: str | None = Field(description="null: a registration whose key cannot be read")
    node: str | None = Field(description="null: a key that no registration knows")
    datacenter: str | None
    where: str = Field(description="the KV key, catalog entry or device that says so")
    create_index: int | None = Field(description="Consul's index of the first write; null where unknown")
    modify_index: int | None = Field(description="Consul's index of the last write; null where unknown")


class PickV1(_ReportPart):
    """Observers that route the address to one key."""

    public_key: str | None = Field(description="null: to nobody")
    node: str | None = Field(description="null: nobody, or a key that no node is known to have")
    observers: int = Field(ge=0)
    regions: dict[str, int] = Field(description="observers by their own region; `unknown` where not known")
    sample: list[str] = Field(description="some of the observers, by name")


class FactV1(_ReportPart):
    """A labelled value."""

    label: str
    value: str


class EvidenceV1(_ReportPart):
    """What a finding rests on."""

    claims: list[ClaimV1]
    routing: list[PickV1]
    observers: int = Field(ge=0, description="how many observers show it; 0 where it is not about observers")
    sample: list[str] = Field(description="some of those observers, by name")
    facts: list[FactV1]


class GuessV1(_ReportPart):
    """A cause that nobody saw."""

    cause: str = Field(description="kebab-case name, such as parallel-writers; more may be added")
    sureness: Literal["probable", "possible"] = Field(
        description="probable: the other explanations are excluded"
    )
    sentence: str = Field(description="the guess in words; the summary ends with it")
    facts: list[FactV1] = Field(description="what it rests on")


class FindingV1(_ReportPart):
    """Something that a check says is wrong."""

    check: str = Field(description="kebab-case ident, such as duplicate-address; more may be added")
    severity: Literal["critical", "error", "warning", "info"]
    fingerprint: str = Field(description="the same in every sweep: check and subject, no time, no observer")
    subject: str = Field(description="an address, a node or a key")
    address: str | None = Field(
        description="canonical prefix that it is about, such as 10.0.0.1/32; null where it is about no address"
    )
    nodes: list[str]
    regions: list[str]
    summary: str = Field(description="facts first, then the guess in words")
    guess: GuessV1 | None = Field(description="null where nothing is guessed")
    probable_cause: str | None = Field(description="the guess's cause")
    confirmed: bool | None = Field(
        description="true: shown again on a second look; false: gone then, and not counted; null: seen once"
    )
    caused_by: str | None = Field(description="fingerprint of the finding that this one follows from")
    agreed: str | None = Field(
        description="why it is agreed on, and until when: then it is not counted; null: it is not agreed on"
    )
    silenced: str | None = Field(
        description="the silence that mutes its alerts: it counts all the same; null: none, or none was asked for"
    )
    evidence: EvidenceV1
    docs: str = Field(description="where it is explained")
    next: list[str] | None = Field(
        description="command that tells more, word by word and unquoted; null: none"
    )


class GapGroupV1(_ReportPart):
    """Gaps of one source and reason."""

    source: str
    scope: str
    reason: str
    count: int = Field(ge=1)
    regions: dict[str, int] = Field(description="gaps by region of their node; `unknown` where not known")
    details: int = Field(ge=1, description="how many different details they have")


class GroupsV1(_ReportPart):
    """The report as the table groups it; findings by their fingerprints."""

    contested: list[str] = Field(description="contested addresses that follow from nothing else")
    other: list[str] = Field(description="other findings that follow from nothing else, worst first")
    severities: dict[str, int] = Field(description="how many of these two have each severity")
    following: int = Field(ge=0, description="findings that follow from these two")
    agreed: list[str] = Field(description="agreed on, not counted")
    gone: list[str] = Field(description="gone on the second look, not counted")
    registry: str = Field(
        description="whole, suspect (our view of it may be filtered) or incomplete; more may be added"
    )
    gaps: list[GapGroupV1] = Field(description="the registry's first, then the nodes', the largest first")


class ReportV1(_ReportPart):
    """One sweep's report. Fields are added, never renamed or removed; readers must ignore unknown ones."""

    schema_: Literal["wgaudit.report/1"] = Field(alias="schema")
    verdict: Literal["clean", "findings", "inconclusive"]
    started_at: Timestamp
    finished_at: Timestamp
    cut_short: str | None = Field(description="why the sweep stopped early; null if it ran to its end")
    coverage: CoverageV1
    gaps: list[GapV1]
    in_flight: list[str] = Field(description="nodes that had not held still when the sweep ended")
    other_keys: dict[str, int] = Field(
        description="keys under the prefix that are no registrations, by kind, such as lock; more may be added"
    )
    findings: list[FindingV1] = Field(description="worst first")
    groups: GroupsV1


def render(report: Report, _layout: Layout = _LAYOUT, /) -> str:
    """Render the report as one JSON document and a newline, in ASCII whatever the names are made of."""
    document = convert(report).model_dump(mode="json", by_alias=True)
    return json.dumps(document, ensure_ascii=True, indent=2) + "\n"


def convert(report: Report) -> ReportV1:
    """Convert a report to its published form."""
    grouped = outline(report)
    commands = {item.finding.fingerprint: item.next_command for item in grouped.leading}
    return ReportV1(
        schema=SCHEMA,
        verdict=report.verdict.value,
        started_at=report.started_at,
        finished_at=report.finished_at,
        cut_short=_optional(report.cut_short),
        coverage=_coverage(report.coverage),
        gaps=[_gap(gap) for gap in report.gaps],
        in_flight=[_name(report, node) for node in dict.fromkeys(report.in_flight)],
        other_keys={kind.value: number for kind, number in report.others.counts.items()},
        findings=[
            _finding(report, finding, commands.get(finding.fingerprint)) for finding in report.findings
        ],
        groups=_groups(grouped),
    )


def _groups(grouped: Outline) -> GroupsV1:
    return GroupsV1(
        contested=[item.finding.fingerprint for item in grouped.contested],
        other=[item.finding.fingerprint for item in grouped.rest],
        severities={severity.value: count for severity, count in grouped.severities.items()},
        following=grouped.following,
        agreed=[finding.fingerprint for finding in grouped.agreed],
        gone=[finding.fingerprint for finding in grouped.gone],
        registry=grouped.registry.value,
        gaps=[
            GapGroupV1(
                source=group.source,
                scope=group.scope.value,
                reason=group.reason.value,
                count=len(group.gaps),
                regions=_regions(group.regions),
                details=len(group.details),
            )
            for group in grouped.gaps
        ],
    )


def _coverage(coverage: Coverage) -> CoverageV1:
    return CoverageV1(
        registered=coverage.registered,
        observed=coverage.observed,
        share=_share(coverage),
        distinct_tables=coverage.distinct_tables,
        undigested=coverage.undigested,
        unreadable=coverage.unreadable,
    )


def _share(coverage: Coverage) -> float:
    """Round the share, but never up to 1.0: a reader who compares it with 1 must not conclude "all seen"."""
    rounded = round(coverage.share, 3)
    return min(rounded, 0.999) if coverage.observed < coverage.registered else rounded


def _gap(gap: Gap) -> GapV1:
    return GapV1(
        source=gap.source,
        scope=gap.scope.value,
        node=_optional(gap.node),
        datacenter=_optional(gap.datacenter or None),
        reason=gap.reason.value,
        detail=for_json(gap.detail),
    )


def _finding(report: Report, finding: Finding, command: Command | None) -> FindingV1:
    return FindingV1(
        check=finding.check,
        severity=finding.severity.value,
        fingerprint=finding.fingerprint,
        subject=for_json(finding.subject),
        address=finding.address,
        nodes=[_name(report, node) for node in finding.nodes],
        regions=[for_json(region) for region in finding.regions],
        summary=for_json(finding.summary),
        guess=_guess(finding.guess),
        probable_cause=_optional(finding.probable_cause),
        confirmed=finding.confirmed,
        caused_by=finding.caused_by,
        agreed=_optional(finding.agreed),
        silenced=_optional(finding.silenced),
        evidence=_evidence(report, finding.evidence),
        docs=f"{_DOCS}#{finding.check}",
        next=[for_json(word) for word in command] if command is not None else None,
    )


def _guess(guess: Guess | None) -> GuessV1 | None:
    if guess is None:
        return None
    return GuessV1(
        cause=guess.cause.value,
        sureness=guess.sureness.value,
        sentence=for_json(guess.sentence),
        facts=[FactV1(label=for_json(label), value=for_json(value)) for label, value in guess.facts],
    )


def _evidence(report: Report, evidence: Evidence) -> EvidenceV1:
    return EvidenceV1(
        claims=[_claim(report, claim) for claim in evidence.claims],
        routing=[_pick(report, pick) for pick in evidence.routing],
        observers=evidence.observers,
        sample=[_name(report, node) for node in evidence.sample],
        facts=[FactV1(label=for_json(label), value=for_json(value)) for label, value in evidence.facts],
    )


def _claim(report: Report, claim: Claim) -> ClaimV1:
    return ClaimV1(
        witness=claim.witness.value,
        address=claim.prefix,
        public_key=claim.public_key,
        node=_name(report, claim.node) if claim.node is not None else None,
        datacenter=_optional(claim.node.datacenter or None) if claim.node is not None else None,
        where=for_json(claim.where),
        create_index=claim.create_index,
        modify_index=claim.modify_index,
    )


def _pick(report: Report, pick: Pick) -> PickV1:
    return PickV1(
        public_key=pick.public_key,
        node=_name(report, pick.node) if pick.node is not None else None,
        observers=pick.observers,
        regions=_regions(pick.regions),
        sample=[_name(report, node) for node in pick.sample],
    )


def _regions(regions: Mapping[str, int]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for region, count in regions.items():
        counts[for_json(region) or UNKNOWN_REGION] += count
    return dict(sorted(counts.items()))


def _name(report: Report, node: NodeId) -> str:
    return for_json(report.name(node))


def _optional(text: str | None) -> str | None:
    return None if text is None else for_json(text)


def schema_text() -> str:
    """Return the JSON Schema of the report, as docs/report-v1.schema.json holds it."""
    return schema_document(ReportV1, SCHEMA)


if __name__ == "__main__":
    sys.stdout.write(schema_text())
