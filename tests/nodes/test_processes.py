"""Worker processes: the same result as from one, each text fetched once, and nothing hangs or stays behind."""

from __future__ import annotations

import asyncio
import errno
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.gather.sweep import SweepOptions, sweep
from auditor.nodes.interface import TableStore
from auditor.nodes.processes import Processes, fitting, usable_cores
from auditor.nodes.processes.count import MOST, NODES_EACH
from auditor.nodes.ssh import SshNodes
from auditor.settings.file import SshSettings
from auditor.values.models import Observation, RegistryReading, RouteTable, Snapshot
from tests.fakes import MemoryRegistry
from tests.fleets import trio
from tests.nodes.bench import Bench
from tests.nodes.obedient import LARGE, TABLE, Obedient, registered

KILLED = "a worker process ended (signal 9)"


@pytest.fixture
def obedient(tmp_path: Path) -> Callable[[int | None], Processes]:
    """Makes the source whose nodes do what their names say."""
    return lambda count: Processes(partial(Obedient, tmp_path / "fetches", None), count)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No test leaves a process behind."""
    yield
    assert multiprocessing.active_children() == []


@asynccontextmanager
async def entered(nodes: Processes, *names: str) -> AsyncIterator[Processes]:
    """The source, once it expects these nodes; it must leave no task behind."""
    before = asyncio.all_tasks()
    async with nodes:
        nodes.expect([registered(name) for name in names])
        yield nodes
    assert asyncio.all_tasks() == before


async def observed(nodes: Processes, *names: str, tables: TableStore | None = None) -> list[object]:
    """What becomes of each look: an observation or an error; all of them are asked at once, in this order."""
    store = tables or TableStore()
    looks = (nodes.observe(registered(name), store) for name in names)
    return await asyncio.gather(*looks, return_exceptions=True)


def told(outcome: object) -> object:
    """A gap's reason and detail; anything else as it is."""
    return (outcome.reason, outcome.detail) if isinstance(outcome, ProbeError) else outcome


class Line:
    """A line of the log that a test waits for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.came = asyncio.Event()


@contextmanager
def logged(*lines: Line) -> Iterator[None]:
    """Notices these lines in the parent's log."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for line in lines:
                if line.text in record.getMessage():
                    line.came.set()

    listener = Listener()
    logging.getLogger().addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(listener)


class Counting(TableStore):
    """Says when so many have come for a table beside the first one."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self._missing = others + 1
        self.all_came = asyncio.Event()

    async def obtain(self, digest: str, fetch: Callable[[], Awaitable[RouteTable]]) -> str:
        self._missing -= 1
        if not self._missing:
            self.all_came.set()
        return await super().obtain(digest, fetch)


# How many


@pytest.mark.parametrize(
    ("nodes", "cores", "processes"),
    [(0, 8, 1), (2_500, 8, 1), (4_999, 8, 1), (5_000, 8, 2), (5_000, 1, 1), (10_000, 3, 3), (10**6, 128, 8)],
)
def test_a_small_fleet_gets_one_process_and_a_large_one_what_the_machine_has(
    nodes: int, cores: int, processes: int
) -> None:
    assert fitting(nodes, cores) == processes


@given(st.integers(0, 10**7), st.integers(1, 512))
def test_no_worker_has_too_little_to_do_for_what_it_costs(nodes: int, cores: int) -> None:
    processes = fitting(nodes, cores)
    assert 1 <= processes <= min(cores, MOST)
    assert processes == 1 or nodes / processes >= NODES_EACH


@pytest.mark.parametrize(
    ("text", "granted"), [("150000 100000", 1), ("1000 100000", 1), ("max 100000", None), ("", None)]
)
def test_a_containers_share_of_the_machine_bounds_the_processes(
    tmp_path: Path, text: str, granted: int | None
) -> None:
    """As cgroups of version 2 have it: microseconds of each period, or max."""
    (tmp_path / "cpu.max").write_text(text)
    whole = usable_cores(tmp_path / "missing")
    assert whole == len(os.sched_getaffinity(0))
    assert usable_cores(tmp_path / "cpu.max") == min(whole, granted or whole)


async def test_a_small_fleet_starts_no_process_unless_told_to(
    obedient: Callable[[int | None], Processes],
) -> None:
    for count, children in ((None, 0), (1, 0), (3, 3)):
        async with entered(obedient(count), "a", "b"):
            assert len(multiprocessing.active_children()) == children


# The same result


MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def timeless(snapshot: Snapshot) -> Snapshot:
    """The snapshot without times and order."""
    return replace(
        snapshot,
        started_at=MOMENT,
        finished_at=MOMENT,
        observations=tuple(sorted(snapshot.observations, key=lambda item: item.node)),
        gaps=tuple(sorted(snapshot.gaps, key=lambda gap: gap.node or "")),
    )


async def test_a_sweep_sees_the_same_with_any_number_of_processes(
    obedient: Callable[[int | None], Processes], tmp_path: Path
) -> None:
    """Observations, tables, and each gap to the letter; only as many texts are fetched as there are tables."""
    names = ("a", "b", "own-a", "own-b", "refuse", "surprise", "large-a", "c", "d")
    registry = MemoryRegistry(RegistryReading(tuple(map(registered, names))))
    seen = []
    for count in (1, 2, 3):
        (tmp_path / "fetches").unlink(missing_ok=True)
        async with obedient(count) as nodes:
            snapshot = await sweep(registry, nodes, trio().policy, SweepOptions(4, confirm_after=None))
        seen.append(timeless(snapshot))
        fetches = [line.split() for line in (tmp_path / "fetches").read_text().splitlines()]
        assert len(fetches) == 3
        assert (str(os.getpid()) in {process for process, _ in fetches}) is (count == 1)
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0].observations) == 7


def ssh_nodes(settings: SshSettings, _: int) -> SshNodes:
    """The real source, for a worker."""
    return SshNodes(settings, "wg0")


async def test_a_fleet_of_real_ssh_servers_is_asked_for_one_text_by_all_processes(bench: Bench) -> None:
    """The digest of each node, and the text once: as with one process."""
    server = bench.sshd()
    settings = SshSettings.model_validate(
        {
            "user": server.user,
            "identity_files": [bench.identity],
            "known_hosts": bench.known_hosts,
            "config_file": None,
            "connect_timeout": 120.0,
            "command_timeout": 120.0,
        }
    )
    fleet = [bench.registered(server, f"n{number}") for number in range(6)]
    results: list[list[Observation]] = []
    for count in (1, 3):
        asked, tables = len(bench.node.calls), TableStore()
        async with Processes(partial(ssh_nodes, settings), count) as nodes:
            nodes.expect(fleet)
            results.append(await asyncio.gather(*(nodes.observe(item, tables) for item in fleet)))
        calls = bench.node.calls[asked:]
        assert calls.count("wg show wg0 allowed-ips") == len(fleet) + 1
        assert len(tables.tables) == 1
    assert results[0] == results[1]


async def test_large_texts_in_both_directions_do_not_block_each_other(
    obedient: Callable[[int | None], Processes],
) -> None:
    """More than a socket takes comes from the workers, while more than it takes goes to them."""
    names = [f"large-{number}" for number in range(20)]
    tables = TableStore()
    async with entered(obedient(2), *(f"registered-{number}" for number in range(20_000))) as nodes:
        seen = await observed(nodes, *names, tables=tables)
    assert [item.digested for item in seen if isinstance(item, Observation)] == [False] * 20
    assert len(tables.tables) == 20
    assert sum(len(table.text) for table in tables.tables.values()) > 19 * LARGE


async def test_work_is_dealt_out_to_whoever_has_least_to_do(
    obedient: Callable[[int | None], Processes], tmp_path: Path
) -> None:
    async with entered(obedient(3)) as nodes:
        await observed(nodes, *(f"own-{number}" for number in range(6)))
    processes = [line.split()[0] for line in (tmp_path / "fetches").read_text().splitlines()]
    assert sorted(processes.count(process) for process in set(processes)) == [2, 2, 2]


async def test_workers_know_the_mesh_and_with_how_many_they_share_what_is_bounded(
    obedient: Callable[[int | None], Processes],
) -> None:
    async with entered(obedient(2), "a", "b", "c") as nodes:
        seen = await observed(nodes, "report-1", "report-2")
        nodes.expect([registered("d")])
        seen += await observed(nodes, "report-3")
    said = [item.region or "" for item in seen if isinstance(item, Observation)]
    assert [words.rpartition(",")[0] for words in said] == [
        "expects 3, shares with 2",
        "expects 3, shares with 2",
        "expects 1, shares with 2",
    ]


async def test_a_node_is_asked_again_by_the_process_that_knows_it(
    obedient: Callable[[int | None], Processes],
) -> None:
    """A timeout that was in vain makes the next one shorter, which one process alone has learnt."""
    async with entered(obedient(3)) as nodes:
        first = await observed(nodes, "report-1", "report-2", "report-3")
        again = await observed(nodes, "report-3", "report-2", "report-1")
    assert first == again[::-1]
    assert len({item.region for item in first if isinstance(item, Observation)}) == 3


# Workers that end


async def test_a_worker_that_is_killed_makes_its_nodes_gaps_and_the_others_go_on(
    obedient: Callable[[int | None], Processes],
) -> None:
    """Who is asked first is with the one that dies; who is asked second is not."""
    async with entered(obedient(2)) as nodes:
        outcomes = await observed(nodes, "wait-with-it", "a", "die")
        assert told(outcomes[0]) == told(outcomes[2]) == (GapReason.INTERNAL, KILLED)
        assert isinstance(outcomes[1], Observation)
        later = await observed(nodes, *"abcdef")
        assert all(isinstance(outcome, Observation) for outcome in later)


async def test_when_all_workers_were_killed_each_node_is_a_gap(
    obedient: Callable[[int | None], Processes],
) -> None:
    async with entered(obedient(2)) as nodes:
        await observed(nodes, "die-1", "die-2")
        (outcome,) = await observed(nodes, "a")
    assert told(outcome) == (GapReason.INTERNAL, f"no worker process is left: {KILLED}")


async def test_a_worker_that_is_killed_while_it_fetches_a_table_holds_nobody_up(
    obedient: Callable[[int | None], Processes],
) -> None:
    """The next one who shows the digest fetches it."""
    store = Counting(0)
    async with entered(obedient(2)) as nodes:
        first = asyncio.create_task(nodes.observe(registered("dieFetching"), store))
        await store.all_came.wait()
        second = await nodes.observe(registered("a"), store)
        await asyncio.wait([first])
    assert told(first.exception()) == (GapReason.INTERNAL, KILLED)
    assert list(store.tables) == [second.table] == [TABLE.digest]


async def test_the_end_of_a_worker_is_told(
    obedient: Callable[[int | None], Processes], caplog: pytest.LogCaptureFixture
) -> None:
    """On stderr also without --verbose: it is the machine's fault, and nobody sees it on the nodes."""
    async with entered(obedient(2)) as nodes:
        await observed(nodes, "die")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"{KILLED}; the nodes that it was looking at are gaps: 1"
    ]


async def test_a_worker_that_cannot_be_set_up_says_why_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The parent could: a file went away in between."""
    async with entered(Processes(partial(Obedient, tmp_path / "fetches", os.getpid()), 2)) as nodes:
        (outcome,) = await observed(nodes, "a")
    assert told(outcome) == (GapReason.INTERNAL, "a worker process ended (exit 1)")
    said = "a worker process cannot start: planted: this cannot be built in a worker"
    assert said in [record.getMessage() for record in caplog.records]


def test_settings_that_cannot_be_used_are_told_before_any_process_is_started(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="planted"):
        Processes(partial(Obedient, tmp_path / "fetches", -1), 2)


async def test_where_no_process_can_be_started_this_one_does_the_work(
    obedient: Callable[[int | None], Processes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def exhausted() -> NoReturn:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    nodes = obedient(2)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", exhausted)
        nodes.expect([registered("a")])
    (outcome,) = await observed(nodes, "a")
    assert isinstance(outcome, Observation)
    assert "started 0 worker processes of 2: Too many open files" in caplog.text


# Ends


async def test_a_look_that_is_cancelled_is_cancelled_in_the_worker(
    obedient: Callable[[int | None], Processes],
) -> None:
    """And the worker goes on with others."""
    began, ended = Line("wait-a began"), Line("wait-a ended")
    async with entered(obedient(2)) as nodes:
        with logged(began, ended):
            look = asyncio.create_task(nodes.observe(registered("wait-a"), TableStore()))
            await began.came.wait()
            look.cancel()
            await asyncio.wait([look])
            assert look.cancelled()
            await ended.came.wait()
        assert all(isinstance(outcome, Observation) for outcome in await observed(nodes, "a", "b"))


async def test_one_who_waits_for_a_table_that_another_process_fetches_can_be_cancelled(
    obedient: Callable[[int | None], Processes],
) -> None:
    """The store is the parent's: a lock that nobody gives back would hold up all the others."""
    store, may_go_on, began = Counting(3), asyncio.Event(), asyncio.Event()

    async def slow() -> NoReturn:
        began.set()
        await may_go_on.wait()
        raise ProbeError(GapReason.CONNECTION_LOST, "planted")

    async with entered(obedient(2)) as nodes:
        first = asyncio.create_task(store.obtain(TABLE.digest, slow))
        await began.wait()
        looks = [asyncio.create_task(nodes.observe(registered(name), store)) for name in "abc"]
        await store.all_came.wait()
        looks[0].cancel()
        may_go_on.set()
        outcomes = await asyncio.gather(first, *looks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        ProbeError,
        asyncio.CancelledError,
        Observation,
        Observation,
    ]


async def test_leaving_ends_workers_that_still_look_at_nodes(
    obedient: Callable[[int | None], Processes],
) -> None:
    """Whoever waits for them is told; no process is left, which a fixture sees to."""
    began = Line("wait-a began")
    with logged(began):
        async with obedient(2) as nodes:
            nodes.expect([])
            look = asyncio.create_task(nodes.observe(registered("wait-a"), TableStore()))
            await began.came.wait()
    with pytest.raises(ProbeError, match="a worker process ended"):
        await look


async def test_leaving_at_once_ends_workers_that_have_hardly_begun(
    obedient: Callable[[int | None], Processes],
) -> None:
    async with entered(obedient(3)):
        assert len(multiprocessing.active_children()) == 3


# What they say


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
async def test_workers_log_through_their_parent_at_its_level(
    obedient: Callable[[int | None], Processes], caplog: pytest.LogCaptureFixture, level: int
) -> None:
    """Under the same names, in the same form, with tracebacks where --verbose shows them."""
    caplog.set_level(level)
    async with entered(obedient(2)) as nodes:
        await observed(nodes, "tell-a")
    lines = [record for record in caplog.records if record.name == "tests.obedient"]
    if level == logging.WARNING:
        assert lines == []
        return
    assert [(record.levelname, record.getMessage().splitlines()[0]) for record in lines] == [
        ("INFO", "from tell-a"),
        ("DEBUG", "with more"),
    ]
    assert lines[1].getMessage().endswith("LookupError: planted")


async def test_workers_are_deaf_to_what_ends_a_sweep(obedient: Callable[[int | None], Processes]) -> None:
    """Also while their interpreter starts: Ctrl-C reaches the whole group, and a service's stop all of it."""
    async with entered(obedient(2)) as nodes:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, number)
        assert all(isinstance(outcome, Observation) for outcome in await observed(nodes, "a", "b"))
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGINT)
        assert all(isinstance(outcome, Observation) for outcome in await observed(nodes, "a", "b"))
