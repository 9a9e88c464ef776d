"""The copy of alerting's memory: what was told from it is brought back, and another auditor's words stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.memory.mirror import Mirror
from alerts.memory.mirrored_log import MirroredLog
from alerts.memory.notices import State
from alerts.memory.notification_log import NotificationLog
from alerts.memory.told_meanwhile import KnownCalls, told_meanwhile
from auditor.errors import StateError
from auditor.service.alert_state import state_tables
from auditor.state.opening import store_in_memory
from auditor.state.state_store import StateStore
from tests.alerts.fakes import NOON, firing, incident, keep, only_read, planned, resolve

LONG_AGO = NOON - timedelta(hours=2)
OTHER = incident("10.0.0.2")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """An empty copy."""
    with closing(store_in_memory(state_tables())) as store:
        yield Mirror(store)


def told(store: StateStore) -> list[tuple[str, str, str, int]]:
    """What is on record: subject, status, stage, calls."""
    return [
        (
            row.notification.incident.subject,
            row.notification.status.value,
            row.state.value,
            row.attempts,
        )
        for row in NotificationLog(store).every()
    ]


def take(log: NotificationLog) -> None:
    """Tell all that waits, as the other side took it."""
    rows = log.pending("oncall")
    log.calling(rows)
    log.accepted(rows, "taken", NOON)


def test_a_copy_plans_as_the_memory_itself_does(database: StateStore, mirror: Mirror) -> None:
    keep(database, firing(), standing=[incident()], sweep=7)
    mirror.renew(database, LONG_AGO)
    assert NotificationLog(mirror.store).log() == NotificationLog(database).log()


def test_what_was_told_while_the_database_was_away_is_told_there(
    database: StateStore, mirror: Mirror
) -> None:
    keep(database, firing(), standing=[incident()])
    mirror.renew(database, LONG_AGO)
    alone = NotificationLog(mirror.store)
    take(alone)
    alone.keep(planned(firing(about=OTHER), standing=[incident(), OTHER]), 2, NOON)
    take(alone)
    mirror.bring_back(database, plans=True)
    assert told(database) == [("10.0.0.1", "firing", "accepted", 1), ("10.0.0.2", "firing", "accepted", 1)]
    assert NotificationLog(database).log().standing == alone.log().standing
    assert NotificationLog(database).log().sweep == alone.log().sweep


def test_what_another_one_told_meanwhile_is_not_overwritten_and_both_calls_are_counted(
    database: StateStore, mirror: Mirror
) -> None:
    keep(database, firing(), standing=[incident()])
    mirror.renew(database, LONG_AGO)
    alone = NotificationLog(mirror.store)
    alone.keep(planned(firing(about=OTHER), standing=[incident(), OTHER]), 2, NOON)
    take(alone)
    leader = NotificationLog(database)
    leader.keep(planned(resolve(), firing(about=OTHER), standing=[OTHER]), 9, NOON)
    take(leader)
    mirror.bring_back(database, plans=True)
    assert told(database) == [
        ("10.0.0.1", "firing", "accepted", 2),
        ("10.0.0.1", "resolved", "accepted", 1),
        ("10.0.0.2", "firing", "accepted", 2),
    ]
    assert set(NotificationLog(database).log().standing) == {OTHER.fingerprint}
    assert NotificationLog(database).log().sweep == 10
    assert NotificationLog(database).perhaps_twice() == {"oncall": 2}


def test_a_follower_brings_back_what_it_told_and_none_of_its_plans(
    database: StateStore, mirror: Mirror
) -> None:
    mirror.renew(database, LONG_AGO)
    alone = NotificationLog(mirror.store)
    alone.keep(planned(firing(), standing=[incident()]), 1, NOON)
    take(alone)
    alone.keep(planned(firing(about=OTHER), standing=[incident(), OTHER]), 2, NOON)
    mirror.bring_back(database, plans=False)
    assert told(database) == [("10.0.0.1", "firing", "accepted", 1)]
    assert NotificationLog(database).log().standing == {}


def test_what_was_sent_is_known_although_the_database_could_not_take_it_down(
    database: StateStore, mirror: Mirror
) -> None:
    keep(database, firing(), standing=[incident()])
    mirror.renew(database, LONG_AGO)
    log = MirroredLog(database, mirror.store)
    rows = log.pending("oncall")
    log.calling(rows)
    only_read(database, True)
    with pytest.raises(StateError):
        log.accepted(rows, "taken", NOON)
    only_read(database, False)
    mirror.begin_alone()
    assert NotificationLog(mirror.store).pending("oncall") == []
    mirror.bring_back(database, plans=False)
    assert told(database) == [("10.0.0.1", "firing", "accepted", 1)]


def test_a_call_that_could_not_be_announced_is_marked_nowhere(database: StateStore, mirror: Mirror) -> None:
    keep(database, firing(), standing=[incident()])
    mirror.renew(database, LONG_AGO)
    log = MirroredLog(database, mirror.store)
    rows = log.pending("oncall")
    only_read(database, True)
    with pytest.raises(StateError):
        log.calling(rows)
    only_read(database, False)
    (row,) = NotificationLog(mirror.store).pending("oncall")
    assert (row.attempts, row.state) == (0, State.PENDING)


def _row(
    ident: int, state: State, attempts: int, *, pair: int = 0, status: str = "firing"
) -> dict[str, object]:
    return {
        "id": ident,
        "notifier": "oncall",
        "fingerprint": f"{pair}",
        "status": status,
        "state": state.value,
        "attempts": attempts,
        "declined": 0,
        "detail": "",
        "at": "",
    }


_STAGES = st.sampled_from([State.PENDING, State.ACCEPTED, State.DEAD])
_ROWS = st.lists(st.tuples(_STAGES, st.integers(0, 2), st.sampled_from(["firing", "resolved"])), max_size=5)


@given(_ROWS, _ROWS, st.booleans())
def test_whatever_both_did_no_row_of_the_other_changes_but_by_a_count_or_out_of_the_outbox(
    mine: list[tuple[State, int, str]], theirs: list[tuple[State, int, str]], led: bool
) -> None:
    known = {1: KnownCalls(0, 0)}
    own = [
        _row(1, State.ACCEPTED, 1),
        *(_row(10 + n, state, calls, status=status) for n, (state, calls, status) in enumerate(mine)),
    ]
    others = [
        _row(1, State.PENDING, 0),
        *(_row(10 + n, state, calls, status=status) for n, (state, calls, status) in enumerate(theirs)),
    ]
    changes = told_meanwhile(known, own, others, led=led)
    there = {row["id"]: row for row in others}
    changed = [item["this"] for item in (*changes.moved, *changes.counted)]
    assert len(changed) == len(set(changed)), "one row is changed once"
    assert all(there[item["this"]]["state"] == State.PENDING.value for item in changes.moved)
    assert all(item["becomes"] != State.PENDING.value for item in changes.moved)
    calls = sum(item["calls"] for item in (*changes.moved, *changes.counted))
    calls += sum(row["attempts"] for row in changes.added)
    own_calls = sum(int(str(row["attempts"])) for row in own)
    # All calls are on record where this auditor's word counts, or where the other one has none on the incident.
    assert calls == own_calls if led or not theirs else calls <= own_calls
