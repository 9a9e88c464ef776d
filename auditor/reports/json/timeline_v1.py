"""`wgaudit timeline --format json`: everything that happened in one order, `wgaudit.timeline/1`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from auditor.explain.timeline_events import (
    FindingEvent,
    IncidentTimes,
    NoSweepsEvent,
    NoticeEvent,
    OperationEvent,
    Range,
    RegistryEvent,
    SilenceEvent,
    StepEvent,
    SweepsEvent,
    Timeline,
    TimelineEvent,
)
from auditor.reports.json.documents import Document, ForeignText, Part, Timestamp
from auditor.reports.json.finding_life_v1 import NoticeV1
from auditor.reports.json.history_v1 import PastFindingV1
from auditor.reports.json.registration_history_v1 import PastRegistrationChangeV1


class RangeV1(Part):
    """Least and most in a run of sweeps."""

    least: int
    most: int

    @classmethod
    def of(cls, numbers: Range) -> Self:
        """Make it from a range."""
        return cls(least=numbers[0], most=numbers[1])


class SweepsEventV1(Part):
    """Sweeps in a row with one verdict, and nothing else between them."""

    kind: Literal["sweeps"] = "sweeps"
    at: Timestamp
    until: Timestamp
    first: int = Field(description="number of the first sweep in the history")
    last: int
    count: int = Field(ge=1)
    verdict: str
    registered: RangeV1
    observed: RangeV1
    gaps: RangeV1
    findings: RangeV1
    cut_short: ForeignText | None


class NoSweepsEventV1(Part):
    """Time in which nobody looked."""

    kind: Literal["no-sweeps"] = "no-sweeps"
    at: Timestamp = Field(description="start of the sweep after; where there is none, end of the timeline")
    since: Timestamp = Field(description="end of the sweep before")
    ended: bool = Field(description="false: there is no sweep after")
    missed: int | None = Field(description="sweeps that should have been; null: not known")


class FindingEventV1(Part):
    """Change in the life of a finding."""

    kind: Literal["finding"] = "finding"
    at: Timestamp
    change: str = Field(description="first-seen, changed, not-seen, seen-again, resolved or came-back")
    fingerprint: str
    check: str
    subject: ForeignText
    severity: str = Field(description="from here on")
    nodes: list[ForeignText] = Field(description="from here on")
    severity_before: str | None
    nodes_before: list[ForeignText] | None = Field(description="null: nothing earlier is remembered")
    sweep: int | None = Field(description="number of the sweep that showed it; null: not recorded")


class RegistryEventV1(Part):
    """Changes of registrations of one kind that one sweep noticed."""

    kind: Literal["registry"] = "registry"
    at: Timestamp = Field(description="end of the sweep that noticed them")
    changes: list[PastRegistrationChangeV1] = Field(min_length=1)


class NoticeEventV1(NoticeV1):
    """Notification, at the time of its receipt or last try."""

    kind: Literal["notification"] = "notification"
    fingerprint: str
    check: str
    subject: ForeignText
    severity: str


class SilenceEventV1(Part):
    """Stage in the life of a silence."""

    kind: Literal["silence"] = "silence"
    at: Timestamp
    stage: str = Field(description="added, began, ended or expired-early")
    ident: ForeignText
    by: ForeignText | None = Field(description="who acted; null: nobody, or not known")
    created_by: ForeignText
    comment: ForeignText
    starts_at: Timestamp
    ends_at: Timestamp
    matchers: dict[str, list[ForeignText]] = Field(description="by kind: check, address, node, region")


class OperationEventV1(Part):
    """Plan that was written, or begin or end of an apply."""

    kind: Literal["operation"] = "operation"
    at: Timestamp
    operation: str = Field(description="plan, apply, rollback, drain or undrain; more may be added")
    ended: bool = Field(description="true: its end")
    plan: ForeignText = Field(description="ident of the plan")
    by: ForeignText | None
    path: ForeignText = Field(description="file of the plan, or of the journal")
    addresses: list[ForeignText]
    nodes: list[ForeignText] = Field(description="nodes that it moves")
    ended_at: Timestamp | None = Field(description="null: it has no end, or none is known")
    outcome: ForeignText | None


class StepEventV1(Part):
    """Step of a move by the journal of an apply."""

    kind: Literal["step"] = "step"
    at: Timestamp
    plan: ForeignText
    move: ForeignText
    node: ForeignText | None = Field(description="null: its plan is not at hand")
    address: str | None
    step: str = Field(description="reserve, add, register, peers, persist, remove or verify")
    event: str = Field(description="begin, done, undoing, undone, checked or surprise")
    what: ForeignText | None = Field(description="what was not as planned")


EventV1 = Annotated[
    SweepsEventV1
    | NoSweepsEventV1
    | FindingEventV1
    | RegistryEventV1
    | NoticeEventV1
    | SilenceEventV1
    | OperationEventV1
    | StepEventV1,
    Field(discriminator="kind"),
]


class IncidentTimesV1(Part):
    """Times of one incident."""

    finding: PastFindingV1
    first_told: Timestamp | None = Field(description="first accepted notification; null: none is remembered")
    notifiers: list[ForeignText] = Field(description="those that took a notification of it")
    refused: int = Field(ge=0, description="notifications that nobody took")
    came_back: int = Field(ge=0)
    followers: int = Field(ge=0, description="findings that follow from it")
    seen_to_told: float | None = Field(description="seconds")
    seen_to_resolved: float | None = Field(description="seconds")
    told_to_resolved: float | None = Field(description="seconds")

    @classmethod
    def of(cls, incident: IncidentTimes) -> Self:
        """Make it from the times of an incident."""
        return cls(
            finding=PastFindingV1.of(incident.finding),
            first_told=incident.first_told,
            notifiers=list(incident.notifiers),
            refused=incident.refused,
            came_back=incident.came_back,
            followers=incident.followers,
            seen_to_told=incident.seen_to_told,
            seen_to_resolved=incident.seen_to_resolved,
            told_to_resolved=incident.told_to_resolved,
        )


class TimelineV1(Document):
    """Everything that happened in one order: the draft of a post-mortem. Times are in UTC."""

    schema_: Literal["wgaudit.timeline/1"] = Field(default="wgaudit.timeline/1", alias="schema")
    since: Timestamp
    until: Timestamp
    target: str | None = Field(description="fingerprint that it is about; null: all incidents")
    incidents: list[IncidentTimesV1]
    events: list[EventV1] = Field(description="oldest first; more kinds may be added")
    notes: list[ForeignText] = Field(description="what could not be told, a line each")


def timeline_document(timeline: Timeline) -> TimelineV1:
    """Make the document of a timeline."""
    return TimelineV1(
        since=timeline.since,
        until=timeline.until,
        target=timeline.target.fingerprint if timeline.target is not None else None,
        incidents=list(map(IncidentTimesV1.of, timeline.incidents)),
        events=list(map(_event, timeline.events)),
        notes=list(timeline.notes),
    )


def _event(event: TimelineEvent) -> EventV1:
    if isinstance(event, SweepsEvent):
        return SweepsEventV1(
            at=event.at,
            until=event.until,
            first=event.first,
            last=event.last,
            count=event.count,
            verdict=event.verdict.value,
            registered=RangeV1.of(event.registered),
            observed=RangeV1.of(event.observed),
            gaps=RangeV1.of(event.gaps),
            findings=RangeV1.of(event.findings),
            cut_short=event.cut_short,
        )
    if isinstance(event, NoSweepsEvent):
        return NoSweepsEventV1(at=event.at, since=event.since, ended=event.ended, missed=event.missed)
    if isinstance(event, FindingEvent):
        return _finding(event)
    if isinstance(event, RegistryEvent):
        return RegistryEventV1(at=event.at, changes=list(map(PastRegistrationChangeV1.of, event.changes)))
    if isinstance(event, NoticeEvent):
        notice = event.notice
        return NoticeEventV1(
            **{**NoticeV1.of(notice).model_dump(), "at": event.at},
            fingerprint=notice.fingerprint,
            check=notice.check,
            subject=notice.subject,
            severity=notice.severity.value,
        )
    if isinstance(event, SilenceEvent):
        return _silence(event)
    return _operation(event) if isinstance(event, OperationEvent) else _step(event)


def _finding(event: FindingEvent) -> FindingEventV1:
    return FindingEventV1(
        at=event.at,
        change=event.change.value,
        fingerprint=event.finding.fingerprint,
        check=event.finding.check,
        subject=event.finding.subject,
        severity=event.severity.value,
        nodes=list(event.nodes),
        severity_before=event.severity_before.value if event.severity_before is not None else None,
        nodes_before=list(event.nodes_before) if event.nodes_before is not None else None,
        sweep=event.sweep,
    )


def _silence(event: SilenceEvent) -> SilenceEventV1:
    silence = event.silence
    return SilenceEventV1(
        at=event.at,
        stage=event.stage.value,
        ident=silence.ident,
        by=event.by or None,
        created_by=silence.created_by,
        comment=silence.comment,
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        matchers={kind: list(values) for kind, values in silence.matchers.items()},
    )


def _operation(event: OperationEvent) -> OperationEventV1:
    operation = event.operation
    return OperationEventV1(
        at=event.at,
        operation=operation.kind.value,
        ended=event.ended,
        plan=operation.reference,
        by=operation.by or None,
        path=operation.path,
        addresses=list(operation.addresses),
        nodes=list(operation.nodes),
        ended_at=operation.ended_at,
        outcome=operation.outcome or None,
    )


def _step(event: StepEvent) -> StepEventV1:
    step = event.step
    return StepEventV1(
        at=step.at,
        plan=step.plan,
        move=step.move,
        node=step.node or None,
        address=step.address or None,
        step=step.step,
        event=step.event,
        what=step.what or None,
    )
