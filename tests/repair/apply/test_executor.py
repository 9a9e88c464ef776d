"""Carrying out a plan over a real Consul: kept to the order, killed at any moment, resumed, rolled back, surprised."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import Stopped, Surprise
from auditor.nodes.change.changes import Change, DeviceState, DropAddress, LeftFile, LeftWhy, RewriteFiles
from auditor.nodes.table_store import TableStore
from auditor.registry.consul import ConsulRegistry
from auditor.repair.apply.answering import MoveAnswers
from auditor.repair.apply.executor import in_words
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.outcome import unverified
from auditor.repair.apply.stages import Entry, Event, Progress
from auditor.repair.moves import Kind, RepairPlan, Step
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Observation
from auditor.values.witness_answers import AnswerSource
from tests.fleets import key_of
from tests.parts.consul import ConsulServer
from tests.repair.apply.test_answering import Answering
from tests.repair.fleet import (
    ADDRESSES,
    CLAIMS,
    DRAIN,
    KEEPER,
    MOVER,
    NEW,
    NODES,
    OLD,
    OTHER_NEW,
    SECOND,
    Bench,
    record,
)

pytestmark = pytest.mark.xdist_group("consul")
DB = NodeId("", "db-fra-1")
WITH_SECOND = ADDRESSES | {SECOND: OLD}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("apply")) as running:
        yield running


@pytest.fixture
def bench(server: ConsulServer, tmp_path: Path) -> Bench:
    made = Bench(tmp_path, server)
    made.reset()
    return made


def everything(bench: Bench) -> tuple[Any, ...]:
    return bench.registry(), bench.devices.state(), bench.production.out


def untouched(bench: Bench, before: tuple[Any, ...]) -> bool:
    return everything(bench) == before


class Killing(Journal):
    """Ends its own process by SIGKILL at the n-th line.

    A line that announces something is on the disk by then, and nothing of it was done; one that says that
    something was done is not. What lies between two steps is the same as one of these.
    """

    line = 0

    def write(self, move: str, step: Step, event: Event, facts: Mapping[str, str] | None = None) -> None:
        Killing.line -= 1
        if Killing.line == 0 and event in (Event.DONE, Event.UNDONE):
            os.kill(os.getpid(), signal.SIGKILL)
        super().write(move, step, event, facts)
        if Killing.line == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def killed(bench: Bench, plan: RepairPlan, line: int, *, back: bool = False, **options: Any) -> bool:
    """Runs the plan in a process of its own that kills itself at the line. False: it came to its end first."""

    async def run() -> None:
        Killing.line = line
        with Killing(bench.journal, plan.ident) as journal:
            executor = await bench.executor(plan, journal, **options)
            for move in reversed(plan.moves) if back else plan.moves:
                await (executor.back(move) if back else executor.forward(move))

    child = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(run()))
    child.start()
    child.join(30)
    assert child.exitcode in (0, -signal.SIGKILL)
    return child.exitcode != 0


async def test_a_move_changes_registry_device_file_and_peers(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    await bench.forward(plan, push_peers=True)
    registry, devices, _ = everything(bench)
    assert registry[NODES + MOVER.name] == record(MOVER, NEW, note="é 1.10").decode()
    assert registry[CLAIMS + "10.9.0.7"] == ("held", MOVER.name)
    assert (devices[MOVER.name]["addresses"], devices[MOVER.name]["files"]) == ([NEW], [NEW])
    for name, node in devices.items():
        assert name == MOVER.name or node["peers"][key_of(MOVER.name)] == [NEW]
        assert name == KEEPER.name or node["peers"][key_of(KEEPER.name)] == [OLD]
    assert "10.9.0.7 3 of 3 observers route it to edge-sin-1" in bench.said[-1]
    assert "10.0.0.1 3 of 3 route it to edge-fra-1" in bench.said[-1]


async def test_the_last_look_asks_who_answers_at_the_new_address_and_another_node_stops_it(
    bench: Bench,
) -> None:
    plan = bench.plan(bench.move())
    bench.answers = MoveAnswers(Answering(KEEPER), [AnswerSource.NATS])
    with pytest.raises(Surprise, match=f"0 reached {MOVER}, and others {KEEPER}"):
        await bench.forward(plan, push_peers=True)
    bench.answers = MoveAnswers(Answering(MOVER), [AnswerSource.NATS])
    await bench.forward(plan, push_peers=True)
    with Journal(bench.journal, plan.ident) as journal:
        facts = journal.progress(plan.moves[0].ident).facts
    assert facts["answers"].endswith(f"asked reached {MOVER}")


async def test_without_pushing_it_waits_for_the_fleets_agent(server: ConsulServer, tmp_path: Path) -> None:
    bench = Bench(tmp_path, server, agent=True)
    bench.reset()
    await bench.forward(bench.plan(bench.move()))
    assert not [change for name, change in bench.devices.changes if name != MOVER.name]
    assert bench.devices.state()[DB.name]["peers"][key_of(MOVER.name)] == [NEW]
    assert bench.devices.state()[MOVER.name]["peers"][key_of(KEEPER.name)] == [OLD]


async def test_the_keeper_is_routed_on_the_mover_only_after_its_device_let_the_address_go(
    bench: Bench,
) -> None:
    """Else the mover would route an address to itself and to a peer at once."""
    await bench.forward(bench.plan(bench.move()), push_peers=True)
    on_mover = [type(change).__name__ for name, change in bench.devices.changes if name == MOVER.name]
    assert on_mover == ["AddAddress", "RewriteFiles", "DropAddress", "SetPeer"]


async def test_pushing_leaves_a_peers_other_addresses_alone(bench: Bench) -> None:
    nodes = bench.devices.state()
    nodes[DB.name]["peers"][key_of(MOVER.name)] = [OLD, "10.77.0.0/16", "fd00::7/128"]
    nodes[DB.name]["peers"][key_of(KEEPER.name)] = ["fd00::1/128"]
    bench.devices.write(nodes)
    await bench.forward(bench.plan(bench.move()), push_peers=True)
    peers = bench.devices.state()[DB.name]["peers"]
    assert peers[key_of(MOVER.name)] == sorted([NEW, "10.77.0.0/16", "fd00::7/128"])
    assert peers[key_of(KEEPER.name)] == sorted([OLD, "fd00::1/128"])


async def test_of_three_claimants_two_move_one_after_the_other(server: ConsulServer, tmp_path: Path) -> None:
    bench = Bench(tmp_path, server, agent=True)
    bench.reset(WITH_SECOND)
    plan = bench.plan(bench.move(), bench.move(SECOND, OTHER_NEW))
    before = bench.registry()
    await bench.forward(plan)
    devices = bench.devices.state()
    assert [devices[name]["addresses"] for name in (KEEPER.name, MOVER.name, SECOND.name)] == [
        [OLD],
        [NEW],
        [OTHER_NEW],
    ]
    await bench.back(plan)
    assert bench.registry() == before


async def test_a_node_that_leaves_two_addresses_makes_its_second_move_over_the_first(bench: Bench) -> None:
    """The first move writes the registration, so the second cannot ask for the plan's ModifyIndex."""
    six = Prefix("fd00::1/128")
    both = json.dumps({"public_key": key_of(MOVER.name), "ip": ["10.0.0.1", "fd00::1"]}).encode()
    bench.server.put(NODES + MOVER.name, both)
    bench.server.put(
        NODES + KEEPER.name, both.replace(key_of(MOVER.name).encode(), key_of(KEEPER.name).encode())
    )
    nodes = bench.devices.state()
    for name in (MOVER.name, KEEPER.name):
        nodes[name]["addresses"] = nodes[name]["files"] = [OLD, six]
    bench.devices.write(nodes)
    moves = [
        bench.move(addresses=(OLD, six)),
        bench.move(new=Prefix("fd00::77/128"), old=six, addresses=(OLD, six)),
    ]
    plan = bench.plan(*moves)
    start = everything(bench)
    await bench.forward(plan, push_peers=True)
    assert json.loads(bench.registry()[NODES + MOVER.name])["ip"] == ["10.9.0.7", "fd00::77"]
    await bench.back(plan)
    assert everything(bench)[0] == start[0]
    assert everything(bench)[1][MOVER.name]["addresses"] == [OLD, six]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"where": "other/edge-sin-1"}, "under another key or place"),
        ({"public_key": key_of("somebody")}, "under another key or place"),
        ({"new": Prefix("8.8.8.8/32")}, "8.8.8.8 is no address to give"),
        ({"new": Prefix("10.0.0.0/32")}, "10.0.0.0 is no address to give"),
    ],
)
async def test_a_move_that_no_sweep_of_now_would_make_is_refused(
    bench: Bench, change: dict[str, Any], says: str
) -> None:
    """Whatever the plan's file says, with whatever ident."""
    before = everything(bench)
    with pytest.raises(Surprise, match=says):
        await bench.forward(bench.plan(bench.move(**change)))
    assert untouched(bench, before)


async def test_an_address_that_nobody_else_claims_any_more_is_not_left(bench: Bench) -> None:
    """A plan in which nobody keeps the address, made before the others went."""
    bench.server.delete(NODES + KEEPER.name)
    nodes = bench.devices.state()
    for node in nodes.values():
        for key in node["peers"].keys() - {key_of(MOVER.name)}:
            node["peers"][key] = [prefix for prefix in node["peers"][key] if prefix != OLD]
    bench.devices.write(nodes)
    with pytest.raises(Surprise, match=r"nobody else claims 10\.0\.0\.1 any more"):
        await bench.forward(bench.plan(bench.move(), keeper=None))


async def test_a_restored_device_changes_nothing_in_the_registry(bench: Bench) -> None:
    home = Prefix("10.0.0.4/32")
    node = NodeId("", "db-sin-1")
    nodes = bench.devices.state()
    nodes[node.name]["addresses"] = nodes[node.name]["files"] = [OLD]
    bench.devices.write(nodes)
    registry = bench.registry()
    move = bench.move(node, home, kind=Kind.RESTORE, addresses=(home,))
    bench.server.delete(NODES + MOVER.name)  # the other claimant is another story
    registry.pop(NODES + MOVER.name)
    await bench.forward(bench.plan(move), push_peers=True)
    assert bench.registry() == registry
    assert bench.devices.state()[node.name]["addresses"] == [home]


# -- killed


@pytest.mark.parametrize("push", [True, False], ids=["pushed", "agent"])
def test_killed_at_any_journal_line_it_resumes_to_the_same_end_and_rolls_back_to_the_start(
    server: ConsulServer, tmp_path: Path, push: bool
) -> None:
    bench = Bench(tmp_path, server, agent=not push)

    def plan() -> RepairPlan:
        bench.reset()
        bench.journal.unlink(missing_ok=True)
        asyncio.run(_looked(bench))
        return bench.plan(bench.move(), drain=DRAIN)

    first = plan()
    start = everything(bench)
    asyncio.run(bench.forward(first, push_peers=push))
    end = everything(bench)
    lines = len(bench.journal.read_bytes().splitlines())
    assert lines >= 15
    # With an agent the peers' step alone is another one: some lines will do.
    for line in range(1, lines + 1, 1 if push else 5):
        made = plan()
        assert killed(bench, made, line, push_peers=push)
        assert any(
            OLD in node["addresses"] or NEW in node["addresses"]
            for node in [bench.devices.state()[MOVER.name]]
        )
        asyncio.run(bench.forward(made, push_peers=push))
        assert everything(bench) == end, line
        if (
            push and line % 3 != 1
        ):  # of lines that announce and of lines that close; the way back has its own test
            continue
        made = plan()
        assert killed(bench, made, line, push_peers=push)
        asyncio.run(bench.back(made))
        asyncio.run(_looked(bench))
        assert everything(bench) == start, line


async def _looked(bench: Bench) -> None:
    """Has the agent, if there is one, set all peers by the registry."""
    for registration in (await ConsulRegistry(bench.settings, None).read()).registrations:
        await bench.devices.observe(registration, TableStore())


def test_killed_on_the_way_back_it_goes_back_or_on_all_the_same(bench: Bench) -> None:
    start = everything(bench)
    for line in range(1, 2 * len(Step) + 1):
        onwards = line % 4 < 2
        bench.reset()
        bench.journal.unlink(missing_ok=True)
        plan = bench.plan(bench.move(), drain=DRAIN)
        asyncio.run(bench.forward(plan, push_peers=True))
        end = everything(bench)
        assert killed(bench, plan, line, back=True)
        asyncio.run(bench.forward(plan, push_peers=True) if onwards else bench.back(plan))
        assert everything(bench) == (end if onwards else start), (line, onwards)


async def test_what_was_taken_back_whole_can_be_begun_again(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    await bench.forward(plan, push_peers=True)
    end = everything(bench)
    await bench.back(plan)
    await bench.forward(plan, push_peers=True)
    assert everything(bench) == end


# -- surprises


async def test_a_registration_that_was_written_since_the_plan_stops_it(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    bench.server.put(NODES + MOVER.name, record(MOVER, OLD, note="written since"))
    before = everything(bench)
    with pytest.raises(Surprise, match=r"edge-sin-1: before the first step: .* was written meanwhile"):
        await bench.forward(plan)
    assert untouched(bench, before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": key_of("stranger")}, "another key"),
        ({"addresses": ["10.0.0.9/32"]}, "holds 10.0.0.9, not 10.0.0.1"),
    ],
)
async def test_a_device_that_is_not_the_plans_stops_it(
    bench: Bench, change: dict[str, Any], words: str
) -> None:
    nodes = bench.devices.state()
    nodes[MOVER.name] |= change
    bench.devices.write(nodes)
    before = everything(bench)
    with pytest.raises(Surprise, match=words):
        await bench.forward(bench.plan(bench.move()))
    assert untouched(bench, before)


async def test_a_new_address_that_somebody_took_meanwhile_stops_it(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    claim = {
        "state": "held",
        "node": "db-nrt-9",
        "public_key": key_of("db-nrt-9"),
        "at": "2026-01-01T00:00:00Z",
    }
    bench.server.put(CLAIMS + "10.9.0.7", json.dumps({**claim, "by": "allocate"}).encode())
    with pytest.raises(Surprise, match=r"10\.9\.0\.7 is claimed meanwhile: held for db-nrt-9 by allocate"):
        await bench.forward(plan)
    bench.server.delete(CLAIMS + "10.9.0.7")
    bench.server.put(NODES + "db-nrt-9", record(NodeId("", "db-nrt-9"), NEW))
    with pytest.raises(Surprise, match=r"10\.9\.0\.7 is registered meanwhile"):
        await bench.forward(plan)
    bench.server.delete(NODES + "db-nrt-9")
    nodes = bench.devices.state()
    nodes[DB.name]["peers"][key_of("ghost")] = [NEW]
    bench.devices.write(nodes)
    with pytest.raises(Surprise, match=r"db-fra-1 routes 10\.9\.0\.7 to another key"):
        await bench.forward(plan)
    assert bench.devices.changes == []


async def test_a_keeper_that_is_no_longer_registered_stops_it(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    bench.server.delete(NODES + KEEPER.name)
    with pytest.raises(Surprise, match=r"edge-fra-1 was to keep 10\.0\.0\.1"):
        await bench.forward(plan)


async def test_observers_that_never_route_the_new_address_stop_it_and_resuming_goes_on(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    with pytest.raises(
        Surprise, match=r"edge-sin-1: peers: after 0.1 s 0 of 3 observers route 10.9.0.7 to it.*db-fra-1"
    ):
        await bench.forward(plan, wait=0.1)
    with Journal(bench.journal, plan.ident) as journal:
        words = in_words(plan.moves[0], journal.progress(plan.moves[0].ident))
    assert words == (
        "edge-sin-1: on the way: its device holds 10.0.0.1 and 10.9.0.7, its registration says 10.9.0.7; "
        "`peers` was begun and may have happened, or not"
    )
    assert bench.devices.state()[MOVER.name]["addresses"] == [OLD, NEW]
    await bench.forward(plan, push_peers=True)
    assert bench.devices.state()[MOVER.name]["addresses"] == [NEW]


async def test_a_node_that_goes_away_in_the_middle_stops_it_with_a_way_back(bench: Bench) -> None:
    start = everything(bench)
    plan = bench.plan(bench.move())

    class Leaving(type(bench.devices)):  # type: ignore[misc]
        async def change(self, registration: Any, change: Change) -> DeviceState:
            if isinstance(change, DropAddress):
                self.down.add(MOVER.name)
            return await super().change(registration, change)  # type: ignore[no-any-return]

    whole = bench.devices
    bench.devices = Leaving(whole.file)
    with pytest.raises(Surprise, match="edge-sin-1: remove: connect-refused"):
        await bench.forward(plan, push_peers=True)
    bench.devices = whole
    await bench.back(plan)
    assert everything(bench) == start


async def test_an_observer_that_cannot_be_seen_is_named_and_not_counted(bench: Bench) -> None:
    bench.devices.down.add(DB.name)
    await bench.forward(bench.plan(bench.move()), push_peers=True)
    assert "2 of 2 observers" in bench.said[-1]
    assert "not seen: db-fra-1 (connect-refused)" in bench.said[-1]


async def test_a_consul_that_goes_down_in_the_middle_stops_it_and_resuming_goes_on(
    server: ConsulServer, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, server, timeout=0.5)
    bench.reset()
    plan = bench.plan(bench.move())

    class Stopping(type(bench.devices)):  # type: ignore[misc]
        async def change(self, registration: Any, change: Change) -> DeviceState:
            server.stop()
            return await super().change(registration, change)  # type: ignore[no-any-return]

    whole = bench.devices
    bench.devices = Stopping(whole.file)
    try:
        with pytest.raises(Surprise, match=r"edge-sin-1: register: .*0.5 s"):
            await bench.forward(plan, push_peers=True)
    finally:
        server.start()
    bench.devices = whole
    await bench.forward(plan, push_peers=True)
    assert bench.registry()[CLAIMS + "10.9.0.7"] == ("held", MOVER.name)


async def test_asked_to_stop_it_ends_before_the_next_step_and_in_the_middle_of_a_wait(bench: Bench) -> None:
    looked = asyncio.Event()

    class Watched(type(bench.devices)):  # type: ignore[misc]
        async def observe(self, registration: Any, tables: TableStore) -> Observation:
            if NEW in self.state()[MOVER.name]["addresses"]:
                looked.set()
            return await super().observe(registration, tables)  # type: ignore[no-any-return]

    bench.devices = Watched(bench.devices.file)
    plan = bench.plan(bench.move())
    with Journal(bench.journal, plan.ident) as journal:
        executor = await bench.executor(plan, journal, wait=60.0)
        work = asyncio.create_task(executor.forward(plan.moves[0]))
        await asyncio.wait_for(looked.wait(), 10)
        executor.stop()
        with pytest.raises(Stopped):
            await asyncio.wait_for(work, 5)
        assert executor.progress(plan.moves[0]).open is Step.PEERS
        with pytest.raises(Stopped):
            await executor.forward(plan.moves[0])


def test_words_for_a_move_say_where_the_node_stands(bench: Bench) -> None:
    move = bench.move()
    assert in_words(move, Progress()) == "edge-sin-1: not begun; it is as the plan found it, at 10.0.0.1"
    assert in_words(move, Progress(tuple(Step))) == "edge-sin-1: done; it holds 10.9.0.7"
    going = in_words(move, Progress((Step.RESERVE,), Step.ADD, going_back=True))
    assert going.startswith(
        "edge-sin-1: going back: its device holds 10.0.0.1, its registration says 10.0.0.1; `add`"
    )


async def test_pushing_for_one_of_three_leaves_the_third_what_it_has_until_its_own_move(bench: Bench) -> None:
    bench.reset(WITH_SECOND)
    nodes = bench.devices.state()
    nodes[DB.name]["peers"] |= {key_of(name): [] for name in (KEEPER.name, MOVER.name)}
    nodes[DB.name]["peers"][key_of(SECOND.name)] = [OLD]
    bench.devices.write(nodes)
    first, second = bench.move(), bench.move(SECOND, OTHER_NEW)
    plan = bench.plan(first, second)
    with Journal(bench.journal, plan.ident) as journal:
        executor = await bench.executor(plan, journal, push_peers=True)
        await executor.forward(first)
        assert bench.devices.state()[DB.name]["peers"][key_of(SECOND.name)] == [OLD]
        await executor.forward(second)
    peers = bench.devices.state()[DB.name]["peers"]
    assert [peers[key_of(node.name)] for node in (KEEPER, MOVER, SECOND)] == [[OLD], [NEW], [OTHER_NEW]]
    assert bench.devices.state()[MOVER.name]["peers"][key_of(KEEPER.name)] == [OLD]


async def test_an_address_that_the_device_held_before_stays_there_on_the_way_back(bench: Bench) -> None:
    home, node = Prefix("10.0.0.4/32"), NodeId("", "db-sin-1")
    bench.server.delete(NODES + MOVER.name)  # the other claimant is another story
    nodes = bench.devices.state()
    nodes[node.name]["addresses"] = [OLD, home]
    bench.devices.write(nodes)
    plan = bench.plan(bench.move(node, home, kind=Kind.RESTORE, addresses=(home,)))
    await bench.forward(plan, push_peers=True)
    assert bench.devices.state()[node.name]["addresses"] == [home]
    await bench.back(plan)
    assert bench.devices.state()[node.name]["addresses"] == [OLD, home]


async def test_a_peer_that_could_not_be_set_stays_unverified_until_it_routes_right(bench: Bench) -> None:
    """Nobody else may have set it meanwhile."""
    plan = bench.plan(bench.move(sample=(KEEPER,)))
    bench.devices.down.add(DB.name)
    await bench.forward(plan, push_peers=True)
    bench.devices.down.clear()
    with Journal(bench.journal, plan.ident) as journal:
        executor = await bench.executor(plan, journal, sample=1)

        async def left() -> tuple[str, ...]:
            await executor.again(plan.moves[0])
            return unverified(plan.moves[0], journal.progress(plan.moves[0].ident)).not_set

        assert [item.split()[0] for item in await left()] == [DB.name]
        nodes = bench.devices.state()
        nodes[DB.name]["peers"] |= {key_of(MOVER.name): [NEW], key_of(KEEPER.name): [OLD]}
        bench.devices.write(nodes)
        assert await left() == ()


async def test_looked_at_again_with_push_peers_a_peer_that_could_not_be_set_is_set(bench: Bench) -> None:
    plan = bench.plan(bench.move(sample=(KEEPER,)))
    bench.devices.down.add(DB.name)
    await bench.forward(plan, push_peers=True)
    bench.devices.down.clear()
    with Journal(bench.journal, plan.ident) as journal:
        await (await bench.executor(plan, journal, sample=1, push_peers=True)).again(plan.moves[0])
        assert not unverified(plan.moves[0], journal.progress(plan.moves[0].ident)).not_set
    peers = bench.devices.state()[DB.name]["peers"]
    assert (peers[key_of(MOVER.name)], peers[key_of(KEEPER.name)]) == ([NEW], [OLD])


async def test_the_counts_of_each_look_are_told_while_it_waits(bench: Bench) -> None:
    plan, waits = bench.plan(bench.move()), []
    with Journal(bench.journal, plan.ident) as journal:
        executor = await bench.executor(plan, journal, waiting=waits.append, wait=0.1)
        with pytest.raises(Surprise):
            await executor.forward(plan.moves[0])
    assert waits[0].counts.startswith("observers: 0 of 3 route 10.9.0.7 to edge-sin-1, ")


async def test_a_file_that_was_not_rewritten_is_journaled_and_unverified_until_it_is(bench: Bench) -> None:
    plan = bench.plan(bench.move())
    left = [LeftFile("/etc/netplan/50.yaml", LeftWhy.LINE, 7)]

    class Leaving(type(bench.devices)):  # type: ignore[misc]
        async def change(self, registration: Any, change: Change) -> DeviceState:
            state = await super().change(registration, change)
            return replace(state, by_hand=tuple(left)) if isinstance(change, RewriteFiles) else state

    bench.devices = Leaving(bench.devices.file)
    await bench.forward(plan, push_peers=True)
    assert "/etc/netplan/50.yaml line 7" in bench.journal.read_text()
    assert any("by hand: /etc/netplan/50.yaml line 7 (" in line for line in bench.said)
    with Journal(bench.journal, plan.ident) as journal:
        move = plan.moves[0]
        assert len(unverified(move, journal.progress(move.ident)).by_hand) == 1
        left.clear()
        await (await bench.executor(plan, journal)).again(move)
        assert not unverified(move, journal.progress(move.ident))


# -- out of production


async def test_a_node_is_out_of_production_from_before_its_move_until_it_was_verified(bench: Bench) -> None:
    plan = bench.plan(bench.move(), drain=DRAIN)
    out: list[list[str]] = []

    class Watched(type(bench.devices)):  # type: ignore[misc]
        async def change(self, registration: Any, change: Change) -> DeviceState:
            out.append(bench.production.out)
            return await super().change(registration, change)  # type: ignore[no-any-return]

    bench.devices = Watched(bench.devices.file)
    await bench.forward(plan, push_peers=True)
    assert out
    assert all(names == [MOVER.name] for names in out)
    assert bench.production.out == []
    steps = [entry.step for entry in journaled(bench, plan)]
    assert (steps[0], steps[-1]) == (Step.DRAIN, Step.UNDRAIN)


async def test_a_drain_that_fails_stops_before_the_move(bench: Bench) -> None:
    before = everything(bench)
    plan = bench.plan(bench.move(), drain=DRAIN)
    bench.production.failing = "drain"
    with pytest.raises(Surprise, match="edge-sin-1: drain: planted"):
        await bench.forward(plan)
    assert untouched(bench, before)
    bench.production.failing = ""
    await bench.back(plan)
    assert untouched(bench, before)
    await bench.forward(plan, push_peers=True)


async def test_an_undrain_that_fails_leaves_the_move_made_and_a_resume_makes_up_for_it(bench: Bench) -> None:
    plan = bench.plan(bench.move(), drain=DRAIN)
    bench.production.failing = "undrain"
    with pytest.raises(Surprise, match="edge-sin-1: undrain: planted"):
        await bench.forward(plan, push_peers=True)
    assert bench.devices.state()[MOVER.name]["addresses"] == [NEW]
    with Journal(bench.journal, plan.ident) as journal:
        (move,) = plan.moves
        state = journal.progress(move.ident)
        assert in_words(move, state) == "edge-sin-1: done; it holds 10.9.0.7; IT IS STILL OUT OF PRODUCTION"
        assert unverified(move, state).kept_out
        bench.production.failing = ""
        executor = await bench.executor(plan, journal)
        await executor.again(move)
        assert not unverified(move, journal.progress(move.ident))
    assert bench.production.out == []


async def test_a_node_that_was_out_before_is_left_so_on_the_way_and_on_the_way_back(bench: Bench) -> None:
    """Who took it out puts it back."""
    plan = bench.plan(bench.move(), drain=DRAIN)
    bench.production.put(MOVER.name)
    await bench.forward(plan, push_peers=True)
    await bench.back(plan)
    assert (bench.production.out, bench.production.calls) == ([MOVER.name], [])


async def test_a_move_is_taken_back_out_of_production_too(bench: Bench) -> None:
    """For its users it is a move like the first one."""
    before = everything(bench)
    plan = bench.plan(bench.move(), drain=DRAIN)
    await bench.forward(plan, push_peers=True)
    bench.production.calls.clear()
    await bench.back(plan)
    assert bench.production.calls == ["drain edge-sin-1", "undrain edge-sin-1"]
    assert everything(bench)[1:] == before[1:]


async def test_without_drains_as_asked_nobody_is_drained_and_who_was_is_not_forgotten(bench: Bench) -> None:
    plan = bench.plan(bench.move(), drain=DRAIN)
    bench.production.failing = "drain"
    with pytest.raises(Surprise, match="planted"):
        await bench.forward(plan)
    with pytest.raises(Surprise, match="leave --no-drain away"):
        await bench.forward(plan, no_drain=True)
    bench.journal.unlink()
    await bench.forward(plan, no_drain=True, push_peers=True)
    assert bench.production.calls == ["drain edge-sin-1"]


async def test_resumed_after_the_drain_alone_all_is_looked_at_as_before_the_first_step(bench: Bench) -> None:
    """The drain may have been long ago."""
    plan = bench.plan(bench.move(), drain=DRAIN)
    bench.production.failing = "drain"
    with pytest.raises(Surprise, match="planted"):
        await bench.forward(plan)
    bench.production.failing = ""
    bench.server.put(NODES + MOVER.name, record(MOVER, OLD, note="written since"))
    with pytest.raises(Surprise, match=r"before it goes on: .* was written meanwhile"):
        await bench.forward(plan)
    assert bench.production.out == []


def journaled(bench: Bench, plan: RepairPlan) -> Sequence[Entry]:
    with Journal(bench.journal, plan.ident) as journal:
        return journal.entries
