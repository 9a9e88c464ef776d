"""Timeline: sweeps, findings, notifications, silences, plans and journals merged into one order."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median_low

from auditor.explain.timeline_events import (
    FindingEvent,
    IncidentTimes,
    JournalStep,
    NoSweepsEvent,
    NoticeEvent,
    OperationEvent,
    PastSilence,
    Range,
    RegistryEvent,
    SilenceEvent,
    SilenceStage,
    StepEvent,
    SweepsEvent,
    Timeline,
    TimelineEvent,
)
from auditor.values.past_sweeps import (
    FindingChange,
    OperationKind,
    PastChange,
    PastFinding,
    PastNotice,
    PastOperation,
    PastSweep,
)
from auditor.values.registration_changes import RegistrationChange

LONG_PAUSE = 1.9
"""Pause between two sweeps, as a multiple of the usual one, from which on sweeps are missing."""
UNUSUAL_PAUSE = timedelta(hours=1)
"""The same where too few sweeps are remembered to know what is usual."""
SHORTEST_PAUSE = timedelta(seconds=30)
"""Pause between sweeps below which they were made by hand, and say nothing of what is usual."""
_FEWEST_PAUSES = 2
_RANKS = {
    NoSweepsEvent: 0,
    SweepsEvent: 1,
    RegistryEvent: 2,
    FindingEvent: 3,
    SilenceEvent: 4,
    NoticeEvent: 5,
    OperationEvent: 6,
    StepEvent: 7,
}
"""Order of events of one instant."""


@dataclass(frozen=True, slots=True)
class Records:
    """Everything that is remembered, whenever it was."""

    sweeps: tuple[PastSweep, ...] = ()
    """Oldest first."""
    findings: tuple[PastFinding, ...] = ()
    changes: tuple[PastChange, ...] = ()
    """In the order in which they were recorded."""
    notices: tuple[PastNotice, ...] = ()
    silences: tuple[PastSilence, ...] = ()
    operations: tuple[PastOperation, ...] = ()
    registrations: tuple[RegistrationChange, ...] = ()
    """Changes of registrations, oldest first."""
    steps: tuple[JournalStep, ...] = ()
    notes: tuple[str, ...] = ()


def build_timeline(
    records: Records, since: datetime, until: datetime, *, now: datetime, target: PastFinding | None = None
) -> Timeline:
    """Merge what is remembered of this time into one order.

    target: the finding that it is about, with its cause; sweeps are shown all the same. None: every incident.
    """
    known = {item.fingerprint: item for item in records.findings}
    marks = _marks(target) if target is not None else _leading(records)
    nodes = _nodes_ever(records, marks)
    others: list[TimelineEvent] = [
        *_finding_events(records.changes, known, marks),
        *_registry_events(records.registrations, target, nodes),
        *_notice_events(records.notices, marks),
        *_silence_events(records, target, nodes, min(now, until)),
        *_operation_events(records.operations, target, nodes),
        *_step_events(records, target, nodes),
    ]
    others = [event for event in others if since <= event.at <= until]
    # A pause that lasts beyond the end is told by its beginning, as far as it was known then.
    looked = [sweep for sweep in records.sweeps if sweep.started_at <= until]
    pauses = [event for event in _pauses(looked, min(now, until)) if event.at >= since]
    seen = [sweep for sweep in records.sweeps if since <= sweep.started_at <= until]
    breaks = sorted({event.at for event in (*others, *pauses)})
    events = [*others, *pauses, *_sweep_events(seen, breaks)]
    named = {_mark_of(event) for event in others} - {""}
    incidents = [known[mark] for mark in named & known.keys() & marks]
    if target is not None and target not in incidents:
        incidents.append(target)
    return Timeline(
        since=since,
        until=until,
        target=target,
        incidents=tuple(
            _times(item, records)
            for item in sorted(incidents, key=lambda item: (item.first_seen, item.fingerprint))
        ),
        events=tuple(sorted(events, key=lambda event: (event.at, _RANKS[type(event)]))),
        notes=records.notes,
    )


def window(records: Records, target: PastFinding | None, now: datetime) -> tuple[datetime, datetime]:
    """Choose begin and end where none is asked for.

    The last day; of a finding, from the last sweep before its first sight to now, or to an hour after its end.
    """
    if target is None:
        return now - timedelta(days=1), now
    before = [item.started_at for item in records.sweeps if item.finished_at < target.first_seen]
    end = now if target.resolved_at is None else min(now, target.resolved_at + timedelta(hours=1))
    return before[-1] if before else target.first_seen, end


def _marks(target: PastFinding) -> frozenset[str]:
    return frozenset({target.fingerprint} | ({target.caused_by} if target.caused_by is not None else set()))


def _leading(records: Records) -> frozenset[str]:
    leading = {item.fingerprint for item in records.findings if item.caused_by is None}
    # What was told was an incident then, whatever it follows from now.
    return frozenset(leading | {item.fingerprint for item in records.notices})


def _nodes_ever(records: Records, marks: Collection[str]) -> frozenset[str]:
    """Collect the nodes that findings had, now or earlier."""
    names = {name for item in records.findings if item.fingerprint in marks for name in item.nodes}
    return frozenset(names.union(*(item.nodes for item in records.changes if item.fingerprint in marks)))


def _mark_of(event: TimelineEvent) -> str:
    if isinstance(event, FindingEvent):
        return event.finding.fingerprint
    return event.notice.fingerprint if isinstance(event, NoticeEvent) else ""


# -- sweeps


def _sweep_events(sweeps: Sequence[PastSweep], breaks: Sequence[datetime]) -> Iterator[SweepsEvent]:
    """Yield runs of sweeps with one verdict, ended where something else happened between two of them."""
    run: list[PastSweep] = []
    for sweep in sweeps:
        if run and (
            sweep.verdict is not run[-1].verdict
            or sweep.cut_short != run[-1].cut_short
            or _any_between(breaks, run[-1].started_at, sweep.started_at)
        ):
            yield _run(run)
            run = []
        run.append(sweep)
    if run:
        yield _run(run)


def _any_between(moments: Sequence[datetime], since: datetime, until: datetime) -> bool:
    place = bisect_right(moments, since)
    return place < len(moments) and moments[place] <= until


def _run(sweeps: Sequence[PastSweep]) -> SweepsEvent:
    return SweepsEvent(
        at=sweeps[0].started_at,
        until=sweeps[-1].finished_at,
        first=sweeps[0].number,
        last=sweeps[-1].number,
        count=len(sweeps),
        verdict=sweeps[0].verdict,
        registered=_range(item.registered for item in sweeps),
        observed=_range(item.observed for item in sweeps),
        gaps=_range(item.gaps for item in sweeps),
        findings=_range(item.found for item in sweeps),
        cut_short=sweeps[0].cut_short,
    )


def _range(numbers: Iterable[int]) -> Range:
    every = list(numbers)
    return min(every), max(every)


def _pauses(sweeps: Sequence[PastSweep], end: datetime) -> Iterator[NoSweepsEvent]:
    """Yield the times without a sweep that are far longer than usual, the one that lasts to the end among them."""
    if not sweeps:
        return
    between = [later.started_at - earlier.started_at for earlier, later in pairwise(sweeps)]
    regular = [pause for pause in between if pause >= SHORTEST_PAUSE]
    usual = median_low(regular) if len(regular) >= _FEWEST_PAUSES else None
    longest = usual * LONG_PAUSE if usual is not None else UNUSUAL_PAUSE
    for earlier, later in pairwise(sweeps):
        pause = later.started_at - earlier.started_at
        if pause > longest:
            yield NoSweepsEvent(later.started_at, earlier.finished_at, True, _missed(pause, usual))
    last = sweeps[-1]
    if end - last.started_at > longest:
        missed = _missed(end - last.started_at, usual, ended=False)
        yield NoSweepsEvent(end, last.finished_at, False, missed)


def _missed(pause: timedelta, usual: timedelta | None, *, ended: bool = True) -> int | None:
    if not usual:
        return None
    # Where the next sweep came, it is none of the missed ones.
    return max(1, round(pause / usual) - 1 if ended else int(pause / usual))


# -- findings and notifications


def _finding_events(
    changes: Iterable[PastChange], known: Mapping[str, PastFinding], marks: Collection[str]
) -> Iterator[FindingEvent]:
    before: dict[str, PastChange] = {}
    for item in changes:
        earlier = before.get(item.fingerprint)
        before[item.fingerprint] = item
        finding = known.get(item.fingerprint)
        if finding is not None and item.fingerprint in marks:
            yield FindingEvent(
                at=item.at,
                change=item.change,
                finding=finding,
                severity=item.severity,
                nodes=item.nodes,
                nodes_before=earlier.nodes if earlier is not None else None,
                severity_before=earlier.severity if earlier is not None else None,
                sweep=item.sweep,
            )


def _notice_events(notices: Iterable[PastNotice], marks: Collection[str]) -> Iterator[NoticeEvent]:
    for item in notices:
        if item.fingerprint in marks:
            yield NoticeEvent(item.at if item.attempts or item.state != "pending" else item.planned_at, item)


def _registry_events(
    changes: Iterable[RegistrationChange], target: PastFinding | None, nodes: Collection[str]
) -> Iterator[RegistryEvent]:
    """Yield changes of registrations, those of one kind that one sweep noticed together."""
    groups: dict[tuple[datetime, str], list[RegistrationChange]] = {}
    for item in changes:
        if target is None or _changes_place(item, target, nodes):
            groups.setdefault((item.not_after, item.kind.value), []).append(item)
    for (at, _), group in groups.items():
        yield RegistryEvent(at, tuple(sorted(group, key=lambda item: item.node)))


def _changes_place(change: RegistrationChange, finding: PastFinding, nodes: Collection[str]) -> bool:
    """Tell whether it is of one of the finding's nodes, or gives or takes its address."""
    forms = [item for item in (change.before, change.after) if item is not None]
    has_address = bool(finding.address) and any(finding.address in item.addresses for item in forms)
    return has_address or not {change.node.name, str(change.node)}.isdisjoint(nodes)


def _times(finding: PastFinding, records: Records) -> IncidentTimes:
    notices = [item for item in records.notices if item.fingerprint == finding.fingerprint]
    accepted = [item for item in notices if item.accepted]
    return IncidentTimes(
        finding=finding,
        first_told=min((item.at for item in accepted if item.firing), default=None),
        notifiers=tuple(sorted({item.notifier for item in accepted})),
        refused=sum(item.state in ("dead", "pending") for item in notices),
        came_back=Counter(item.change for item in records.changes if item.fingerprint == finding.fingerprint)[
            FindingChange.CAME_BACK
        ],
        followers=sum(item.caused_by == finding.fingerprint for item in records.findings),
    )


# -- what people did


def _silence_events(
    records: Records, target: PastFinding | None, nodes: Collection[str], until: datetime
) -> Iterator[SilenceEvent]:
    added, expired = (
        {item.reference: item for item in records.operations if item.kind is kind}
        for kind in (OperationKind.SILENCE_ADDED, OperationKind.SILENCE_EXPIRED)
    )
    for silence in records.silences:
        if target is not None and not _concerns(silence, target, nodes):
            continue
        made, ended = added.get(silence.ident), expired.get(silence.ident)
        if made is not None:
            planned = replace(silence, ends_at=made.ended_at or silence.ends_at)
            yield SilenceEvent(made.at, SilenceStage.ADDED, planned, made.by)
        # It usually begins when it is added, and one that ended before its start never began.
        if (made is None or silence.starts_at > made.at + timedelta(minutes=1)) and (
            silence.starts_at < silence.ends_at and silence.starts_at <= until
        ):
            yield SilenceEvent(silence.starts_at, SilenceStage.BEGAN, silence, "")
        if ended is not None:
            yield SilenceEvent(ended.at, SilenceStage.EXPIRED, silence, ended.by)
        elif silence.ends_at <= until:
            yield SilenceEvent(silence.ends_at, SilenceStage.ENDED, silence, "")


def _concerns(silence: PastSilence, finding: PastFinding, nodes: Collection[str]) -> bool:
    """Tell whether each kind of matcher names something of the finding."""
    own = {
        "check": {finding.check},
        "address": {finding.address},
        "node": set(nodes),
        "region": set(finding.regions),
    }
    return bool(silence.matchers) and all(
        not own[kind].isdisjoint(values) for kind, values in silence.matchers.items()
    )


_OF_SILENCES = frozenset({OperationKind.SILENCE_ADDED, OperationKind.SILENCE_EXPIRED})


def _operation_events(
    operations: Iterable[PastOperation], target: PastFinding | None, nodes: Collection[str]
) -> Iterator[OperationEvent]:
    for item in operations:
        if item.kind in _OF_SILENCES or (target is not None and not _touches(item, target, nodes)):
            continue
        yield OperationEvent(item.at, item, ended=False)
        if item.ended_at is not None:
            yield OperationEvent(item.ended_at, item, ended=True)


_OF_NODES = frozenset({OperationKind.DRAIN, OperationKind.UNDRAIN})


def _touches(operation: PastOperation, finding: PastFinding, nodes: Collection[str]) -> bool:
    """Tell whether a plan is about the finding's address; of what is about nodes alone, whether one is its."""
    if finding.address and operation.kind not in _OF_NODES:
        return finding.address in operation.addresses
    return not set(nodes).isdisjoint(operation.nodes)


_BEGINNINGS = frozenset({"begin", "undoing"})


def _step_events(records: Records, target: PastFinding | None, nodes: Collection[str]) -> Iterator[StepEvent]:
    of_others = {
        item.reference
        for item in records.operations
        if target is not None and item.kind not in _OF_SILENCES and not _touches(item, target, nodes)
    }
    last = {(step.plan, step.move, step.step): step for step in records.steps}
    for step in records.steps:
        if step.event in _BEGINNINGS and last[step.plan, step.move, step.step] is not step:
            continue  # a later line says how it went on
        if target is not None:
            elsewhere = bool(step.address) and bool(target.address) and step.address != target.address
            if step.plan in of_others or elsewhere:
                continue
        yield StepEvent(step.at, step)
