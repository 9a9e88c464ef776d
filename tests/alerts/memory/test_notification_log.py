"""The memory of alerting: nothing planned is lost or told twice, and a resolve needs a trigger."""

from __future__ import annotations

import json
import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from alerts.memory.forms import INCIDENT, SILENCE, STANDING
from alerts.memory.memory_for_judging import read_memory
from alerts.memory.notices import State
from alerts.memory.notification_log import NotificationLog
from alerts.models import (
    AlertPlan,
    Baseline,
    Ended,
    Flapping,
    Incident,
    NotifyReason,
    Silence,
    Standing,
    Status,
)
from auditor.errors import StateError, UsageError
from auditor.state.places import StatePlace, place_name
from auditor.state.revisions.r0001_one_schema import ALERTS
from auditor.state.state_store import StateStore
from auditor.values.findings import Severity
from auditor.values.models import Memory, NodeId
from tests.alerts.conftest import Reopen
from tests.alerts.fakes import (
    NOON,
    Killed,
    firing,
    incident,
    keep,
    only_read,
    opened,
    planned,
    repeat,
    resolve,
    stands,
    update,
)
from tests.fleets import key_of

LATER = NOON + timedelta(minutes=1)
LONG_AGO = NOON - timedelta(days=100)


def states(store: NotificationLog, mark: str = incident().fingerprint) -> list[tuple[Status, State]]:
    """The life of an incident in short."""
    return [(row.notification.status, row.state) for row in store.life(mark)]


# -- what a plan is made from


def test_a_fresh_memory_is_that_of_the_first_sweep(database: StateStore) -> None:
    log = NotificationLog(database).log()
    assert (log.sweep, log.entries, log.standing, log.nodes, log.blind_sweeps, log.baseline) == (
        1,
        {},
        {},
        {},
        0,
        None,
    )


def test_everything_that_a_plan_remembers_is_there_for_the_next_sweep(
    database: StateStore, reopened: Reopen
) -> None:
    """Names may hold anything that Consul can spell, lone surrogates and NUL included."""
    odd = NodeId("dc\udc80", 'a"\0\n')
    plan = AlertPlan(
        notifications=(),
        standing={
            "f1": replace(
                stands(incident()), nodes=frozenset({odd}), flapping=Flapping(NOON, LATER), away_since=LATER
            )
        },
        resolved=(),
        nodes={odd: 7, NodeId("dc1", "b"): 5},
        datacenters={"dc1": 7, "": 6},
        blind_sweeps=3,
        baseline=Baseline(40, NOON, frozenset({"dc1", ""})),
        ended={"f2": Ended(NOON, LATER), "f3": Ended(LONG_AGO, NOON, LONG_AGO)},
        unseen={odd: 5},
        drifted={odd: key_of("a")},
        unsettled=frozenset({odd}),
    )
    store = NotificationLog(database)
    with database.transaction():
        store.keep(plan, 7, NOON)
    found = reopened(database)
    log = NotificationLog(found).log()
    assert log.sweep == 8
    assert log.standing == plan.standing
    assert log.nodes == plan.nodes
    assert log.datacenters == plan.datacenters
    assert (log.blind_sweeps, log.baseline) == (3, plan.baseline)
    assert (log.ended, log.unseen, log.drifted) == (plan.ended, plan.unseen, plan.drifted)
    assert read_memory(found) == Memory(drifted=plan.drifted, unsettled=plan.unsettled)


def test_a_lost_baseline_and_an_ended_incident_are_forgotten(database: StateStore) -> None:
    store = NotificationLog(database)
    with database.transaction():
        store.keep(replace(planned(standing=[incident()]), baseline=Baseline(3, NOON)), 1, NOON)
        store.keep(planned(), 2, NOON)
    assert (store.log().standing, store.log().baseline) == ({}, None)


def test_a_plan_that_was_not_committed_leaves_nothing_behind(database: StateStore, reopened: Reopen) -> None:
    """Killed between planning and commit: the next sweep plans the same again."""
    store = NotificationLog(database)
    before = store.log()
    with suppress(Killed), database.transaction():
        store.keep(planned(firing(), standing=[incident()]), 1, NOON)
        raise Killed
    store = NotificationLog(reopened(database))
    assert store.log() == before
    assert store.outbox() == []


def test_what_waits_counts_as_told_from_when_it_was_planned(database: StateStore) -> None:
    """Else it would be planned again with every sweep while the other side is down."""
    store = keep(database, firing())
    store.postponed(store.pending("oncall"), "503", None, LATER)
    entry = store.log().entries["oncall", incident().fingerprint]
    assert (entry.status, entry.sent_at, entry.nodes) == (Status.FIRING, NOON, ("a", "b"))


def test_what_was_refused_for_good_counts_as_told(database: StateStore) -> None:
    store = keep(database, firing())
    store.refused(store.pending("oncall"), "400", LATER)
    assert store.log().entries["oncall", incident().fingerprint].status is Status.FIRING


def test_the_newest_word_counts(database: StateStore) -> None:
    store = keep(database, firing(), resolve())
    store.accepted(store.pending("oncall", 1), "202", LATER)
    assert store.log().entries["oncall", incident().fingerprint].status is Status.RESOLVED


def test_reading_the_memory_changes_nothing(database: StateStore, reopened: Reopen) -> None:
    store = keep(database, firing(), firing("chat"), standing=[incident()])
    store.accepted(store.pending("chat"), "ok", LATER)
    assert store.log() == store.log() == NotificationLog(reopened(database)).log()


# -- the outbox


def test_the_outbox_keeps_the_order_of_each_notifier(database: StateStore) -> None:
    one, two, three = (incident(f"10.0.0.{number}") for number in (1, 2, 3))
    keep(database, firing(about=three), firing("chat", one), firing(about=one))
    store = keep(database, firing(about=two), resolve(about=three), sweep=2, now=LATER)
    rows = store.pending("oncall")
    assert [(row.notification.incident.subject, row.notification.status) for row in rows] == [
        ("10.0.0.3", Status.FIRING),
        ("10.0.0.1", Status.FIRING),
        ("10.0.0.2", Status.FIRING),
        ("10.0.0.3", Status.RESOLVED),
    ]
    assert store.pending("oncall", 2) == rows[:2]
    assert store.waiting() == {"oncall": 4, "chat": 1}


def test_plans_of_two_processes_are_told_in_the_order_in_which_they_were_made(
    database: StateStore, place: StatePlace
) -> None:
    """Who plans second waits: his words never stand before those of a plan that is being stored."""
    stored = threading.Event()

    def second() -> None:
        with closing(opened(place)) as other:
            keep(other, resolve(), sweep=2)
        stored.set()

    thread = threading.Thread(target=second)
    with database.transaction():
        thread.start()
        assert not stored.wait(0.2)
        store = keep(database, firing())
    thread.join()
    assert [row.notification.status for row in store.outbox()] == [Status.FIRING, Status.RESOLVED]


def test_what_was_accepted_leaves_the_outbox_for_the_incidents_life(database: StateStore) -> None:
    store = keep(database, firing())
    store.calling(store.pending("oncall"))
    store.accepted(store.pending("oncall"), "202 accepted", LATER)
    (row,) = store.life(incident().fingerprint)
    assert store.outbox() == []
    assert (row.state, row.at, row.attempts, row.detail) == (State.ACCEPTED, LATER, 1, "202 accepted")
    assert row.notification == replace(firing(), at=row.created_at)


def test_a_failed_attempt_is_counted_and_leaves_the_order_as_it_was(database: StateStore) -> None:
    store = keep(database, firing(), firing(about=incident("10.0.0.2")))
    before = [row.id for row in store.pending("oncall")]
    store.calling(store.pending("oncall", 1))
    store.postponed(store.pending("oncall", 1), "503", None, LATER)
    rows = store.pending("oncall")
    assert [row.id for row in rows] == before
    assert [(row.attempts, row.detail) for row in rows] == [(1, "503"), (0, "")]


def test_what_has_left_the_outbox_is_not_moved_again(database: StateStore) -> None:
    store = keep(database, firing())
    rows = store.pending("oncall")
    store.accepted(rows, "202", NOON)
    store.postponed(rows, "503", None, LATER)
    assert states(store) == [(Status.FIRING, State.ACCEPTED)]


def test_a_refused_repeat_that_may_have_arrived_is_not_forgotten(database: StateStore) -> None:
    """Its resolve depends on it."""
    store = keep(database, firing())
    store.refused(store.pending("oncall"), "400", NOON)
    for sweep in (2, 3):
        keep(database, repeat(), sweep=sweep)
        if sweep == 2:
            store.calling(store.pending("oncall"))
        store.refused(store.pending("oncall"), "400", NOON)
    keep(database, resolve(), sweep=4)
    assert store.waiting() == {"oncall": 1}


def test_a_retry_after_outlives_the_process_until_something_is_accepted(
    database: StateStore,
    reopened: Reopen,
) -> None:
    store = keep(database, firing())
    store.postponed(store.pending("oncall"), "429", LATER, NOON)
    store = NotificationLog(reopened(database))
    assert (store.not_before("oncall"), store.not_before("chat")) == (LATER, None)
    store.accepted(store.pending("oncall"), "202", LATER)
    assert store.not_before("oncall") is None


def test_an_answer_is_kept_as_one_bounded_line(database: StateStore) -> None:
    store = keep(database, firing())
    store.refused(store.pending("oncall"), "400\r\n\x1b[31m" + "x\udc80" * 1000, LATER)
    (row,) = store.dead_letters()
    assert 490 < len(row.detail) <= 500  # no escape is cut in half
    assert row.detail.isprintable()


def test_a_repeat_is_not_told_twice_while_the_first_waits_but_brings_newer_facts(
    database: StateStore,
) -> None:
    """Else an Alertmanager that is down for a day gets each incident a thousand times."""
    keep(database, firing())
    store = keep(database, repeat(about=incident(summary="newer")), sweep=2, now=LATER)
    (row,) = store.pending("oncall")
    assert (row.notification.reason, row.notification.incident.summary) == (
        NotifyReason.FIRST_NOTIFICATION,
        "newer",
    )


@pytest.mark.parametrize(("end", "kept"), [("accepted", ["answer 4", "answer 5"]), ("refused", ["answer 5"])])
def test_of_what_is_told_with_every_sweep_only_the_last_is_kept(
    database: StateStore, end: str, kept: list[str]
) -> None:
    """And of what was taken one more, for two pages an hour are counted."""
    store = keep(database, firing())
    store.accepted(store.pending("oncall"), "ok", NOON)
    for sweep in range(2, 6):
        keep(database, repeat(), sweep=sweep)
        getattr(store, end)(store.pending("oncall"), f"answer {sweep}", NOON)
    assert [row.detail for row in store.life(incident().fingerprint)] == ["ok", *kept]


def test_the_last_two_pages_of_an_incident_are_counted(database: StateStore, reopened: Reopen) -> None:
    """What waits counts as well as what was taken; a resolve and what was refused for good do not."""
    store = keep(database, firing(), now=NOON)
    store.accepted(store.pending("oncall"), "ok", LATER)
    times = [NOON]
    for minute, planned_now in enumerate((repeat(), repeat(), resolve(), firing(), repeat()), start=1):
        now = NOON + timedelta(minutes=minute)
        keep(database, planned_now, sweep=minute + 1, now=now)
        if minute == 4:
            store.refused(store.pending("oncall"), "400", now)
        elif minute < 4:
            store.accepted(store.pending("oncall"), "ok", now)
            times += [now] if planned_now.status is Status.FIRING else []
    (entry,) = NotificationLog(reopened(database)).log().entries.values()
    assert entry.pages == (times[-1], NOON + timedelta(minutes=5))


def test_a_memory_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """What it knew stays; what it did not know is as in a fresh one."""
    path = tmp_path / "wgaudit.db"
    with closing(sqlite3.connect(path)) as old, old:
        old.executescript(
            f"CREATE TABLE parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT; {ALERTS[0]}"
        )
        old.execute("INSERT INTO parts VALUES ('alerts', 1)")
        old.execute(
            "UPDATE alerts_memory SET sweep = 6, registered = 40, registered_at = ?", (NOON.isoformat(),)
        )
        body = json.loads(STANDING.write(stands(incident())))
        for form, names in ((body, ("flapping", "away_since")), (body["incident"], ("flapping_since",))):
            for name in names:
                del form[name]
        old.execute("INSERT INTO alerts_standing VALUES ('f1', 6, ?)", (json.dumps(body),))
    with closing(opened(path)) as database:
        log = NotificationLog(database).log()
    assert (log.sweep, log.baseline, log.ended, log.unseen, log.drifted) == (
        7,
        Baseline(40, NOON),
        {},
        {},
        {},
    )
    assert log.standing == {"f1": stands(incident())}


def test_a_remembered_key_that_cannot_be_read_is_said(database: StateStore) -> None:
    """A damaged record never stands in for none."""
    database.execute(text("""INSERT INTO alerts_drifted VALUES ('["dc1", "a"]', 'no key')"""))
    with pytest.raises(StateError, match="public key"):
        read_memory(database)


# -- a resolve and its trigger


def test_a_resolve_that_waits_is_dropped_with_its_refused_trigger(database: StateStore) -> None:
    store = keep(database, firing(), resolve(), firing(about=incident("10.0.0.2")))
    store.refused(store.pending("oncall", 1), "400", LATER)
    assert states(store) == [(Status.FIRING, State.DEAD), (Status.RESOLVED, State.DROPPED)]
    assert "trigger was refused" in store.life(incident().fingerprint)[1].detail
    assert [row.notification.incident.subject for row in store.outbox()] == ["10.0.0.2"]


def test_a_resolve_stays_if_its_refused_trigger_may_have_arrived_before(
    database: StateStore,
    reopened: Reopen,
) -> None:
    """The process died within a call: the other side may take the incident for firing, and for ever."""
    store = keep(database, firing(), resolve())
    store.calling(store.pending("oncall", 1))
    store = NotificationLog(reopened(database))
    store.calling(store.pending("oncall", 1))
    store.declined(store.pending("oncall", 1))
    store.refused(store.pending("oncall", 1), "400", LATER)
    assert states(store) == [(Status.FIRING, State.DEAD), (Status.RESOLVED, State.PENDING)]


def test_a_call_that_ended_with_a_clear_no_did_not_make_it_arrive(database: StateStore) -> None:
    """Refused among others, then refused alone."""
    store = keep(database, firing(), resolve())
    for _ in range(2):
        store.calling(store.pending("oncall", 1))
        store.declined(store.pending("oncall", 1))
    store.refused(store.pending("oncall", 1), "400", LATER)
    assert states(store) == [(Status.FIRING, State.DEAD), (Status.RESOLVED, State.DROPPED)]


def test_a_resolve_planned_after_its_trigger_was_refused_is_dropped_at_once(
    database: StateStore,
) -> None:
    store = keep(database, firing())
    store.refused(store.pending("oncall"), "400", NOON)
    keep(database, resolve(), sweep=2)
    assert states(store) == [(Status.FIRING, State.DEAD), (Status.RESOLVED, State.DROPPED)]
    assert store.log().entries["oncall", incident().fingerprint].status is Status.RESOLVED


def test_a_refused_update_does_not_take_the_resolve_of_an_accepted_trigger_with_it(
    database: StateStore,
) -> None:
    store = keep(database, firing(), update(), resolve())
    store.accepted(store.pending("oncall", 1), "202", NOON)
    store.refused(store.pending("oncall", 1), "400", NOON)
    assert states(store) == [
        (Status.FIRING, State.ACCEPTED),
        (Status.FIRING, State.DEAD),
        (Status.RESOLVED, State.PENDING),
    ]


def test_a_refused_trigger_of_the_next_round_takes_only_its_own_resolve(
    database: StateStore,
) -> None:
    store = keep(database, firing(), resolve(), firing(), resolve())
    for _ in range(2):
        store.accepted(store.pending("oncall", 1), "202", NOON)
    store.refused(store.pending("oncall", 1), "400", NOON)
    assert [state for _, state in states(store)] == [
        State.ACCEPTED,
        State.ACCEPTED,
        State.DEAD,
        State.DROPPED,
    ]


def test_one_notifiers_refusal_leaves_the_others_alone(database: StateStore) -> None:
    store = keep(database, firing(), firing("chat"), resolve(), resolve("chat"))
    store.refused(store.pending("oncall", 1), "400", NOON)
    assert store.waiting() == {"chat": 2}


def test_an_incident_closed_without_a_word_may_be_a_first_one_again(database: StateStore) -> None:
    """A notifier without resolves: over is over, though it was never told."""
    store = keep(database, firing())
    store.accepted(store.pending("oncall"), "202", NOON)
    with database.transaction():
        store.keep(replace(planned(), closed=(("oncall", incident().fingerprint),)), 2, LATER)
    assert store.log().entries["oncall", incident().fingerprint].status is Status.RESOLVED
    assert store.outbox() == []
    assert states(store)[-1] == (Status.RESOLVED, State.CLOSED)


# -- dead letters


def test_a_retried_dead_letter_goes_back_to_its_old_place(database: StateStore) -> None:
    store = keep(database, firing(), firing(about=incident("10.0.0.2")))
    first, second = store.pending("oncall")
    store.refused([first], "403 invalid_token", NOON)
    assert [row.id for row in store.retry(None, LATER)] == [first.id]
    assert [row.id for row in store.pending("oncall")] == [first.id, second.id]
    assert store.dead_letters() == []


def test_a_dead_letter_whose_incident_is_over_is_not_sent_any_more(database: StateStore) -> None:
    """Nobody is to be paged for a collision that ended yesterday, with no resolve to follow."""
    store = keep(database, firing(), resolve())
    store.refused(store.pending("oncall", 1), "403", NOON)
    assert store.retry(None, LATER) == []
    assert [row.stale for row in store.dead_letters()] == [True]


def test_a_dead_letter_that_something_newer_made_up_for_is_not_sent_any_more(
    database: StateStore,
) -> None:
    store = keep(database, firing(), update(), standing=[incident()])
    store.refused(store.pending("oncall", 1), "400", NOON)
    store.accepted(store.pending("oncall", 1), "202", NOON)
    assert store.retry(None, LATER) == []
    assert store.undelivered() == []


def test_only_the_dead_letters_that_were_asked_for_are_retried(database: StateStore) -> None:
    store = keep(database, firing(), firing(about=incident("10.0.0.2")))
    first, second = store.pending("oncall")
    store.refused([first, second], "403", NOON)
    assert [row.id for row in store.retry([second.id], LATER)] == [second.id]
    assert [row.id for row in store.dead_letters()] == [first.id]


def test_retrying_a_number_that_is_no_dead_letter_is_told(database: StateStore) -> None:
    store = keep(database, firing())
    with pytest.raises(UsageError, match="99 is no dead letter"):
        store.retry([99], NOON)


def test_undelivered_is_what_waits_and_what_was_refused_while_its_incident_stands(
    database: StateStore,
) -> None:
    over = incident("10.0.0.2")
    store = keep(database, firing(), firing(about=over), firing("chat"), standing=[incident()])
    store.refused(store.pending("oncall"), "400", NOON)
    assert [
        (row.notification.notifier, row.notification.incident.subject) for row in store.undelivered()
    ] == [
        ("chat", "10.0.0.1"),
        ("oncall", "10.0.0.1"),
    ]


# -- silences


def silence(ident: str = "s1", hours: float = 2) -> Silence:
    """A silence from noon on."""
    return Silence(ident, NOON, NOON + timedelta(hours=hours), "ann", "moved", nodes=frozenset({"a"}))


def test_silences_are_remembered_the_first_to_end_first(database: StateStore, reopened: Reopen) -> None:
    store = NotificationLog(database)
    store.add_silence(silence("s1", 3))
    store.add_silence(silence("s2", 1))
    assert NotificationLog(reopened(database)).silences() == [silence("s2", 1), silence("s1", 3)]


def test_an_expired_silence_ends_now_and_is_still_remembered(database: StateStore) -> None:
    store = NotificationLog(database)
    store.add_silence(silence())
    ended = store.expire_silence("s1", LATER)
    assert ended.ends_at == LATER
    assert store.silences() == [ended]


def test_a_silence_that_is_not_there_or_there_twice_is_told(database: StateStore) -> None:
    store = NotificationLog(database)
    store.add_silence(silence())
    with pytest.raises(UsageError, match="silence s1 already"):
        store.add_silence(silence())
    with pytest.raises(UsageError, match="no silence s2"):
        store.expire_silence("s2", NOON)


# -- pruning


def test_pruning_forgets_what_is_old_and_over(database: StateStore) -> None:
    store = keep(database, firing(), resolve(), now=LONG_AGO)
    for _ in range(2):
        store.accepted(store.pending("oncall", 1), "202", LONG_AGO)
    store.add_silence(replace(silence(), ends_at=LONG_AGO))
    with database.transaction():
        store.prune(NOON - timedelta(days=90))
    assert store.life(incident().fingerprint) == []
    assert store.silences() == []


@pytest.mark.parametrize("state", ["pending", "accepted", "dead"])
def test_pruning_never_forgets_the_last_word_on_what_stands(database: StateStore, state: str) -> None:
    """Else a collision that stands for three months would be a first notification again."""
    store = keep(database, firing(), standing=[incident()], now=LONG_AGO)
    if state != "pending":
        end = store.accepted if state == "accepted" else store.refused
        end(store.pending("oncall"), "answer", LONG_AGO)
    before = store.log()
    with database.transaction():
        store.prune(NOON)
    assert store.log() == before


def test_pruning_keeps_an_old_trigger_whose_resolve_still_waits(database: StateStore) -> None:
    store = keep(database, firing(), now=LONG_AGO)
    store.accepted(store.pending("oncall"), "202", LONG_AGO)
    keep(database, resolve(), sweep=2, now=LATER)
    with database.transaction():
        store.prune(NOON)
    assert states(store) == [(Status.FIRING, State.ACCEPTED), (Status.RESOLVED, State.PENDING)]


def test_pruning_keeps_a_trigger_that_the_other_side_still_takes_for_firing(
    database: StateStore,
) -> None:
    """Its resolve was refused long ago: forgetting that lets the next plan try once more."""
    store = keep(database, firing(), resolve(), now=LONG_AGO)
    store.accepted(store.pending("oncall", 1), "202", LONG_AGO)
    store.refused(store.pending("oncall", 1), "500", LONG_AGO)
    with database.transaction():
        store.prune(NOON)
    assert states(store) == [(Status.FIRING, State.ACCEPTED)]


def test_pruning_keeps_where_nodes_were_seen_as_long_as_something_stands_on_it(
    database: StateStore,
) -> None:
    """A node that is unreachable for months still hides whether its collision stands."""
    hidden, gone = NodeId("dc1", "a"), NodeId("dc1", "z")
    store = NotificationLog(database)
    plan = replace(planned(), standing={"f": stands(incident(), sweep=5)}, nodes={hidden: 5, gone: 4})
    with database.transaction():
        store.keep(plan, 5, LONG_AGO)
        store.prune(NOON)
    assert store.log().nodes == {hidden: 5}


# -- a database that fails


def test_a_record_that_cannot_be_read_is_told_in_one_line(database: StateStore) -> None:
    store = keep(database, firing())
    with database.transaction():
        database.execute(text('UPDATE alerts_notices SET body = \'{"form": "wgaudit.incident/9"}\''))
    with pytest.raises(StateError, match="record that cannot be read") as caught:
        store.log()
    assert "\n" not in str(caught.value)


def test_the_databases_own_complaint_is_told_with_the_place(database: StateStore, place: StatePlace) -> None:
    store = keep(database, firing())
    rows = store.pending("oncall")
    only_read(database, True)
    acts: list[Callable[[], None]] = [
        lambda: store.calling(rows),
        lambda: store.accepted(rows, "202", NOON),
        lambda: store.postponed(rows, "503", None, NOON),
        lambda: store.refused(rows, "400", NOON),
        lambda: store.keep(planned(), 2, NOON),
    ]
    for act in acts:
        with pytest.raises(StateError, match=f"{re.escape(place_name(place))}: .*read-?only"):
            act()
    assert [row.attempts for row in store.outbox()] == [0]


# -- the written form

texts = st.text(max_size=20)
moments = st.integers(0, 4 * 10**15).map(
    lambda us: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)
)
incidents = st.builds(
    Incident,
    fingerprint=texts,
    check=texts,
    severity=st.sampled_from(Severity),
    subject=texts,
    address=texts,
    summary=texts,
    guess=texts,
    nodes=st.lists(st.text(st.characters(exclude_categories=()), max_size=9), max_size=3).map(tuple),
    regions=st.lists(texts, max_size=3).map(tuple),
    routing=st.lists(
        st.tuples(
            texts, st.integers(0, 9), st.lists(st.tuples(texts, st.integers(0, 9)), max_size=2).map(tuple)
        ),
        max_size=2,
    ).map(tuple),
    follows=st.lists(st.tuples(texts, st.integers(0, 9)), max_size=2).map(tuple),
    since=st.none() | moments,
    not_seen_since=st.none() | moments,
)
names = st.frozensets(st.text(st.characters(exclude_categories=()), max_size=9), max_size=3)


@given(incidents)
def test_an_incident_is_read_as_it_was_written(value: Incident) -> None:
    written = INCIDENT.write(value)
    assert INCIDENT.read(written) == value
    assert written.isascii()


@given(
    st.builds(
        Standing,
        incident=incidents,
        first_seen=moments,
        last_seen=moments,
        last_sweep=st.integers(0, 10**9),
        datacenters=names,
        nodes=st.frozensets(st.builds(NodeId, texts, texts), max_size=3),
        everybody=st.booleans(),
    )
)
def test_what_stands_is_read_as_it_was_written(value: Standing) -> None:
    assert STANDING.read(STANDING.write(value)) == value


@given(
    st.builds(
        Silence,
        ident=texts,
        starts_at=moments,
        ends_at=moments,
        created_by=texts,
        comment=texts,
        checks=names,
        addresses=names,
        nodes=names,
        regions=names,
    )
)
def test_a_silence_is_read_as_it_was_written(value: Silence) -> None:
    assert SILENCE.read(SILENCE.write(value)) == value


@pytest.mark.parametrize("foreign", ["", "null", "[]", "{}", "\x00", "[" * 5000, '{"form": 1}', "NaN"])
def test_text_that_is_no_record_is_refused(foreign: str) -> None:
    with pytest.raises(StateError, match="cannot be read"):
        INCIDENT.read(foreign)


@pytest.mark.parametrize(
    "harm",
    [
        "status = 'odd'",
        "reason = ''",
        "state = 'lost'",
        "at = 'noon'",
        "created_at = ''",
        "at = '2026-03-01T12:00:00'",
        "body = '{'",
    ],
)
def test_a_row_that_no_version_of_ours_wrote_is_a_state_error(database: StateStore, harm: str) -> None:
    store = NotificationLog(database)
    keep(database, firing())
    database.execute(text(f"UPDATE alerts_notices SET {harm}"))  # noqa: S608  (this test's own text)
    with pytest.raises(StateError, match="a record that cannot be read"):
        store.life(firing().incident.fingerprint)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE alerts_notices SET created_at = '2026-03-01T12:00:00'",
        "UPDATE alerts_memory SET registered = 9, registered_at = 'noon'",
        "UPDATE alerts_memory SET registered = 9, registered_at = '2026-03-01T12:00:00'",
        "INSERT INTO alerts_unseen (place, sweep) VALUES ('[\"dc1\"]', 1)",
        'INSERT INTO alerts_drifted (place, public_key) VALUES (\'["dc1", "a", "b"]\', \'\')',
    ],
)
def test_a_memory_that_no_version_of_ours_wrote_is_a_state_error(database: StateStore, harm: str) -> None:
    """A time without a zone can be compared with none of ours, and a datacenter is no node."""
    store = NotificationLog(database)
    keep(database, firing())
    database.execute(text(harm.replace(":", r"\:")))
    with pytest.raises(StateError, match="a record that cannot be read"):
        store.log()


def test_the_end_of_an_incident_is_left_out_of_the_memory_once_it_has_no_say_any_more(
    database: StateStore,
) -> None:
    """A watch reads its memory each minute for months: it must not grow with all that ever was."""
    over, still = incident("10.0.0.1"), incident("10.0.0.2")
    store = keep(database, firing(about=over), firing(about=still))
    keep(database, resolve(about=over), sweep=2, now=NOON + timedelta(minutes=1))
    whole = store.log().entries
    assert {mark for _, mark in whole} == {over.fingerprint, still.fingerprint}
    assert whole["oncall", still.fingerprint].pages == (NOON,)
    assert store.log(NOON).entries == whole
    later = store.log(NOON + timedelta(minutes=2)).entries
    assert {mark for _, mark in later} == {still.fingerprint}
    assert later["oncall", still.fingerprint].pages == ()
