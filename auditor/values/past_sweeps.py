"""Values of the past: sweeps, what each of them saw, findings over time, and what was done about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from auditor.errors import GapReason
from auditor.values.findings import Evidence, Finding, Severity
from auditor.values.models import NodeId
from auditor.values.report import Report, Verdict


@dataclass(frozen=True, slots=True)
class PastSweep:
    """Past sweep with its outcome. Times are in UTC."""

    number: int
    """Its identity in the history: greater than that of every sweep recorded before it."""
    started_at: datetime
    finished_at: datetime
    verdict: Verdict
    registered: int
    observed: int
    gaps: int
    findings: Mapping[Severity, int] = field(default_factory=dict)
    """Number of findings that counted, by severity; a severity without any is left out."""
    cut_short: str | None = None

    @property
    def seconds(self) -> float:
        """Duration of the sweep in seconds."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def found(self) -> int:
        """Number of findings that counted."""
        return sum(self.findings.values())


@dataclass(frozen=True, slots=True)
class PastFinding:
    """Finding over time. Times are in UTC, and those of the sweeps that saw it."""

    fingerprint: str
    check: str
    severity: Severity
    subject: str
    summary: str
    nodes: tuple[str, ...]
    first_seen: datetime
    """Time of the first sight, even if it was resolved in between."""
    last_seen: datetime
    resolved_at: datetime | None = None
    """None: it stands, or a gap hides whether it does."""
    caused_by: str | None = None
    """Fingerprint of the finding that it follows from."""
    address: str = ""
    """Canonical prefix that it is about; "" where it is about none, or was recorded by an older version."""
    regions: tuple[str, ...] = ()


class FindingChange(StrEnum):
    """Change in the life of a finding, by the sweep that showed it."""

    FIRST_SEEN = "first-seen"
    CHANGED = "changed"
    """Other nodes or another severity."""
    NOT_SEEN = "not-seen"
    """A sweep did not show it and could not end it: a gap hides it, or it comes and goes."""
    SEEN_AGAIN = "seen-again"
    """Shown again after `NOT_SEEN`."""
    RESOLVED = "resolved"
    CAME_BACK = "came-back"
    """Shown again after `RESOLVED`."""


@dataclass(frozen=True, slots=True)
class PastChange:
    """One change of one finding, with what the finding was from then on."""

    at: datetime
    fingerprint: str
    change: FindingChange
    severity: Severity
    nodes: tuple[str, ...]
    sweep: int | None = None
    """Number of the sweep; None: recorded before sweeps were named here."""


class OperationKind(StrEnum):
    """Kind of an operation by a person."""

    PLAN = "plan"
    """A plan was written to a file."""
    APPLY = "apply"
    ROLLBACK = "rollback"
    DRAIN = "drain"
    """Nodes were taken out of production by hand, beside any plan."""
    UNDRAIN = "undrain"
    SILENCE_ADDED = "silence-added"
    SILENCE_EXPIRED = "silence-expired"
    """A silence was ended before its time."""


@dataclass(frozen=True, slots=True)
class PastOperation:
    """Operation that left a line in the state. Times are in UTC."""

    kind: OperationKind
    at: datetime
    by: str
    """Login name of who ran the command."""
    reference: str = ""
    """Ident of the plan or of the silence."""
    path: str = ""
    """File that was written: the plan, or an apply's journal, as an absolute path."""
    addresses: tuple[str, ...] = ()
    """Canonical prefixes that it is about."""
    nodes: tuple[str, ...] = ()
    """Nodes that it moves."""
    ended_at: datetime | None = None
    """Time of its end, for what takes a while, planned for a silence. None: not known to have ended."""
    outcome: str = ""
    """Outcome in a word (`done`, `stopped`, `interrupted`); "" where there is none, or it is not known."""


@dataclass(frozen=True, slots=True)
class PastNotice:
    """Notification of one incident to one notifier, with its outcome. Times are in UTC."""

    notifier: str
    fingerprint: str
    check: str
    severity: Severity
    subject: str
    reason: str
    """Reason of the notification, such as `first-notification`."""
    firing: bool
    """False: it says that the incident is over."""
    state: str
    """`accepted`, `pending`, `dead` (refused for good), `dropped` or `closed`."""
    planned_at: datetime
    at: datetime
    """Time when it came to its state, or was last tried."""
    attempts: int
    answer: str
    """Last answer of the other side in one line; "" before the first attempt."""

    @property
    def accepted(self) -> bool:
        """Tell whether the other side took it."""
        return self.state == "accepted"


@dataclass(frozen=True, slots=True)
class PastSpan:
    """Span of time, with what the sweeps or rounds that ended in it came to."""

    begins_at: datetime
    most_findings: int
    """Most findings that counted in one of them."""
    least_share: float
    """Least share of nodes that one of them saw, 0 to 1."""
    longest_page: float | None = None
    """Longest time from the news of an incident to its first acceptance by a notifier, in seconds; None: nobody was
    told in this span, or it is not known."""


# -- what one sweep saw


@dataclass(frozen=True, slots=True)
class SeenFinding:
    """Finding as one sweep showed it, with the places that showed it."""

    fingerprint: str
    check: str
    severity: Severity
    subject: str
    nodes: tuple[str, ...]
    """Names as the report writes them, sorted."""
    confirmed: bool | None
    """False: it was gone on the second look, and does not count."""
    agreed: bool
    """True: `[[shared]]` agrees on it, and it does not count."""
    caused_by: str | None
    datacenters: frozenset[str]
    """Registries that it rests on."""
    places: frozenset[NodeId]
    """Claimants, and observers by name, that it rests on."""
    by_observers: bool
    """True: more observers show it than `places` names."""


@dataclass(frozen=True, slots=True)
class SeenGap:
    """Gap of one sweep, without its detail."""

    source: str
    reason: GapReason
    datacenter: str | None
    node: str | None


@dataclass(frozen=True, slots=True)
class SweepContent:
    """Content of one sweep: what can be compared with another. The same for sweeps that saw the same."""

    findings: tuple[SeenFinding, ...]
    """By fingerprint."""
    gaps: tuple[SeenGap, ...]
    withheld: frozenset[str]
    """Fingerprints of findings that unseen nodes or registrations may explain."""
    unread: frozenset[str]
    """Datacenters whose registrations were not read whole; "" among them: any may be missing."""
    unseen: frozenset[NodeId]
    """Registered nodes whose own device was not seen, or that did not hold still."""


def content_of(report: Report) -> SweepContent:
    """Take from a report what can be compared with another sweep."""
    moving = {
        NodeId(gap.datacenter or "", gap.node)
        for gap in report.gaps
        if gap.node is not None and gap.reason is GapReason.UNSETTLED
    }
    return SweepContent(
        findings=tuple(
            sorted((_seen(report, item) for item in report.findings), key=lambda item: item.fingerprint)
        ),
        gaps=tuple(
            sorted(
                {SeenGap(gap.source, gap.reason, gap.datacenter, gap.node) for gap in report.gaps},
                key=lambda gap: (gap.source, gap.datacenter or "", gap.node or "", gap.reason),
            )
        ),
        withheld=report.withheld,
        unread=frozenset(gap.datacenter or "" for gap in report.gaps if gap.hides_registrations),
        unseen=(report.registered - report.observed) | frozenset(report.in_flight) | moving,
    )


def _seen(report: Report, finding: Finding) -> SeenFinding:
    claimants = {*finding.nodes, *(claim.node for claim in finding.evidence.claims if claim.node is not None)}
    return SeenFinding(
        fingerprint=finding.fingerprint,
        check=finding.check,
        severity=finding.severity,
        subject=finding.subject,
        nodes=tuple(sorted(report.name(node) for node in finding.nodes)),
        confirmed=finding.confirmed,
        agreed=finding.agreed is not None,
        caused_by=finding.caused_by,
        datacenters=frozenset(node.datacenter for node in claimants),
        places=frozenset(
            node
            for node in (*claimants, *finding.evidence.sample)
            # A node that was not seen showed nothing itself; asked for one, another may have answered.
            if node in report.observed or finding.reached_elsewhere
        ),
        by_observers=_by_observers(finding.evidence),
    )


def _by_observers(evidence: Evidence) -> bool:
    return bool(evidence.routing) or evidence.observers > len(evidence.sample)
