"""Sweep after sweep, with an other side that takes, refuses or is down, and a process that dies anywhere.

The plan, the store and the delivery are the real ones; only the other side is a script.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.delivery.deliver import deliver
from alerts.memory.notices import Row, State
from alerts.memory.notification_log import NotificationLog
from alerts.models import Notification, NotifyReason, Policy, Route, Status
from alerts.plan import plan
from auditor.errors import DeliveryError
from auditor.state import history
from auditor.state.state_store import StateStore
from auditor.values.findings import Finding, Severity
from auditor.values.models import NodeId
from auditor.values.report import Coverage, Report, Verdict
from tests.alerts.fakes import NOON, Answer, Clock, Killed, ScriptedNotifier, Told, opened

ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
NODES = tuple(NodeId("dc1", name) for name in "abcd")
NOTIFIERS = ("oncall", "chat", "quiet")
POLICY = Policy(
    routes=(Route("oncall"), Route("chat", repeat_interval=120.0), Route("quiet", send_resolved=False))
)
PER_MESSAGE = {"oncall": 1, "chat": 3, "quiet": 2}

TAKES, REFUSES, IS_DOWN, DIES_BEFORE, DIES_AFTER = "takes", "refuses", "is down", "dies before", "dies after"


@dataclass(frozen=True)
class Step:
    """One sweep: which addresses are contested by how many nodes, how it goes, and how each call goes."""

    contested: dict[str, int]
    dies_before_commit: bool
    answers: tuple[str, ...]
    retries: bool


steps = st.builds(
    Step,
    contested=st.dictionaries(st.sampled_from(ADDRESSES), st.integers(2, 4)),
    dies_before_commit=st.integers(0, 9).map(lambda number: number == 0),
    answers=st.lists(
        st.sampled_from((TAKES, TAKES, TAKES, REFUSES, IS_DOWN, DIES_BEFORE, DIES_AFTER)), max_size=8
    ).map(tuple),
    retries=st.integers(0, 4).map(lambda number: number == 0),
)


def report(number: int, contested: dict[str, int]) -> Report:
    """A sweep that saw everything and found these addresses contested."""
    at = NOON + timedelta(minutes=number)
    return Report(
        verdict=Verdict.FINDINGS if contested else Verdict.CLEAN,
        started_at=at,
        finished_at=at,
        coverage=Coverage(len(NODES), len(NODES)),
        findings=tuple(
            Finding(
                "duplicate-address", Severity.CRITICAL, address, f"in sweep {number}", nodes=NODES[:count]
            )
            for address, count in contested.items()
        ),
        gaps=(),
        registered=frozenset(NODES),
        observed=frozenset(NODES),
    )


@dataclass
class World:
    """What outlives the process: the disk, and what the other sides have seen."""

    path: Path
    seen: dict[str, list[Told]] = field(default_factory=lambda: {name: [] for name in NOTIFIERS})
    """By notifier, all that it took, in order."""
    refused: list[tuple[str, Told]] = field(default_factory=list)
    """What was refused for good, as nothing else was in its message."""
    planned: list[Notification] = field(default_factory=list)
    """All that was ever committed to be told."""
    retried: set[int] = field(default_factory=set)
    """Dead letters that went back to the outbox once, by their number."""
    standing: set[str] = field(default_factory=set)
    """What stood after the last sweep."""
    sweeps: int = 0

    def sweep(self, step: Step) -> None:
        """One process, from its start to its end or its death."""
        self.sweeps += 1
        clock = Clock(seconds=60.0 * self.sweeps)
        with closing(opened(self.path)) as database, suppress(Killed):
            store = NotificationLog(database)
            if step.retries:
                self.retried |= {row.id for row in store.retry(None, clock.now())}
            self.plan(database, store, step, clock.now())
            answers = list(step.answers)
            notifiers = [
                ScriptedNotifier(name, (self.answer(name, answers),), PER_MESSAGE[name]) for name in NOTIFIERS
            ]
            asyncio.run(
                deliver(store, notifiers, budget=20, now=clock.now, clock=clock.clock, sleep=clock.sleep)
            )

    def plan(self, database: StateStore, store: NotificationLog, step: Step, now: datetime) -> None:
        """Plans and commits; a second look at the memory plans nothing more."""
        seen = report(self.sweeps, step.contested)
        made = plan(seen, store.log(), (), now, POLICY)
        with database.transaction():
            number = store.log().sweep
            history.record(database, seen, standing=made.standing, resolved=made.resolved)
            store.keep(made, number, now)
            if step.dies_before_commit:
                raise Killed
        self.planned += made.notifications
        self.standing = set(made.standing)
        assert store.log() == store.log()
        again = plan(seen, store.log(), (), now, POLICY).notifications
        assert [item for item in again if item.reason is not NotifyReason.REPEAT_INTERVAL_ELAPSED] == []

    def answer(self, name: str, answers: list[str]) -> Answer:
        """The other side of one notifier; when the script is used up, it takes everything."""

        def answer(message: list[Told]) -> str:
            kind = answers.pop(0) if answers else TAKES
            if kind == DIES_BEFORE:
                raise Killed
            if kind == IS_DOWN:
                raise DeliveryError("503", permanent=False)
            if kind == REFUSES:
                self.refused += [(name, told) for told in message] if len(message) == 1 else []
                raise DeliveryError("400", permanent=True)
            self.seen[name] += message
            if kind == DIES_AFTER:
                raise Killed
            return "202"

        return answer

    def rows(self) -> list[Row]:
        """All that the database knows, in order."""
        with closing(opened(self.path)) as database:
            store = NotificationLog(database)
            marks = {item.incident.fingerprint for item in self.planned}
            return sorted((row for mark in marks for row in store.life(mark)), key=lambda row: row.id)


def told(row: Row) -> Told:
    """What the other side sees of it."""
    incident = row.notification.incident
    return incident.fingerprint, row.notification.status.value, incident.summary


@settings(max_examples=20, deadline=None)
@given(st.lists(steps, min_size=1, max_size=7), st.dictionaries(st.sampled_from(ADDRESSES), st.just(2)))
def test_whatever_happens_nothing_is_lost_and_nothing_overtakes(
    script: list[Step], end: dict[str, int]
) -> None:
    """Ends with two sweeps in which the other sides take everything."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "wgaudit.db")
        for step in [*script, *[Step(end, dies_before_commit=False, answers=(), retries=False)] * 2]:
            world.sweep(step)
        rows = world.rows()
    for name in NOTIFIERS:
        check(world, name, [row for row in rows if row.notification.notifier == name])


def check(world: World, name: str, rows: list[Row]) -> None:
    """What must hold for each notifier."""
    seen = world.seen[name]
    taken = [row for row in rows if row.state is State.ACCEPTED]
    assert not any(row.state is State.PENDING for row in rows)

    # Nothing is lost: each planned notification is in its place, and what counts as taken was taken.
    repeats = NotifyReason.REPEAT_INTERVAL_ELAPSED
    planned = [item for item in world.planned if item.notifier == name and item.reason is not repeats]
    kept = [
        row.notification
        for row in rows
        if row.notification.reason is not repeats and row.state is not State.CLOSED
    ]
    assert Counter(map(kind, kept)) == Counter(map(kind, planned))
    assert {told(row) for row in taken} <= set(seen)

    # Dead letters are complete, unless they were retried or told with every sweep anyway.
    dead = {told(row) for row in rows if row.state is State.DEAD or row.id in world.retried}
    if name != "chat":
        assert {message for notifier, message in world.refused if notifier == name} <= dead

        # In order: each arrives first after all that were planned before it.
        ordered = [told(row) for row in taken if row.id not in world.retried]
        first_seen = list(dict.fromkeys(message for message in seen if message in set(ordered)))
        assert first_seen == ordered

    # Dead letters of which nobody knows whether they arrived before they were refused.
    unclear = {told(row)[0] for row in rows if row.state is State.DEAD and row.unclear}
    for mark in {message[0] for message in seen} - unclear:
        life = [(status, summary) for found, status, summary in seen if found == mark]
        # A resolve comes only after a trigger, or is the same one again after a death.
        assert life[0][0] == Status.FIRING
        for before, after in pairwise(life):
            assert after[0] == Status.FIRING or before[0] == Status.FIRING or after == before
        # The other side is left with the newest word that it took.
        assert life[-1][0] == [row for row in taken if told(row)[0] == mark][-1].notification.status

    # Nobody is left believing that what is over still stands, unless the resolve was refused.
    refused_resolves = {
        told(row)[0] for row in rows if row.state is State.DEAD and told(row)[1] == "resolved"
    }
    if name != "quiet":
        for mark in {message[0] for message in seen} - world.standing - refused_resolves:
            assert [status for found, status, _ in seen if found == mark][-1] == Status.RESOLVED

    # Never two first words without the last one between.
    if name != "quiet":
        for mark in {item.incident.fingerprint for item in planned}:
            reasons = [item.reason for item in planned if item.incident.fingerprint == mark]
            for reason, following in pairwise(reasons):
                ended = reason is NotifyReason.RESOLVED
                begins = following in (NotifyReason.FIRST_NOTIFICATION, NotifyReason.FLAPPING)
                assert ended is begins


def kind(notification: Notification) -> tuple[str, str, str]:
    """What a notification is, apart from its changing words."""
    return notification.incident.fingerprint, notification.status.value, notification.reason.value
