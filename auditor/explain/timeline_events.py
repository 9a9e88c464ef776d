"""Events of a timeline: each kind a value of its own, with the facts that a sentence is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from auditor.values.findings import Severity
from auditor.values.past_sweeps import FindingChange, PastFinding, PastNotice, PastOperation
from auditor.values.registration_changes import RegistrationChange
from auditor.values.report import Verdict

Range = tuple[int, int]
"""Least and most of a number in a run of sweeps."""


@dataclass(frozen=True, slots=True)
class PastSilence:
    """Silence with its matchers. Times are in UTC."""

    ident: str
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    matchers: Mapping[str, tuple[str, ...]]
    """Values by kind: `check`, `address` (canonical prefixes), `node`, `region`; a kind without any is left out."""


@dataclass(frozen=True, slots=True)
class JournalStep:
    """One line of an apply's journal."""

    at: datetime
    plan: str
    """The plan's ident."""
    move: str
    """The move's ident: node and contested address, as a plan writes them."""
    step: str
    """Step of the move, such as `register`."""
    event: str
    """`begin`, `done`, `undoing`, `undone` or `surprise`."""
    what: str = ""
    """What was not as planned; "" where nothing was."""
    address: str = ""
    """Canonical prefix that the move is about; "" where its plan is not at hand."""
    node: str = ""
    """Node that moves; "" where its plan is not at hand."""


@dataclass(frozen=True, slots=True)
class SweepsEvent:
    """Sweeps in a row with one verdict, with nothing else between them."""

    at: datetime
    until: datetime
    first: int
    """Number of the first sweep."""
    last: int
    count: int
    verdict: Verdict
    registered: Range
    observed: Range
    gaps: Range
    findings: Range
    cut_short: str | None


@dataclass(frozen=True, slots=True)
class NoSweepsEvent:
    """Time in which nobody looked: the sweeps stopped. Not seeing is not clean."""

    at: datetime
    """Start of the sweep after; where there is none, the end of the timeline."""
    since: datetime
    """End of the sweep before."""
    ended: bool
    """False: there is no sweep after."""
    missed: int | None
    """Number of sweeps that should have been, by the usual pause; None: that is not known."""


@dataclass(frozen=True, slots=True)
class FindingEvent:
    """Change in the life of a finding."""

    at: datetime
    change: FindingChange
    finding: PastFinding
    severity: Severity
    """Severity from here on."""
    nodes: tuple[str, ...]
    """Nodes from here on."""
    nodes_before: tuple[str, ...] | None
    """None: nothing earlier is remembered."""
    severity_before: Severity | None
    sweep: int | None


@dataclass(frozen=True, slots=True)
class NoticeEvent:
    """Notification, at the time of its receipt, or of its last try; one that waits untried, at that of planning."""

    at: datetime
    notice: PastNotice


class SilenceStage(StrEnum):
    """Stage in the life of a silence."""

    ADDED = "added"
    BEGAN = "began"
    ENDED = "ended"
    EXPIRED = "expired-early"


@dataclass(frozen=True, slots=True)
class SilenceEvent:
    """Stage in the life of a silence."""

    at: datetime
    stage: SilenceStage
    silence: PastSilence
    by: str
    """Login name of who added or expired it; "" where nobody acted, or it is not known."""


@dataclass(frozen=True, slots=True)
class OperationEvent:
    """Plan that was written, or begin or end of an apply."""

    at: datetime
    operation: PastOperation
    ended: bool
    """True: the end of what takes a while."""


@dataclass(frozen=True, slots=True)
class RegistryEvent:
    """Changes of registrations of one kind that one sweep noticed, at the end of that sweep."""

    at: datetime
    changes: tuple[RegistrationChange, ...]
    """At least one, by node."""


@dataclass(frozen=True, slots=True)
class StepEvent:
    """Step of a move by the journal of an apply."""

    at: datetime
    step: JournalStep


TimelineEvent = (
    SweepsEvent
    | NoSweepsEvent
    | FindingEvent
    | RegistryEvent
    | NoticeEvent
    | SilenceEvent
    | OperationEvent
    | StepEvent
)


@dataclass(frozen=True, slots=True)
class IncidentTimes:
    """Times of one incident that the head of an account names."""

    finding: PastFinding
    first_told: datetime | None
    """Time of the first accepted notification; None: nobody was told, as far as is remembered."""
    notifiers: tuple[str, ...]
    """Notifiers that took a notification of it."""
    refused: int
    """Notifications that nobody took: refused for good, or still waiting."""
    came_back: int
    """How often it came back after it was resolved."""
    followers: int
    """Number of findings that follow from it."""

    @property
    def seen_to_told(self) -> float | None:
        """Seconds from the first sight to the first accepted notification."""
        return _seconds(self.finding.first_seen, self.first_told)

    @property
    def seen_to_resolved(self) -> float | None:
        """Seconds from the first sight to the end."""
        return _seconds(self.finding.first_seen, self.finding.resolved_at)

    @property
    def told_to_resolved(self) -> float | None:
        """Seconds from the first accepted notification to the end."""
        return _seconds(self.first_told, self.finding.resolved_at)


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds()


@dataclass(frozen=True, slots=True)
class Timeline:
    """Account of what happened, in one order. Times are in UTC."""

    since: datetime
    until: datetime
    target: PastFinding | None
    """Finding that it is about; None: all."""
    incidents: tuple[IncidentTimes, ...]
    """Incidents with an event in this time, by their first sight."""
    events: tuple[TimelineEvent, ...]
    notes: tuple[str, ...] = ()
    """What could not be told, each in a line: no state, a journal that is not there."""
