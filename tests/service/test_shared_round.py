"""`sweep --alert` from two timers on one PostgreSQL: one of the two tells, whoever dies; and the database away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from auditor.gather.progress_events import Unwatched
from auditor.service.alert_session import AlertSession
from auditor.service.alert_state import opened_state, state_place, state_tables
from auditor.service.alert_trials import state_trials
from auditor.service.outbox import retry_letters
from auditor.settings.file import Config, parse_config
from auditor.state.audit_tables import LEASE as STATE_LEASE
from auditor.state.lease import Lease
from auditor.state.opening import open_store
from auditor.values.report import Report
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Reply
from tests.parts.cut_socket import CutSocket, Way
from tests.parts.postgresql import PostgresqlServer
from tests.service.killed_watch import report

LEASE = 15.0
FOUND = report(["10.0.0.1"])
CLEAN = report([])


class Complaints(Unwatched):
    """Keeps what is complained of."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def complain(self, line: str) -> None:
        """Keep one line."""
        self.lines.append(line)


@pytest.fixture
def pager() -> Iterator[PagerDutyDouble]:
    """A PagerDuty."""
    with PagerDutyDouble() as double:
        yield double


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """A webhook, which knows no keys."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def database(postgresql: PostgresqlServer) -> Iterator[str]:
    """A database that is gone after the test."""
    name = postgresql.fresh("prepared")
    yield name
    postgresql.drop(name)


def config_on(folder: Path, database: str, pager: PagerDutyDouble, hook: Receiver) -> Config:
    """A state on the server whose socket is in the folder, and two notifiers."""
    document = {
        "state": {"url": f"postgresql+psycopg://wgaudit@/{database}?host={folder}", "lease": LEASE},
        "notifiers": [
            {"name": "hook", "type": "webhook", "url": hook.url},
            {"name": "oncall", "type": "pagerduty", "routing_key": ROUTING_KEY, "api": pager.url},
        ],
    }
    return parse_config(document, "a test")


@pytest.fixture
def config(postgresql: PostgresqlServer, database: str, pager: PagerDutyDouble, hook: Receiver) -> Config:
    """The configuration of both."""
    return config_on(postgresql.folder, database, pager, hook)


class Look:
    """A look that lasts until it is let go."""

    def __init__(self) -> None:
        self.began, self.over = asyncio.Event(), asyncio.Event()


async def swept(config: Config, look: Look | None = None, found: Report = FOUND) -> Swept:
    """One sweep with alerts."""
    complaints = Complaints()
    async with AlertSession(config, complaints, budget=20.0).round() as current:
        current.remembered()
        if look is not None:
            look.began.set()
            await look.over.wait()
        await current.deliver(current.plan(replace(found, finished_at=datetime.now(UTC))))
        return Swept(current.handed_over, current.tells, complaints.lines)


@dataclass(frozen=True)
class Swept:
    """What a sweep came to."""

    handed_over: bool
    tells: bool
    lines: list[str]


async def leader_of(config: Config) -> str:
    """Who holds the lease, as `doctor` has it; "": nobody."""
    trials = await asyncio.to_thread(lambda: {trial.part: trial for trial in state_trials(config)})
    got = trials["leader"].got
    return got.partition(", epoch")[0] if "for " in got else ""


def end_lease(config: Config) -> None:
    """Let the lease be over, as after its seconds."""
    with opened_state(state_place(config)) as state:
        state.store.execute(
            update(STATE_LEASE).values(until=datetime(2000, 1, 1, tzinfo=UTC), epoch=STATE_LEASE.c.epoch + 1)
        )


async def test_of_two_sweeps_at_once_one_tells_and_the_other_says_who(
    config: Config, pager: PagerDutyDouble
) -> None:
    look = Look()
    first = asyncio.create_task(swept(config, look))
    await look.began.wait()
    holder = await leader_of(config)
    second = await swept(config)
    assert (second.tells, second.handed_over) == (False, True)
    assert second.lines == [f"alerts: who leads: {holder}, epoch 1; this auditor tells nobody"]
    assert pager.events == []
    look.over.set()
    done = await first
    assert (done.tells, done.lines) == (True, [])
    assert len(pager.events) == 1
    assert (await swept(config)).tells, "a lease that was given back is free at once"
    assert len(pager.events) == 1


async def test_a_sweep_takes_over_from_one_that_died_while_both_looked(
    config: Config, pager: PagerDutyDouble
) -> None:
    place, look = state_place(config), Look()
    with closing(Lease(lambda: open_store(place, state_tables()), "a sweep that dies", LEASE)) as lease:
        await asyncio.to_thread(lease.ask, None)
        survivor = asyncio.create_task(swept(config, look))
        await look.began.wait()
    end_lease(config)
    look.over.set()
    assert (await survivor).tells
    assert len(pager.events) == 1


async def test_what_another_sweep_planned_meanwhile_is_not_taken_back_by_an_older_look(
    config: Config, pager: PagerDutyDouble
) -> None:
    look = Look()
    older = asyncio.create_task(swept(config, look, CLEAN))
    await look.began.wait()
    # The older one loses its lease, as one that was frozen does, and the newer one tells.
    end_lease(config)
    assert (await swept(config)).tells
    look.over.set()
    await older
    assert [event["event_action"] for event in pager.events] == ["trigger"]


async def test_a_sweep_without_its_database_tells_those_that_know_an_incident_by_its_key(
    postgresql: PostgresqlServer, database: str, pager: PagerDutyDouble, hook: Receiver
) -> None:
    real = postgresql.folder / ".s.PGSQL.5432"
    sockets = postgresql.folder / f"way-{database}"
    sockets.mkdir()
    with CutSocket(sockets / real.name, real) as way:
        config = config_on(sockets, database, pager, hook)
        way.set(Way.CLOSED)
        for _ in range(2):
            done = await swept(config)
            assert not done.handed_over
            assert "what stands is told to oncall" in done.lines[0]
        assert hook.notifications == []
        assert len({event["dedup_key"] for event in pager.events}) == 1
        way.set(Way.OPEN)
        done = await swept(config)
        assert done.handed_over
        assert len(hook.notifications) == 1


async def test_dead_letters_are_sent_by_the_one_that_leads(config: Config, hook: Receiver) -> None:
    hook.fault = Reply(400, b"no")
    await swept(config)
    hook.fault = None
    look = Look()
    leading = asyncio.create_task(swept(config, look))
    await look.began.wait()
    retried = await retry_letters(config, (), budget=10.0, lock_wait=0.0)
    assert (retried.to_watch, retried.receipts) == (1, ())
    look.over.set()
    await leading
    assert len(hook.notifications) == 1
