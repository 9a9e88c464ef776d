"""Many nodes behind one host or one bastion: no server is asked for more than it takes, and nobody waits in vain."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from time import monotonic

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.nodes.ssh.turns import ConnectWait, Turns
from auditor.nodes.table_store import TableStore
from auditor.values.models import NodeId, RegistryReading, Snapshot
from tests import virtual_time
from tests.fakes import MemoryRegistry
from tests.fleets import trio
from tests.nodes.bench import Bench, script_of
from tests.parts.sshd import Sshd


async def swept(bench: Bench, server: Sshd, count: int, **settings: object) -> Snapshot:
    """So many nodes that are all behind one server."""
    one = bench.registered(server)
    reading = RegistryReading(tuple(replace(one, node=NodeId("", f"n{number}")) for number in range(count)))
    # A busy machine is no overloaded bastion.
    nodes = bench.nodes(connect_timeout=60.0, command_timeout=120.0, **settings)  # type: ignore[arg-type]
    options = SweepOptions(confirm_after=None)
    return await sweep(MemoryRegistry(reading), LocalCollector(nodes), trio().policy, options)


async def test_a_bastion_as_it_is_installed_lets_thirty_nodes_through(bench: Bench) -> None:
    """One connection to it, whatever its MaxStartups and MaxSessions."""
    jump = bench.sshd("jump", lines=["MaxStartups 10:30:100", "MaxSessions 10"])
    server = bench.sshd(lines=["MaxStartups 10:30:100"])
    snapshot = await swept(bench, server, 30, proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    assert snapshot.gaps == ()
    assert len(snapshot.observations) == 30
    assert jump.log().count("Accepted publickey") == 1


async def test_a_host_is_never_asked_for_more_logins_at_once_than_the_setting_says(bench: Bench) -> None:
    """It drops the fifth; none of twelve is dropped, and so none is tried twice."""
    server = bench.sshd(lines=["MaxStartups 4:100:4"])
    snapshot = await swept(bench, server, 12, logins_per_host=4)
    assert snapshot.gaps == ()
    assert len(snapshot.observations) == 12
    assert "drop connection" not in server.log()


async def test_no_more_nodes_pass_a_jump_host_at_once_than_the_setting_says(bench: Bench) -> None:
    """And the connection to it stays open for the next in line."""
    folder = bench.node.folder
    script_of(
        bench.node,
        f'mkdir "{folder}/busy" || echo two at once >>"{folder}/overlaps"\n'
        f'cat "{folder}/allowed-ips"; sleep 0.3; rmdir "{folder}/busy"',
    )
    jump, server = bench.sshd("jump"), bench.sshd()
    snapshot = await swept(bench, server, 6, proxy_jump=f"{jump.user}@{jump.host}:{jump.port}", per_jump=1)
    assert len(snapshot.observations) == 6
    assert not (folder / "overlaps").exists()
    assert jump.log().count("Accepted publickey") == 1


async def test_the_wait_for_a_turn_is_not_the_nodes_connect_time(bench: Bench) -> None:
    """The third in line waits for twice the time that a connection may take, and is then connected."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        server, nodes = (
            bench.sshd(),
            bench.nodes(logins_per_host=1, connect_timeout=1.5, command_timeout=120.0),
        )
        dead = [
            asyncio.create_task(nodes.observe(bench.registered(f"127.0.0.1:{port}", name), TableStore()))
            for name in ("a", "b")
        ]
        await asyncio.sleep(0)
        seen = await nodes.observe(bench.registered(server), TableStore())
        assert seen.device == bench.node.device
        for task in dead:
            with pytest.raises(ProbeError, match="connect-timeout"):
                await task


async def test_a_host_that_was_waited_for_in_vain_gets_half_of_the_time_the_next_time(bench: Bench) -> None:
    """So that two tries and the pause between them end within two connect timeouts."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        nodes, began = bench.nodes(connect_timeout=1.0), monotonic()
        details = []
        for _ in range(2):
            with pytest.raises(ProbeError) as caught:
                await nodes.observe(bench.registered(host), TableStore())
            assert caught.value.reason is GapReason.CONNECT_TIMEOUT
            details.append(caught.value.detail.rpartition(" within ")[2])
        assert details == ["1 s", "0.5 s"]
        assert monotonic() - began >= 1.5


async def test_nodes_behind_a_bastion_that_was_lost_meanwhile_get_a_new_connection(bench: Bench) -> None:
    """Who waited for a turn at the old one does not fail because of it."""
    jump, server = bench.sshd("jump"), bench.sshd()
    nodes = bench.nodes(proxy_jump=f"{jump.user}@{jump.host}:{jump.port}", per_jump=1)
    async with AsyncExitStack() as stack:
        hops = f"{jump.user}@{jump.host}:{jump.port}"
        first = await nodes._access._connections._jumps.connection(hops, stack)
        waiting = asyncio.create_task(nodes.observe(bench.registered(server), TableStore()))
        await asyncio.sleep(0)
        first.abort()
        await first.wait_closed()
    assert (await waiting).device == bench.node.device
    assert jump.log().count("Accepted publickey") == 2


def test_turns_are_taken_at_each_place_apart_and_in_order() -> None:
    async def take() -> tuple[list[str], dict[str, int]]:
        turns, order = Turns(2), list[str]()
        busiest: dict[str, int] = {}
        busy = {"a": 0, "b": 0}

        async def one(place: str, number: int) -> None:
            async with turns.at(place):
                busy[place] += 1
                busiest[place] = max(busiest.get(place, 0), busy[place])
                order.append(f"{place}{number}")
                await asyncio.sleep(1)
                busy[place] -= 1

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                for place in "ab":
                    group.create_task(one(place, number))
        assert turns._places == {}
        return order, busiest

    (order, busiest), took = virtual_time.run(take())
    assert busiest == {"a": 2, "b": 2}
    assert [item for item in order if item[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert took == 2


def test_one_who_gives_up_waiting_takes_nobodys_turn() -> None:
    async def give_up() -> None:
        turns = Turns(1)

        async def hold() -> None:
            async with turns.at("a"):
                await asyncio.sleep(10)

        holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(1)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        assert turns._places == {}
        async with turns.at("a"), asyncio.timeout(1):
            await asyncio.sleep(0)

    virtual_time.run(give_up())


def test_a_destination_has_half_the_time_from_a_timeout_until_it_answers() -> None:
    wait = ConnectWait(10.0)
    wait.timed_out("a:22")
    assert (wait.seconds("a:22"), wait.seconds("b:22")) == (5.0, 10.0)
    wait.answered("a:22")
    assert wait.seconds("a:22") == 10.0
