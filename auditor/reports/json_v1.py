"""The report for programs: `wgaudit.report/1`, a type of its own that gains fields and never renames one.

`python -m auditor.reports.json_v1` prints its JSON Schema, which stands in docs/report-v1.schema.json.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from auditor.reports.interface import Layout
from auditor.reports.json.documents import Part, Timestamp
from auditor.reports.json.evidence_v1 import (
    EvidenceV1,
    FactV1,
    evidence_part,
    name_part,
    optional_part,
    region_counts,
)
from auditor.reports.outline import NextStep, Outline, outline
from auditor.values.findings import Finding, Guess
from auditor.values.guide import INSTALLED, PROGRAM, Guide
from auditor.values.models import Gap
from auditor.values.report import Coverage, Report
from auditor.values.schema import schema_document
from auditor.values.text import for_json

SCHEMA: Literal["wgaudit.report/1"] = "wgaudit.report/1"
_LAYOUT = Layout()
_NO_ASCII = re.compile(r"[^\n -~]")


class RegionCoverageV1(Part):
    """Nodes of one region, and the sources of that: one source alone can mismatch nothing."""

    region: str | None = Field(description="null: nodes of which no source names a region")
    nodes: int = Field(ge=1)
    checked: int = Field(ge=0, description="of these, the ones whose region two or more sources name")
    sources: dict[str, int] = Field(
        description="nodes by source: registration, name, address plan, node itself, NATS; more may be added"
    )
    alone: dict[str, int] = Field(description="nodes that have one source alone, by that source")


class CoverageV1(Part):
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
    regions: list[RegionCoverageV1] = Field(description="readable registrations by region")


class GapV1(Part):
    """What could not be seen, and why."""

    source: str = Field(description="consul, file, ssh, witness or sweep; more may be added")
    scope: str = Field(description="what it hides: registry, node, witness or sweep; more may be added")
    node: str | None = Field(description="null where the gap is not about one node")
    datacenter: str | None = Field(description="null where none is known")
    reason: str = Field(description="kebab-case, such as connect-refused; more may be added")
    detail: str = Field(description="one line for a person")


class GuessV1(Part):
    """A cause that nobody saw."""

    cause: str = Field(description="kebab-case name, such as parallel-writers; more may be added")
    sureness: Literal["probable", "possible"] = Field(
        description="probable: the other explanations are excluded"
    )
    sentence: str = Field(description="the guess in words; the summary ends with it")
    facts: list[FactV1] = Field(description="what it rests on")


class NextStepV1(Part):
    """A command that leads on."""

    purpose: str
    command: list[str] = Field(description="word by word, unquoted, with the files that it needs")


class FindingV1(Part):
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
    next_steps: list[NextStepV1] = Field(
        description="what to run next, as the reader runs it; the story first"
    )


class GapGroupV1(Part):
    """Gaps of one source and reason."""

    source: str
    scope: str
    reason: str
    count: int = Field(ge=1)
    regions: dict[str, int] = Field(description="gaps by region of their node; `unknown` where not known")
    details: int = Field(ge=1, description="how many different details they have")


class GroupsV1(Part):
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
    gaps: list[GapGroupV1] = Field(
        description="the registry's first, then the nodes', then the witnesses'; each the largest first"
    )


class DrainedV1(Part):
    """A node that is out of production, by the state's memory."""

    node: str
    since: Timestamp
    by: str = Field(description="login name of who ran the command")
    how: str = Field(description="command, consul-maintenance or nomad-eligibility; more may be added")
    reason: str | None = Field(description="reason that a person gave; null: none")
    plan: str | None = Field(description="ident of the plan that it was drained for; null: by hand")


class ReportV1(Part):
    """One sweep's report. Fields are added, never renamed or removed; readers must ignore unknown ones."""

    schema_: Literal["wgaudit.report/1"] = Field(alias="schema")
    mesh: str | None = Field(description="name of the mesh (alerts.mesh); null: it has none")
    version: str | None = Field(
        description="version of wgaudit that made the report; null where nobody said it"
    )
    verdict: Literal["clean", "findings", "inconclusive"]
    started_at: Timestamp
    finished_at: Timestamp
    cut_short: str | None = Field(description="why the sweep stopped early; null if it ran to its end")
    coverage: CoverageV1
    gaps: list[GapV1]
    in_flight: list[str] = Field(description="nodes that had not held still when the sweep ended")
    drained: list[DrainedV1] = Field(
        default=[], description="nodes that are out of production; left out where none is known to be"
    )
    other_keys: dict[str, int] = Field(
        description="keys under the prefix that are no registrations, by kind, such as lock; more may be added"
    )
    findings: list[FindingV1] = Field(description="worst first")
    groups: GroupsV1


def render(report: Report, layout: Layout = _LAYOUT, /) -> str:
    """Render the report as one JSON document and a newline, in ASCII whatever the names are made of."""
    # What is not set is there in a full report alone: thousands of names a finding.
    document = convert(report, layout.guide, full=layout.full)
    text = document.model_dump_json(by_alias=True, exclude_unset=True, indent=2)
    return _NO_ASCII.sub(_escaped, text) + "\n"


def _escaped(character: re.Match[str]) -> str:
    return json.dumps(character[0])[1:-1]


def convert(report: Report, guide: Guide = INSTALLED, *, full: bool = False) -> ReportV1:
    """Convert a report to its published form.

    guide: makes the commands that it leads to. full: names all observers of each finding.
    """
    grouped = outline(report, guide)
    steps = {item.finding.fingerprint: item.next_steps for item in grouped.leading}
    return ReportV1(
        schema=SCHEMA,
        mesh=optional_part(report.mesh or None),
        version=optional_part(report.version or None),
        verdict=report.verdict.value,
        started_at=report.started_at,
        finished_at=report.finished_at,
        cut_short=optional_part(report.cut_short),
        coverage=_coverage(report.coverage),
        gaps=[gap_part(gap) for gap in report.gaps],
        in_flight=[name_part(report, node) for node in dict.fromkeys(report.in_flight)],
        **({"drained": _drained(report)} if report.drained else {}),
        other_keys={kind.value: number for kind, number in report.others.counts.items()},
        findings=[
            _finding(report, finding, steps.get(finding.fingerprint, ()), guide, full=full)
            for finding in report.findings
        ],
        groups=_groups(grouped),
    )


def _drained(report: Report) -> list[DrainedV1]:
    return [
        DrainedV1(
            node=name_part(report, node),
            since=item.since,
            by=for_json(item.by),
            how=item.how,
            reason=optional_part(item.reason or None),
            plan=optional_part(item.plan or None),
        )
        for node, item in report.drained.items()
    ]


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
                regions=region_counts(group.regions),
                details=len(group.details),
            )
            for group in (*grouped.gaps, *grouped.unheard)
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
        regions=[
            RegionCoverageV1(
                region=for_json(item.region) or None,
                nodes=item.nodes,
                checked=item.checked,
                sources=dict(item.sources),
                alone=dict(item.alone),
            )
            for item in coverage.regions
        ],
    )


def _share(coverage: Coverage) -> float:
    """Round the share, but never up to 1.0: a reader who compares it with 1 must not conclude "all seen"."""
    rounded = round(coverage.share, 3)
    return min(rounded, 0.999) if coverage.observed < coverage.registered else rounded


def gap_part(gap: Gap) -> GapV1:
    """Convert a gap."""
    return GapV1(
        source=gap.source,
        scope=gap.scope.value,
        node=optional_part(gap.node),
        datacenter=optional_part(gap.datacenter or None),
        reason=gap.reason.value,
        detail=for_json(gap.detail),
    )


def _finding(
    report: Report, finding: Finding, steps: Sequence[NextStep], guide: Guide, *, full: bool
) -> FindingV1:
    return FindingV1(
        check=finding.check,
        severity=finding.severity.value,
        fingerprint=finding.fingerprint,
        subject=for_json(finding.subject),
        address=finding.address,
        nodes=[name_part(report, node) for node in finding.nodes],
        regions=[for_json(region) for region in finding.regions],
        summary=for_json(finding.summary),
        guess=_guess(finding.guess),
        probable_cause=optional_part(finding.probable_cause),
        confirmed=finding.confirmed,
        caused_by=finding.caused_by,
        agreed=optional_part(finding.agreed),
        silenced=optional_part(finding.silenced),
        evidence=evidence_part(report, finding, full=full),
        docs=for_json(guide.documentation(finding.check)),
        # Without files and wrapper, as it always was.
        next=[*PROGRAM, "explain", for_json(finding.subject)] if steps else None,
        next_steps=[
            NextStepV1(purpose=step.purpose, command=[for_json(word) for word in step.command])
            for step in steps
        ],
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


def schema_text() -> str:
    """Return the JSON Schema of the report, as docs/report-v1.schema.json holds it."""
    return schema_document(ReportV1, SCHEMA)


if __name__ == "__main__":
    sys.stdout.write(schema_text())
