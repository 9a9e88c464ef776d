"""Sentences of a timeline's events and of its incidents' times, for every form that people read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from auditor.explain.timeline_events import (
    FindingEvent,
    IncidentTimes,
    NoSweepsEvent,
    NoticeEvent,
    OperationEvent,
    Range,
    RegistryEvent,
    SilenceEvent,
    SilenceStage,
    StepEvent,
    SweepsEvent,
    TimelineEvent,
)
from auditor.reports.registration_sentences import change_words
from auditor.values.addresses import Prefix, format_prefix
from auditor.values.past_sweeps import FindingChange, OperationKind, PastOperation
from auditor.values.report import Verdict
from auditor.values.text import count, duration, listed

Clean = Callable[[str], str]
"""Makes foreign text harmless for where it goes."""

SHORT_MARK = 10
"""Characters of a fingerprint that are shown."""
_MOST_NAMES = 6
_LONGEST_RECEIPT = 40
"""Characters of an accepting answer."""

_CHANGES = {
    FindingChange.FIRST_SEEN: "first seen",
    FindingChange.CHANGED: "changed",
    FindingChange.NOT_SEEN: "not seen by this sweep, and not resolved",
    FindingChange.SEEN_AGAIN: "seen again",
    FindingChange.RESOLVED: "resolved",
    FindingChange.CAME_BACK: "came back",
}
_STATES = {
    "accepted": "",
    "pending": "not taken yet",
    "dead": "REFUSED for good",
    "dropped": "",
    "closed": "",
}
_STAGES = {
    SilenceStage.ADDED: "added",
    SilenceStage.BEGAN: "began",
    SilenceStage.ENDED: "ended",
    SilenceStage.EXPIRED: "ended early",
}
_STEP_EVENTS = {
    "begin": "begun; its end is not known",
    "done": "done",
    "undoing": "being taken back; its end is not known",
    "undone": "taken back",
    "checked": "looked at again",
    "surprise": "SURPRISE",
}
LATE = 60.0
"""Seconds between the planning of a notification and its receipt from which on it is late."""


def moment(at: datetime) -> str:
    """Write a time in UTC to the second, without naming the zone: a page names it once."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def label(event: TimelineEvent) -> str:
    """Name the kind of an event in a word or two."""
    if isinstance(event, OperationEvent):
        return "plan" if event.operation.kind is OperationKind.PLAN else event.operation.kind.value
    if isinstance(event, NoticeEvent):
        return "told" if event.notice.accepted else "not told"
    return _LABELS[type(event)]


_LABELS: dict[type, str] = {
    SweepsEvent: "sweep",
    NoSweepsEvent: "no sweep",
    FindingEvent: "finding",
    RegistryEvent: "registry",
    SilenceEvent: "silence",
    StepEvent: "step",
}


def sentence(event: TimelineEvent, clean: Clean) -> str:
    """Word an event. clean: makes foreign text harmless."""
    if isinstance(event, SweepsEvent):
        return _sweeps(event, clean)
    if isinstance(event, NoSweepsEvent):
        return _no_sweeps(event)
    if isinstance(event, FindingEvent):
        return _finding(event, clean)
    if isinstance(event, RegistryEvent):
        return _registry(event, clean)
    if isinstance(event, NoticeEvent):
        return _notice(event, clean)
    if isinstance(event, SilenceEvent):
        return _silence(event, clean)
    if isinstance(event, OperationEvent):
        return _operation(event, clean)
    step = event.step
    what = f": {clean(step.what)}" if step.what else ""
    return f"{clean(step.move)}: {step.step} {_STEP_EVENTS.get(step.event, clean(step.event))}{what}"


def _sweeps(event: SweepsEvent, clean: Clean) -> str:
    which = f"sweep {event.first}" if event.count == 1 else f"sweeps {event.first} to {event.last}"
    several = f" ({event.count:,} until {_near(event.until, event.at)})" if event.count > 1 else ""
    cut = f", cut short ({clean(event.cut_short)})" if event.cut_short else ""
    verdict = "" if event.verdict is Verdict.FINDINGS else f"{event.verdict.value}, "
    return (
        f"{which}{several}: {verdict}{_counted(event.findings, 'finding')}, "
        f"{_span(event.observed)} of {_span(event.registered)} nodes seen, {_counted(event.gaps, 'gap')}{cut}"
    )


def _span(numbers: Range) -> str:
    least, most = numbers
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _counted(numbers: Range, noun: str) -> str:
    least, most = numbers
    return count(most, noun) if least == most else f"{least:,} to {most:,} {noun}s"


def _no_sweeps(event: NoSweepsEvent) -> str:
    lasted = duration((event.at - event.since).total_seconds())
    since = f"nobody looked for {lasted}, since {_near(event.since, event.at)}"
    still = "" if event.ended else ", and nobody does"
    missed = f" ({count(event.missed, 'sweep')} missing)" if event.missed is not None else ""
    return f"{since}{still}{missed}: not seeing is not clean"


def _near(at: datetime, other: datetime) -> str:
    """Write a time beside another: without the day where that is the same."""
    return f"{at:%H:%M:%S}" if at.date() == other.date() else moment(at)


def _finding(event: FindingEvent, clean: Clean) -> str:
    finding = event.finding
    what = f"{finding.check} {clean(finding.subject)}"
    named = _CHANGES[event.change]
    if event.change is FindingChange.RESOLVED:
        return f"{named}: {what}"
    more = []
    if event.severity_before not in (None, event.severity):
        more.append(f"{event.severity_before} before, {event.severity.value} now")
    if event.nodes_before is not None and event.change is not FindingChange.NOT_SEEN:
        more += _difference(event.nodes_before, event.nodes, clean)
    if event.nodes and (event.nodes_before is None or event.change is FindingChange.CAME_BACK):
        more = [_names(event.nodes, clean)]
    details = f" ({'; '.join(more)})" if more else ""
    return f"{named}: {event.severity.value} {what}{details}"


def _registry(event: RegistryEvent, clean: Clean) -> str:
    first = event.changes[0]
    since = f"after {_near(min(item.not_before for item in event.changes), event.at)}"
    if len(event.changes) == 1:
        return f"{clean(str(first.node))} {change_words(first, clean)} ({since})"
    names = _names((str(item.node) for item in event.changes), clean)
    return f"{count(len(event.changes), 'registration')} {first.kind.value}: {names} ({since})"


def _difference(before: Iterable[str], after: Iterable[str], clean: Clean) -> Iterator[str]:
    one, other = list(before), list(after)
    if added := [name for name in other if name not in one]:
        yield f"with {_names(added, clean)}"
    if removed := [name for name in one if name not in other]:
        yield f"without {_names(removed, clean)}"


def _names(names: Iterable[str], clean: Clean) -> str:
    return listed([clean(name) for name in names], most=_MOST_NAMES)


def _notice(event: NoticeEvent, clean: Clean) -> str:
    notice = event.notice
    state = _STATES.get(notice.state, clean(notice.state))
    # What a refusal says matters to its end; of an acceptance, that it was one.
    said = notice.answer if not notice.accepted else _shortened(notice.answer)
    answer = ": ".join(text for text in (state, clean(said)) if text)
    tries = f"; {count(notice.attempts, 'call')}" if notice.attempts > 1 else ""
    late = (notice.at - notice.planned_at).total_seconds()
    planned = f"; planned {_near(notice.planned_at, notice.at)}" if late >= LATE else ""
    return (
        f"{clean(notice.notifier)} ({notice.reason}) of {notice.check} {clean(notice.subject)}"
        f"{f': {answer}' if answer else ''}{tries}{planned}"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_RECEIPT else f"{text[: _LONGEST_RECEIPT - 3]}..."


def _silence(event: SilenceEvent, clean: Clean) -> str:
    silence = event.silence
    by = f" by {clean(event.by)}" if event.by else ""
    named = f"{clean(silence.ident)} {_STAGES[event.stage]}{by}"
    if event.stage in (SilenceStage.ENDED, SilenceStage.EXPIRED):
        return named
    matchers = " and ".join(
        f"{kind} {' or '.join(_matcher(kind, value, clean) for value in values)}"
        for kind, values in silence.matchers.items()
    )
    period = f"{_near(silence.starts_at, event.at)} to {_near(silence.ends_at, event.at)}"
    return f"{named}: {matchers}, {period}: {clean(silence.comment)}"


def _matcher(kind: str, value: str, clean: Clean) -> str:
    return clean(format_prefix(Prefix(value)) if kind == "address" else value)


_BY_HAND = frozenset({OperationKind.DRAIN, OperationKind.UNDRAIN})


def _operation(event: OperationEvent, clean: Clean) -> str:
    operation = event.operation
    by = f" by {clean(operation.by)}" if operation.by else ""
    if operation.kind in _BY_HAND:
        nodes = _names(operation.nodes, clean)
        return f"ended: {clean(operation.outcome)}" if event.ended else f"begun{by}: {nodes}"
    if event.ended:
        return f"{clean(operation.reference)} ended: {clean(operation.outcome)}"
    about = _about(operation, clean)
    if operation.kind is OperationKind.PLAN:
        made = f"written{by}" if by else "made from the sweep that ended now"
        return f"{clean(operation.reference)} {made}: {about}; {clean(operation.path)}"
    unended = "" if operation.ended_at is not None else "; its end is not known"
    return f"{clean(operation.reference)} begun{by}: {about}{unended}; journal {clean(operation.path)}"


def _about(operation: PastOperation, clean: Clean) -> str:
    addresses = [clean(format_prefix(Prefix(address))) for address in operation.addresses]
    moves = _names(operation.nodes, clean) or "nobody"
    return f"{listed(addresses, most=_MOST_NAMES) or 'no address'}, moves {moves}"


def times_of(incident: IncidentTimes) -> list[tuple[str, str]]:
    """List what an account's head says of one incident: label and words, first seen to resolved."""
    finding = incident.finding
    first = "nobody, as far as is remembered"
    if incident.first_told is not None:
        first = f"{moment(incident.first_told)}{_after(incident.seen_to_told, 'first seen')}"
    resolved = "not resolved"
    if finding.resolved_at is not None:
        resolved = f"{moment(finding.resolved_at)}{_after(incident.seen_to_resolved, 'first seen')}"
    return [
        ("first seen", moment(finding.first_seen)),
        ("first told", first),
        ("last seen", moment(finding.last_seen)),
        ("resolved", resolved),
    ]


def _after(seconds: float | None, what: str) -> str:
    if seconds is None:
        return ""
    return f", {duration(abs(seconds))} {'before' if seconds < 0 else 'after'} {what}"


def remarks(incident: IncidentTimes) -> list[str]:
    """List what else an account's head says of one incident, without foreign text."""
    found = []
    if incident.came_back:
        found.append(f"came back {count(incident.came_back, 'time')}")
    if incident.refused:
        found.append(f"{count(incident.refused, 'notification')} not taken")
    if incident.followers:
        follow = "finding follows" if incident.followers == 1 else "findings follow"
        found.append(f"{incident.followers:,} {follow} from it")
    return found
