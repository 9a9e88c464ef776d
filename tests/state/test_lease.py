"""The lease in a real PostgreSQL: its server's clock decides, and nobody writes but the one who holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from auditor.errors import NotLeading, StateError
from auditor.service.alert_state import state_tables
from auditor.state.audit_tables import LEASE
from auditor.state.lease import OVERDUE, Lease, guard, hold_leader, leader_in
from auditor.state.opening import open_store
from auditor.state.state_store import StateStore
from tests.parts.cut_socket import CutSocket, Way
from tests.parts.postgresql import PostgresqlServer

SECONDS = 0.6
A_WHILE = 30.0
WITHIN = 1.5
"""Seconds for which the server, and who asks it, wait for anything."""

Asking = Callable[[str], Lease]


@pytest.fixture
def url(postgresql: PostgresqlServer) -> Iterator[SecretStr]:
    """A database that has the tables, and is gone after the test."""
    database = postgresql.fresh("prepared")
    yield postgresql.url(database)
    postgresql.drop(database)


@pytest.fixture
def asking(url: SecretStr) -> Iterator[Asking]:
    """Makes auditors that ask for the lease."""
    with ExitStack() as stack:

        def made(holder: str) -> Lease:
            lease = Lease(lambda: open_store(url, state_tables(), WITHIN), holder, SECONDS)
            return stack.enter_context(closing(lease))

        yield made


@pytest.fixture
def store(url: SecretStr) -> Iterator[StateStore]:
    """The state as an auditor writes it."""
    with closing(open_store(url, state_tables(), WITHIN)) as opened:
        yield opened


@pytest.fixture
def follower(asking: Asking, store: StateStore) -> Lease:
    """Asks for the lease, after another auditor in whose epoch the store writes."""
    b = asking("b")
    asking("a").ask(None)
    b.ask(None)
    store.begun = guard(1, SECONDS)
    return b


def test_one_holds_it_until_it_is_over_and_the_next_one_has_the_next_epoch(asking: Asking) -> None:
    a, b = asking("a"), asking("b")
    row, holds = a.ask(None)
    assert (row.holder, row.epoch, holds) == ("a", 1, True)
    row, holds = b.ask(None)
    assert (row.holder, row.epoch, holds) == ("a", 1, False)
    time.sleep(row.left + 0.01)
    assert not a.ask(1, take=False)[1], "what is over is not renewed"
    row, holds = b.ask(None)
    assert (row.holder, row.epoch, holds) == ("b", 2, True)
    assert not a.ask(1)[1]


def test_whoever_renews_it_keeps_it_and_whoever_gives_it_back_lets_the_next_one_in(asking: Asking) -> None:
    a, b = asking("a"), asking("b")
    a.ask(None)
    for _ in range(4):
        time.sleep(SECONDS / 3)
        assert a.ask(1)[1]
    assert not b.ask(None)[1]
    b.release(1 + 1)
    assert a.ask(1)[1], "it ends for its own epoch alone"
    a.release(1)
    assert b.ask(None)[1]


def test_a_stale_epoch_writes_nothing(asking: Asking, store: StateStore) -> None:
    asking("a").ask(None)
    store.begun = guard(1, SECONDS)
    with store.transaction():
        pass
    time.sleep(SECONDS + 0.01)
    asking("b").ask(None)
    written = False
    with pytest.raises(NotLeading), store.transaction():
        written = True
    assert not written


def test_nobody_takes_it_in_the_middle_of_a_transaction_however_long_and_nobody_waits_for_that(
    follower: Lease, store: StateStore
) -> None:
    with store.transaction():
        time.sleep(SECONDS + 0.1)
        began = time.monotonic()
        assert not follower.ask(None)[1]
        assert time.monotonic() - began < 0.5
    assert follower.ask(None)[1]


def test_a_holder_that_is_frozen_in_a_transaction_is_ended_by_the_server(
    follower: Lease, store: StateStore
) -> None:
    took_over: list[bool] = []

    def freeze() -> None:
        with store.transaction():
            time.sleep(WITHIN + 0.3)
            took_over.append(follower.ask(None)[1])

    with pytest.raises(StateError):
        freeze()
    assert took_over == [True]
    found = leader_in(store)
    assert found is not None
    assert found.holder == "b"


def test_a_holder_that_is_frozen_among_statements_that_it_sends_at_once_is_ended_by_who_takes_over(
    follower: Lease, store: StateStore
) -> None:
    """The server waits for the rest of them, and none of its own bounds is for that."""
    took_over: list[float] = []

    def freeze() -> None:
        with store.transaction() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            began = time.monotonic()
            with driver.pipeline():
                driver.execute("SELECT 1")
                while not follower.ask(None)[1]:
                    assert time.monotonic() - began < OVERDUE + 10.0
                    time.sleep(0.1)
                took_over.append(time.monotonic() - began)

    with pytest.raises(StateError):
        freeze()
    assert took_over[0] > OVERDUE, "it may be slow until then"


def test_while_another_one_brings_back_what_it_told_the_leader_writes_nothing_and_then_goes_on(
    asking: Asking, store: StateStore, url: SecretStr
) -> None:
    asking("a").ask(None)
    store.begun = guard(1, A_WHILE)
    with store.transaction():
        pass
    wrote = threading.Event()

    def write() -> None:
        with closing(open_store(url, state_tables(), WITHIN)) as leading:
            leading.begun = guard(1, A_WHILE)
            with leading.transaction():
                wrote.set()

    store.begun = hold_leader
    writing = threading.Thread(target=write)
    with store.transaction():
        writing.start()
        with psycopg.connect(url.get_secret_value().replace("+psycopg", ""), autocommit=True) as watching:
            while not watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                assert not wrote.wait(0.01), "it wrote meanwhile"
    writing.join(10.0)
    assert wrote.is_set()


def test_of_two_that_ask_at_once_one_gets_it(asking: Asking) -> None:
    everybody = [asking(f"{number}") for number in range(6)]
    got: list[bool] = []
    threads = [threading.Thread(target=lambda one=one: got.append(one.ask(None)[1])) for one in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 5 + [True]


def test_what_another_auditor_calls_itself_is_one_bounded_line(asking: Asking, store: StateStore) -> None:
    asking("a\n\x1b[31mb" + "c" * 500).ask(None)
    found = leader_in(store)
    assert found is not None
    assert "\n" not in found.holder
    assert "\x1b" not in found.holder
    assert len(found.holder) <= 100


def test_a_server_that_falls_silent_holds_up_nobody(postgresql: PostgresqlServer) -> None:
    database = postgresql.fresh("prepared")
    real = postgresql.folder / ".s.PGSQL.5432"
    sockets = postgresql.folder / "way"
    sockets.mkdir()
    with CutSocket(sockets / real.name, real) as way:
        url = SecretStr(f"postgresql+psycopg://wgaudit@/{database}?host={sockets}")
        with closing(open_store(url, state_tables(), 0.4)) as store:
            way.set(Way.DARK)
            began = time.monotonic()
            with pytest.raises(StateError, match=r"no answer within 0\.4 s"):
                store.rows(select(LEASE))
            assert time.monotonic() - began < 2.0
            way.set(Way.OPEN)
            assert store.rows(select(LEASE)) == ()
    postgresql.drop(database)


def test_the_sessions_of_an_auditor_are_bounded_on_the_server_too(url: SecretStr, store: StateStore) -> None:
    with store.reading() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        limit = driver.execute("SHOW idle_in_transaction_session_timeout").fetchone()
    assert limit == ("1500ms",)
