"""`wgaudit diff --format json`: two sweeps compared, `wgaudit.diff/1`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field

from auditor.explain.comparison import (
    ChangedFinding,
    ChangedRegistration,
    ComparedSweep,
    HiddenFinding,
    SweepDifference,
)
from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.values.models import Registration
from auditor.values.past_sweeps import SeenFinding, SeenGap


class ComparedSweepV1(Part):
    """One of the two sweeps."""

    name: ForeignText = Field(description="as it was asked for")
    number: int | None = Field(description="number in the history; null: a recording")
    started_at: Timestamp
    finished_at: Timestamp
    verdict: str = Field(description="clean, findings or inconclusive")
    registered: int = Field(ge=0)
    observed: int = Field(ge=0)

    @classmethod
    def of(cls, sweep: ComparedSweep) -> Self:
        """Make it from a compared sweep."""
        return cls(
            name=sweep.name,
            number=sweep.number,
            started_at=sweep.started_at,
            finished_at=sweep.finished_at,
            verdict=sweep.verdict.value,
            registered=sweep.registered,
            observed=sweep.observed,
        )


class SeenFindingV1(Part):
    """Finding as one sweep showed it."""

    fingerprint: str
    check: str
    severity: str = Field(description="critical, error, warning or info")
    subject: ForeignText
    nodes: list[ForeignText]
    confirmed: bool | None = Field(
        description="false: gone on the second look, so it does not count; null: not looked at twice"
    )
    agreed: bool = Field(description="true: [[shared]] agrees on it, so it does not count")
    caused_by: str | None = Field(description="fingerprint of the finding that it follows from")

    @classmethod
    def of(cls, finding: SeenFinding) -> Self:
        """Make it from a finding of one sweep."""
        return cls(
            fingerprint=finding.fingerprint,
            check=finding.check,
            severity=finding.severity.value,
            subject=finding.subject,
            nodes=list(finding.nodes),
            confirmed=finding.confirmed,
            agreed=finding.agreed,
            caused_by=finding.caused_by,
        )


class ChangedFindingV1(Part):
    """Finding of both sweeps that is not the same in both."""

    before: SeenFindingV1
    after: SeenFindingV1
    nodes_added: list[ForeignText]
    nodes_removed: list[ForeignText]
    nodes_not_seen: list[ForeignText] = Field(description="missing in B, which did not see them")

    @classmethod
    def of(cls, changed: ChangedFinding) -> Self:
        """Make it from a changed finding."""
        return cls(
            before=SeenFindingV1.of(changed.before),
            after=SeenFindingV1.of(changed.after),
            nodes_added=list(changed.nodes_added),
            nodes_removed=list(changed.nodes_removed),
            nodes_not_seen=list(changed.nodes_not_seen),
        )


class PlaceV1(Part):
    """Node in its datacenter."""

    node: ForeignText
    datacenter: ForeignText


class HiddenFindingV1(Part):
    """Finding of one sweep that the other could not see: it neither came nor went."""

    finding: SeenFindingV1
    in_: Literal["a", "b"] = Field(alias="in", description="the sweep that shows it")
    unseen: list[PlaceV1] = Field(description="nodes that the other sweep did not see")
    unread: list[ForeignText] = Field(
        description='datacenters that the other sweep did not read whole; "": any'
    )

    @classmethod
    def of(cls, hidden: HiddenFinding, shown_in: Literal["a", "b"]) -> Self:
        """Make it from a hidden finding."""
        return cls(
            finding=SeenFindingV1.of(hidden.finding),
            **{"in": shown_in},
            unseen=[PlaceV1(node=node.name, datacenter=node.datacenter) for node in hidden.nodes],
            unread=list(hidden.datacenters),
        )


class SeenGapV1(Part):
    """What one sweep could not see, and why."""

    source: str = Field(description="consul, file, ssh or sweep; more may be added")
    reason: str = Field(description="kebab-case, such as connect-refused; more may be added")
    datacenter: ForeignText | None
    node: ForeignText | None

    @classmethod
    def of(cls, gap: SeenGap) -> Self:
        """Make it from a gap of one sweep."""
        return cls(source=gap.source, reason=gap.reason.value, datacenter=gap.datacenter, node=gap.node)


class RegistrationV1(Part):
    """What a recording has of one node's registration."""

    public_key: str | None = Field(description="null: missing or unreadable")
    addresses: list[str]
    region: ForeignText | None
    retired: bool

    @classmethod
    def of(cls, registration: Registration | None) -> Self | None:
        """Make it from a registration; None where there is none."""
        if registration is None:
            return None
        return cls(
            public_key=registration.public_key,
            addresses=list(registration.addresses),
            region=registration.region,
            retired=registration.retired,
        )


class ChangedRegistrationV1(Part):
    """Registration that is not the same in both recordings."""

    node: ForeignText
    datacenter: ForeignText
    before: RegistrationV1 | None = Field(description="null: not in A")
    after: RegistrationV1 | None = Field(description="null: not in B")
    seen: bool = Field(description="false: the sweep without it did not read that registry whole")

    @classmethod
    def of(cls, changed: ChangedRegistration) -> Self:
        """Make it from a changed registration."""
        return cls(
            node=changed.node.name,
            datacenter=changed.node.datacenter,
            before=RegistrationV1.of(changed.before),
            after=RegistrationV1.of(changed.after),
            seen=changed.seen,
        )


class FindingsDiffV1(Part):
    """Findings of both sweeps, compared by fingerprint."""

    came: list[SeenFindingV1] = Field(description="in B, and A could have seen them")
    went: list[SeenFindingV1] = Field(description="in A, and B could have seen them")
    changed: list[ChangedFindingV1]
    not_seen: list[HiddenFindingV1] = Field(description="in one, and the other could not see them")


class GapsDiffV1(Part):
    """Gaps of both sweeps, compared by node and reason."""

    came: list[SeenGapV1]
    went: list[SeenGapV1]


class DiffV1(Document):
    """What came, went and changed from sweep A to sweep B."""

    schema_: Literal["wgaudit.diff/1"] = Field(default="wgaudit.diff/1", alias="schema")
    same: bool = Field(description="true: exit code 0")
    a: ComparedSweepV1
    b: ComparedSweepV1
    findings: FindingsDiffV1
    gaps: GapsDiffV1
    registrations: list[ChangedRegistrationV1] | None = Field(
        description="null: not compared, because the history keeps none"
    )


def diff_document(difference: SweepDifference) -> DiffV1:
    """Make the document of a comparison."""
    return DiffV1(
        same=difference.same,
        a=ComparedSweepV1.of(difference.a),
        b=ComparedSweepV1.of(difference.b),
        findings=FindingsDiffV1(
            came=list(map(SeenFindingV1.of, difference.came)),
            went=list(map(SeenFindingV1.of, difference.went)),
            changed=list(map(ChangedFindingV1.of, difference.changed)),
            not_seen=[
                *(HiddenFindingV1.of(item, "a") for item in difference.hidden_in_b),
                *(HiddenFindingV1.of(item, "b") for item in difference.hidden_in_a),
            ],
        ),
        gaps=GapsDiffV1(
            came=list(map(SeenGapV1.of, difference.gaps_came)),
            went=list(map(SeenGapV1.of, difference.gaps_went)),
        ),
        registrations=(
            None
            if difference.registrations is None
            else list(map(ChangedRegistrationV1.of, difference.registrations))
        ),
    )
