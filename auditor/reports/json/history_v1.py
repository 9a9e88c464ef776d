"""`wgaudit history --format json`: past sweeps and findings, `wgaudit.history/1`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field

from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.values.past_sweeps import PastFinding, PastSweep


class PastSweepV1(Part):
    """One sweep of the history."""

    number: int = Field(description="`wgaudit diff` takes it")
    started_at: Timestamp
    finished_at: Timestamp
    seconds: float = Field(description="how long it took")
    verdict: str = Field(description="clean, findings or inconclusive")
    cut_short: ForeignText | None = Field(description="why it ended early; null: it ran to its end")
    registered: int = Field(ge=0)
    observed: int = Field(ge=0)
    gaps: int = Field(ge=0, description="how many gaps it had")
    findings: dict[str, int] = Field(description="findings that counted, by severity")

    @classmethod
    def of(cls, sweep: PastSweep) -> Self:
        """Make it from a sweep of the history."""
        return cls(
            number=sweep.number,
            started_at=sweep.started_at,
            finished_at=sweep.finished_at,
            seconds=sweep.seconds,
            verdict=sweep.verdict.value,
            cut_short=sweep.cut_short,
            registered=sweep.registered,
            observed=sweep.observed,
            gaps=sweep.gaps,
            findings={severity.value: number for severity, number in sweep.findings.items()},
        )


class PastFindingV1(Part):
    """One finding over time."""

    fingerprint: str
    check: str
    severity: str = Field(description="critical, error, warning or info")
    subject: ForeignText
    address: str | None = Field(description="canonical prefix; null where it is about none, or not recorded")
    summary: ForeignText
    nodes: list[ForeignText]
    regions: list[ForeignText]
    caused_by: str | None = Field(description="fingerprint of the finding that it follows from")
    first_seen: Timestamp = Field(description="first of all, even if it was resolved in between")
    last_seen: Timestamp
    resolved_at: Timestamp | None = Field(description="null: it stands, or a gap hides whether it does")

    @classmethod
    def of(cls, finding: PastFinding) -> Self:
        """Make it from a finding of the history."""
        return cls(
            fingerprint=finding.fingerprint,
            check=finding.check,
            severity=finding.severity.value,
            subject=finding.subject,
            address=finding.address or None,
            summary=finding.summary,
            nodes=list(finding.nodes),
            regions=list(finding.regions),
            caused_by=finding.caused_by,
            first_seen=finding.first_seen,
            last_seen=finding.last_seen,
            resolved_at=finding.resolved_at,
        )


class HistoryV1(Document):
    """Past sweeps and findings, as `sweep --alert` remembers them."""

    schema_: Literal["wgaudit.history/1"] = Field(default="wgaudit.history/1", alias="schema")
    state: bool = Field(description="false: there is no state database yet, so nothing is known")
    sweeps: list[PastSweepV1] = Field(description="newest first")
    findings: list[PastFindingV1] = Field(description="those that stand, then the last seen first")


def history_document(
    sweeps: Iterable[PastSweep], findings: Iterable[PastFinding], *, state: bool = True
) -> HistoryV1:
    """Make the document. state: False where there is no state database."""
    return HistoryV1(
        state=state,
        sweeps=list(map(PastSweepV1.of, sweeps)),
        findings=list(map(PastFindingV1.of, findings)),
    )
