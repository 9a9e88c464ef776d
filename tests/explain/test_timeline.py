"""A timeline merges what is remembered into one order, and says where nobody looked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from markdown_it import MarkdownIt

from auditor.explain.timeline import Records, build_timeline, window
from auditor.explain.timeline_events import (
    FindingEvent,
    JournalStep,
    NoSweepsEvent,
    NoticeEvent,
    OperationEvent,
    PastSilence,
    RegistryEvent,
    SilenceEvent,
    SilenceStage,
    StepEvent,
    SweepsEvent,
    Timeline,
)
from auditor.reports.json.timeline_v1 import timeline_document
from auditor.reports.timeline_markdown import render_timeline_markdown
from auditor.reports.timeline_sentences import sentence
from auditor.values.addresses import Prefix
from auditor.values.findings import Severity
from auditor.values.models import NodeId, Registration
from auditor.values.past_sweeps import (
    FindingChange,
    OperationKind,
    PastChange,
    PastFinding,
    PastNotice,
    PastOperation,
    PastSweep,
)
from auditor.values.registration_changes import RegistrationChange, RegistrationChangeKind
from auditor.values.report import Verdict
from tests.fleets import key_of

START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
MARK = "ab" * 10


def at(minutes: float) -> datetime:
    """So many minutes after the start."""
    return START + timedelta(minutes=minutes)


NOW = at(600)


def sweep(number: int, minutes: float, verdict: Verdict = Verdict.CLEAN, observed: int = 9) -> PastSweep:
    """A sweep of seven seconds."""
    began = at(minutes)
    return PastSweep(number, began, began + timedelta(seconds=7), verdict, 9, observed, 9 - observed)


def every(minutes: int, first: int, last: int, verdict: Verdict = Verdict.CLEAN) -> tuple[PastSweep, ...]:
    """Sweeps by cron, numbered from 1 at the start."""
    return tuple(sweep(number + 1, number * minutes, verdict) for number in range(first, last))


PAIR = PastFinding(
    MARK,
    "duplicate-address",
    Severity.CRITICAL,
    "10.0.0.1",
    "two hold it",
    ("a", "b"),
    at(10),
    at(60),
    at(90),
    address="10.0.0.1/32",
    regions=("sin",),
)
SPLIT = PastFinding(
    "cd" * 10, "split-routing", Severity.CRITICAL, "10.0.0.1", "split", ("a",), at(10), at(60), at(90), MARK
)


def change(
    minutes: float,
    what: FindingChange,
    nodes: tuple[str, ...] = ("a", "b"),
    severity: Severity = Severity.CRITICAL,
    mark: str = MARK,
) -> PastChange:
    """A change of the pair."""
    return PastChange(at(minutes), mark, what, severity, nodes)


def notice(
    minutes: float, state: str = "accepted", *, firing: bool = True, planned: float | None = None
) -> PastNotice:
    """A notification of the pair to the person on call."""
    return PastNotice(
        "oncall",
        MARK,
        "duplicate-address",
        Severity.CRITICAL,
        "10.0.0.1",
        "first-notification" if firing else "resolved",
        firing,
        state,
        at(minutes if planned is None else planned),
        at(minutes),
        0 if state == "pending" else 1,
        "202 Accepted",
    )


def told(
    records: Records, since: float = 0, until: float = 600, target: PastFinding | None = None
) -> Timeline:
    """The timeline of these minutes."""
    return build_timeline(records, at(since), at(until), now=NOW, target=target)


def of(timeline: Timeline, kind: type) -> list:
    """Its events of one kind."""
    return [event for event in timeline.events if isinstance(event, kind)]


def test_alike_sweeps_with_nothing_between_them_are_one_line() -> None:
    records = Records(
        sweeps=(*every(5, 0, 3), *every(5, 3, 6, Verdict.FINDINGS)),
        findings=(PAIR,),
        changes=(change(15.2, FindingChange.FIRST_SEEN), change(22, FindingChange.CHANGED, ("a", "b", "c"))),
    )
    runs = of(told(records, until=30), SweepsEvent)
    assert [(run.first, run.last, run.count) for run in runs] == [(1, 3, 3), (4, 4, 1), (5, 5, 1), (6, 6, 1)]
    assert [run.verdict for run in runs] == [Verdict.CLEAN, *[Verdict.FINDINGS] * 3]


def test_a_run_has_the_least_and_the_most_of_what_was_seen() -> None:
    (run,) = of(
        told(Records(sweeps=(sweep(1, 0), sweep(2, 5, observed=7), sweep(3, 10))), until=11), SweepsEvent
    )
    assert (run.observed, run.registered, run.gaps) == ((7, 9), (9, 9), (0, 2))


def test_where_cron_stopped_for_an_hour_is_a_line_with_the_sweeps_that_are_missing() -> None:
    records = Records(sweeps=(*every(5, 0, 4), *every(5, 16, 20)))
    (pause,) = of(told(records, until=100), NoSweepsEvent)
    assert (pause.since, pause.at, pause.ended, pause.missed) == (
        at(15) + timedelta(seconds=7),
        at(80),
        True,
        12,
    )


def test_that_nobody_looks_any_more_is_the_last_line() -> None:
    last = told(Records(sweeps=every(5, 0, 4)), until=75).events[-1]
    assert isinstance(last, NoSweepsEvent)
    assert (last.at, last.ended, last.missed) == (at(75), False, 12)


def test_one_late_sweep_and_sweeps_by_hand_are_no_pause() -> None:
    assert not of(
        told(Records(sweeps=(*every(5, 0, 4), sweep(9, 23), sweep(10, 25))), until=27), NoSweepsEvent
    )
    by_hand = Records(
        sweeps=tuple(sweep(number, minutes) for number, minutes in enumerate((0, 0.1, 0.2, 20)))
    )
    assert not of(told(by_hand, until=40), NoSweepsEvent)


def test_a_finding_is_told_with_what_changed() -> None:
    records = Records(
        findings=(PAIR,),
        changes=(
            change(10, FindingChange.FIRST_SEEN),
            change(20, FindingChange.CHANGED, ("a", "b", "c"), Severity.ERROR),
            change(30, FindingChange.RESOLVED),
            change(40, FindingChange.CAME_BACK),
        ),
    )
    timeline = told(records)
    events = of(timeline, FindingEvent)
    assert [event.change for event in events] == [item.change for item in records.changes]
    assert (events[1].nodes_before, events[1].severity_before) == (("a", "b"), Severity.CRITICAL)
    assert timeline.incidents[0].came_back == 1


def test_the_head_counts_from_first_sight_to_the_first_accepted_notification_and_to_the_end() -> None:
    records = Records(
        findings=(PAIR, SPLIT),
        changes=(
            change(10, FindingChange.FIRST_SEEN),
            change(10, FindingChange.FIRST_SEEN, mark=SPLIT.fingerprint),
        ),
        notices=(notice(11, "dead"), notice(14, planned=11), notice(90, firing=False), notice(91, "pending")),
    )
    timeline = told(records)
    (incident,) = timeline.incidents
    assert (incident.finding, incident.followers) == (PAIR, 1)
    assert incident.first_told == at(14)
    assert (incident.seen_to_told, incident.seen_to_resolved, incident.told_to_resolved) == (240, 4800, 4560)
    assert (incident.notifiers, incident.refused) == (("oncall",), 2)
    assert {event.finding for event in of(timeline, FindingEvent)} == {PAIR}
    assert [event.at for event in of(timeline, NoticeEvent)] == [at(11), at(14), at(90), at(91)]


def silence(ends: float = 50, **matchers: tuple[str, ...]) -> PastSilence:
    """A silence that began with the incident."""
    return PastSilence(
        "5a5a", at(12), at(ends), "root", "moving it", matchers or {"address": ("10.0.0.1/32",)}
    )


def test_a_silence_begins_and_ends_by_itself_or_is_ended_early_by_somebody() -> None:
    stages = [(event.stage, event.at) for event in of(told(Records(silences=(silence(),))), SilenceEvent)]
    assert stages == [(SilenceStage.BEGAN, at(12)), (SilenceStage.ENDED, at(50))]
    operations = (
        PastOperation(OperationKind.SILENCE_ADDED, at(12), "root", "5a5a", ended_at=at(50)),
        PastOperation(OperationKind.SILENCE_EXPIRED, at(20), "eve", "5a5a"),
    )
    events = of(told(Records(silences=(silence(20),), operations=operations)), SilenceEvent)
    assert [(event.stage, event.by, event.silence.ends_at) for event in events] == [
        (SilenceStage.ADDED, "root", at(50)),
        (SilenceStage.EXPIRED, "eve", at(20)),
    ]


def test_what_a_silence_will_do_has_not_happened() -> None:
    holds, to_come = silence(900), replace(silence(900), ident="6b", starts_at=at(700))
    events = of(told(Records(silences=(holds, to_come)), until=1000), SilenceEvent)
    assert [(event.silence.ident, event.stage) for event in events] == [("5a5a", SilenceStage.BEGAN)]


def test_of_one_finding_only_what_concerns_it_is_told() -> None:
    other = PastFinding("ef" * 10, "key-drift", Severity.ERROR, "z", "z drifts", ("z",), at(5), at(60))
    about = PastOperation(OperationKind.PLAN, at(15), "root", "p1", "/p.json", ("10.0.0.1/32",), ("a",))
    elsewhere = PastOperation(OperationKind.PLAN, at(16), "root", "p2", "/q.json", ("10.0.0.9/32",), ("q",))
    records = Records(
        sweeps=every(5, 0, 20),
        findings=(PAIR, other),
        changes=(
            change(10, FindingChange.FIRST_SEEN),
            change(5, FindingChange.FIRST_SEEN, ("z",), mark="ef" * 10),
        ),
        silences=(silence(), PastSilence("6b", at(12), at(50), "root", "z", {"node": ("z",)})),
        operations=(about, elsewhere),
        steps=(
            JournalStep(at(17), "p1", "a 10.0.0.1", "add", "done"),
            JournalStep(at(18), "p2", "q 10.0.0.9", "add", "done"),
        ),
    )
    begin, end = window(records, PAIR, NOW)
    assert (begin, end) == (at(5), at(150))
    timeline = build_timeline(records, begin, end, now=NOW, target=PAIR)
    assert [item.finding for item in timeline.incidents] == [PAIR]
    assert {event.finding for event in of(timeline, FindingEvent)} == {PAIR}
    assert {event.silence.ident for event in of(timeline, SilenceEvent)} == {"5a5a"}
    assert [event.operation for event in of(timeline, OperationEvent)] == [about]
    assert [event.step.plan for event in of(timeline, StepEvent)] == ["p1"]


def test_a_step_that_ended_is_told_once_and_one_that_did_not_says_so() -> None:
    steps = (
        JournalStep(at(1), "p", "a 10.0.0.1", "add", "begin"),
        JournalStep(at(2), "p", "a 10.0.0.1", "add", "done"),
        JournalStep(at(3), "p", "a 10.0.0.1", "register", "begin"),
    )
    timeline = told(Records(steps=steps))
    assert [event.step for event in of(timeline, StepEvent)] == [steps[1], steps[2]]
    assert "register begun; its end is not known" in render_timeline_markdown(timeline)


def test_an_apply_has_a_begin_and_an_end_and_one_that_was_killed_has_no_end() -> None:
    killed = PastOperation(OperationKind.APPLY, at(1), "root", "p", "/p.journal", ("10.0.0.1/32",), ("a",))
    done = PastOperation(
        OperationKind.APPLY, at(5), "root", "p", "/p.journal", (), (), ended_at=at(9), outcome="done"
    )
    timeline = told(Records(operations=(killed, done)))
    assert [(event.at, event.ended) for event in of(timeline, OperationEvent)] == [
        (at(1), False),
        (at(5), False),
        (at(9), True),
    ]
    text = render_timeline_markdown(timeline)
    assert text.count("its end is not known") == 1
    assert "| p ended: done |" in text


def test_foreign_names_are_text_in_markdown_and_whole_in_json() -> None:
    hostile = "<b>|x`\x1b[0m\udc80"
    finding = PastFinding(
        MARK, "duplicate-address", Severity.CRITICAL, hostile, hostile, (hostile,), at(10), at(60)
    )
    timeline = told(
        Records(
            findings=(finding,), changes=(change(10, FindingChange.FIRST_SEEN, (hostile,)),), notes=(hostile,)
        )
    )
    text = render_timeline_markdown(timeline)
    assert "\x1b" not in text
    rendered = MarkdownIt("commonmark").enable("table").render(text)
    assert "<b>" not in rendered
    assert rendered.count("<td>") == 3
    assert timeline_document(timeline).events[0].model_dump()["subject"] == "<b>|x`\x1b[0m\\udc80"


def test_events_of_one_instant_stand_in_the_order_in_which_they_come_about() -> None:
    records = Records(
        sweeps=(sweep(1, 10),),
        findings=(PAIR,),
        changes=(change(10, FindingChange.FIRST_SEEN),),
        notices=(notice(10),),
    )
    assert [type(event) for event in told(records, until=11).events] == [
        SweepsEvent,
        FindingEvent,
        NoticeEvent,
    ]


def registered(name: str, address: str) -> Registration:
    return Registration(NodeId("dc1", name), key_of(name), (Prefix(f"{address}/32"),), where=f"nodes/{name}")


def registry_change(
    minutes: float, before: Registration | None, after: Registration | None
) -> RegistrationChange:
    """A change that lies between this sweep and the one ten minutes before."""
    kinds = RegistrationChangeKind
    kind = kinds.ADDED if before is None else kinds.REMOVED if after is None else kinds.CHANGED
    node = (after or before or registered("", "10.0.0.1")).node
    return RegistrationChange(node, kind, before, after, at(minutes - 10), at(minutes))


def test_a_registration_that_was_removed_stands_with_what_it_was_and_since_when_it_may_be_gone() -> None:
    gone = registry_change(30, registered("a", "10.0.0.1"), None)
    timeline = told(Records(registrations=(gone,)))
    (event,) = of(timeline, RegistryEvent)
    assert (event.at, event.changes) == (at(30), (gone,))
    said = render_timeline_markdown(timeline)
    assert "`a@dc1` removed: 10.0.0.1" in said
    assert "(after 02:20:00)" in said
    (told_as,) = timeline_document(timeline).model_dump(mode="json")["events"]
    assert (told_as["kind"], told_as["changes"][0]["before"]["addresses"]) == ("registry", ["10.0.0.1/32"])


def test_what_one_sweep_noticed_of_many_registrations_is_one_line() -> None:
    removed = tuple(registry_change(30, registered(name, "10.0.0.9"), None) for name in "cab")
    (event,) = of(told(Records(registrations=removed)), RegistryEvent)
    assert "3 registrations removed: a@dc1, b@dc1 and c@dc1 (after 02:20:00)" in sentence(event, str)


def test_the_timeline_of_a_finding_has_the_changes_of_its_nodes_and_of_its_address_alone() -> None:
    other = registry_change(40, registered("x", "10.0.0.9"), None)
    of_node = registry_change(30, registered("a", "10.0.0.7"), registered("a", "10.0.0.8"))
    of_address = registry_change(50, None, registered("y", "10.0.0.1"))
    records = Records(findings=(PAIR,), registrations=(of_node, other, of_address))
    events = of(told(records, target=PAIR), RegistryEvent)
    assert [event.changes for event in events] == [(of_node,), (of_address,)]
