"""Asking a region's collectors: what they showed is had once, and each of their faults is a gap of just those nodes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from auditor.gather.collector import Assignment, Seen, node_of
from auditor.gather.nats import asked_look
from auditor.gather.nats.asked_look import LookTerms
from auditor.gather.nats.collector_service import MOST_JOBS
from auditor.gather.nats.messages import MOST_NODES
from auditor.gather.nats.nats_collector import NatsCollector, job_size
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.models import Gap, NodeId, Observation, Registration
from auditor.values.route_table import RouteTable
from tests.fleets import Mesh, key_of
from tests.gather.nats.scripted_collector import Script, ScriptedCollector, Talk, as_it_should
from tests.parts.nats import NatsServer

LONGEST = 15.0
"""Seconds that anything here may take on a busy machine."""
ALL = [f"node-{at}" for at in range(6)]


def fleet() -> Mesh:
    """Six nodes: one whose table is its own, one that its collector cannot see."""
    mesh = Mesh()
    for at, name in enumerate(ALL):
        mesh.node(name, f"10.0.0.{at + 1}", region="fra")
    return mesh.empties("node-1", "node-0").not_seen("node-5")


def assignment_of(mesh: Mesh) -> Assignment:
    registered = tuple(mesh.registrations.values())
    return Assignment(registered, registered)


def collector(
    client: Client, *, nodes_a_job: int = 2500, silent: float = LONGEST, **terms: Any
) -> NatsCollector:
    return NatsCollector(client, "fra", LookTerms("wg0", **terms), nodes_a_job=nodes_a_job, silent=silent)


async def taken(
    asked: NatsCollector, mesh: Mesh, tables: TableStore, *, within: float = LONGEST
) -> dict[str, Seen]:
    """Every result by node, each node once; whatever happens, soon, and with nothing left running."""
    before = asyncio.all_tasks()
    results: list[Seen] = []
    async with asyncio.timeout(within):
        async with aclosing(asked.collect(assignment_of(mesh), tables, Stop())) as stream:
            results = [seen async for seen in stream]
    named = {node_of(seen).name: seen for seen in results}
    assert len(named) == len(results)
    assert set(named) == {node.name for node in mesh.registrations}
    await asyncio.sleep(0)
    assert {task for task in asyncio.all_tasks() - before if "asked_look" in repr(task)} == set()
    return named


def told(results: dict[str, Seen]) -> dict[str, str]:
    """Of each node `seen`, or the reason of its gap."""
    return {
        name: seen.reason.value if isinstance(seen, Gap) else "seen" for name, seen in sorted(results.items())
    }


HONEST = {name: "connect-refused" if name == "node-5" else "seen" for name in ALL}


def check_true(results: dict[str, Seen], mesh: Mesh, tables: TableStore) -> None:
    """What was seen is what the nodes show, table and all."""
    for seen in results.values():
        if isinstance(seen, Observation):
            assert seen == mesh.observe(seen.node)
            assert tables.tables[seen.table] == mesh.table(seen.node)


# -- as it should be


@pytest.mark.parametrize("nodes", [1, 2_500, 10_001, 100_000, 4 * MOST_NODES])
def test_one_collector_has_room_for_a_whole_region_and_for_another_auditor_s_look_beside_it(
    nodes: int,
) -> None:
    """Whatever its size: what a collector refuses, nobody looks at."""
    size = job_size(nodes)
    assert size <= MOST_NODES
    assert 2 * -(-nodes // size) <= MOST_JOBS


async def test_a_region_is_looked_at_by_its_collector_and_each_text_comes_once(
    client: Client, far: Client
) -> None:
    """Also in several jobs, and with a gap that the collector saw."""
    mesh, tables = fleet(), TableStore()
    async with ScriptedCollector(far, "fra", mesh) as there:
        results = await taken(collector(client, nodes_a_job=4), mesh, tables)

    assert told(results) == HONEST
    check_true(results, mesh, tables)
    assert len(there.talks) == 2
    assert set(there.wants.values()) == {1}
    gap = results["node-5"]
    assert isinstance(gap, Gap)
    assert (gap.source, gap.detail, gap.datacenter) == ("ssh", "planted", "dc1")


async def test_the_collector_is_told_what_it_needs_and_when_it_is_over(client: Client, far: Client) -> None:
    mesh = fleet()
    async with ScriptedCollector(far, "fra", mesh) as there:
        await taken(collector(client, pools=("10.0.0.0/8",), endpoints=True), mesh, TableStore())
        (talk,), (opened,) = there.talks, there.opened
        await asyncio.wait_for(talk.ended.wait(), LONGEST)

    assert (opened["region"], opened["nodes"], opened["device"], opened["endpoints"]) == (
        "fra",
        6,
        "wg0",
        True,
    )
    assert talk.addresses == [f"10.0.0.{at}/32" for at in range(1, 7)]
    assert [form["name"] for form in talk.nodes] == ALL
    assert opened["addresses"] == hashlib.sha256("\n".join(talk.addresses).encode()).hexdigest()


async def test_a_collector_that_has_the_registry_s_addresses_is_not_sent_them_again(
    client: Client, far: Client
) -> None:
    mesh = fleet()
    async with ScriptedCollector(far, "fra", mesh, answer={"has_addresses": True}) as there:
        assert told(await taken(collector(client), mesh, TableStore())) == HONEST
    assert there.talks[0].addresses == []


async def test_a_table_that_is_known_already_crosses_no_more(client: Client, far: Client) -> None:
    mesh, tables = fleet(), TableStore()
    for table in mesh.tables().values():
        tables.add(table)
    async with ScriptedCollector(far, "fra", mesh) as there:
        assert told(await taken(collector(client), mesh, tables)) == HONEST
    assert not there.wants


async def test_on_a_bad_night_tables_come_as_differences(client: Client, far: Client) -> None:
    """The base's text once, and of the others the lines that differ."""
    mesh, tables = fleet(), TableStore()
    base, other = mesh.table(mesh.find("node-0")), mesh.table(mesh.find("node-1"))

    async def script(talk: Talk) -> None:
        without, plus = set(base.lines()) - set(other.lines()), set(other.lines()) - set(base.lines())
        lines = sorted(without) + sorted(plus)
        difference = {
            "digest": other.digest,
            "base": base.digest,
            "without": list(range(len(without))),
            "plus": list(range(len(without), len(lines))),
        }
        await talk.send("seen", lines=[line.decode() for line in lines], differences=[difference])
        await as_it_should(talk)

    async with ScriptedCollector(far, "fra", mesh, script) as there:
        results = await taken(collector(client), mesh, tables)
    assert told(results) == HONEST
    check_true(results, mesh, tables)
    assert there.wants == {base.digest: 1}


async def test_an_observation_that_is_longer_than_a_message_comes_in_parts(
    client: Client, far: Client
) -> None:
    mesh = fleet()
    endpoints = {key_of(str(at)): f"198.18.{at // 250}.{at % 250}:51820" for at in range(9000)}

    async def script(talk: Talk) -> None:
        for form in talk.nodes:
            batch = talk.result(form["name"])
            if form["name"] == "node-0":
                text = json.dumps({**batch["observations"][0], "endpoints": endpoints}).encode()
                digest = hashlib.sha256(text).hexdigest()
                for number in range(parts := len(text) // 90_000 + 1):
                    piece = text[number * 90_000 : (number + 1) * 90_000].decode()
                    await talk.send("text", digest=digest, part=number, parts=parts, text=piece)
                batch = {"long": [digest]}
            await talk.send("seen", **batch)
        await talk.last()

    async with ScriptedCollector(far, "fra", mesh, script):
        results = await taken(collector(client, endpoints=True), mesh, TableStore())
    assert told(results) == HONEST
    seen = results["node-0"]
    assert isinstance(seen, Observation)
    assert seen.endpoints == endpoints


async def test_the_auditor_says_how_far_it_is_so_that_no_collector_runs_ahead(
    client: Client, far: Client
) -> None:
    mesh = fleet()

    async def script(talk: Talk) -> None:
        for _ in range(60):
            await talk.send("alive")
        await talk.taken_up_to(48)
        await as_it_should(talk)

    async with ScriptedCollector(far, "fra", mesh, script):
        assert told(await taken(collector(client), mesh, TableStore())) == HONEST


# -- nobody there, or nobody who wants to


async def test_without_a_collector_there_is_a_gap_at_once(client: Client) -> None:
    results = await taken(collector(client), fleet(), TableStore())
    assert set(told(results).values()) == {"collector-missing"}
    gap = results["node-0"]
    assert isinstance(gap, Gap)
    assert gap.detail == "no collector of region fra is there"


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        ({"accepted": False, "refused": "it looks at wg1"}, "collector-refused", "it looks at wg1"),
        (
            {"accepted": False, "refused": "no\x1b[2J, root:word@h"},
            "collector-refused",
            "no\ufffd[2J, [login]@h",
        ),
        ({"job": "f" * 32}, "collector-lost", "answered for another job"),
        ({"schema": "wgaudit.collect/9"}, "collector-lost", "is no collector"),
        ({"collector": "x" * 5000}, "collector-lost", "is no collector"),
        (None, "collector-lost", "no collector of region fra answered within 0 s"),
    ],
)
async def test_who_does_not_take_the_job_is_a_gap_with_its_words(
    client: Client,
    far: Client,
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, Any] | None,
    reason: str,
    words: str,
) -> None:
    monkeypatch.setattr(asked_look, "OPEN_WITHIN", 0.3)
    mesh = fleet()
    async with ScriptedCollector(far, "fra", mesh, answer=answer):
        results = await taken(collector(client), mesh, TableStore())
    assert set(told(results).values()) == {reason}
    gap = results["node-3"]
    assert isinstance(gap, Gap)
    assert words in gap.detail


# -- what goes wrong in a look. Each script is given with the nodes that are lost by it.


async def frozen_in_the_middle(talk: Talk) -> None:
    for name in ALL[:3]:
        await talk.send("seen", **talk.result(name))
    await talk.send("alive")
    await asyncio.Event().wait()


async def frozen_at_once(talk: Talk) -> None:
    await asyncio.Event().wait()


async def ended_short(talk: Talk) -> None:
    for name in ALL[:4]:
        await talk.send("seen", **talk.result(name))
    await talk.last()


async def gave_up(talk: Talk) -> None:
    await talk.send("seen", **talk.result("node-0"))
    await talk.send("failed", detail="its disk is full")


async def lying_count(talk: Talk) -> None:
    await sent_all(talk)
    await talk.last(count=talk.number + 1)


async def lying_digest(talk: Talk) -> None:
    await sent_all(talk)
    await talk.last(sha256="0" * 64)


async def sent_all(talk: Talk) -> None:
    for name in ALL:
        await talk.send("seen", **talk.result(name))


async def one_lost(talk: Talk) -> None:
    for name in ALL:
        if name == "node-2":
            raw = json.dumps(talk.message("seen", **talk.result(name))).encode()
            talk.number += 1
            talk.before.update(hashlib.sha256(raw).digest())
        else:
            await talk.send("seen", **talk.result(name))
    await talk.last()


async def out_of_order(talk: Talk) -> None:
    for name in ALL[:2]:
        await talk.send("seen", **talk.result(name))
    raws = []
    for name in ALL[2:4]:
        raw = json.dumps(talk.message("seen", **talk.result(name))).encode()
        talk.number += 1
        talk.before.update(hashlib.sha256(raw).digest())
        raws.append(raw)
    for raw in reversed(raws):
        await talk.publish(raw)
    for name in ALL[4:]:
        await talk.send("seen", **talk.result(name))
    await talk.last()


async def another_than_was_sent(talk: Talk) -> None:
    """Message 3 is not the one that the row goes on from."""
    for name in ALL[:3]:
        await talk.send("seen", **talk.result(name))
    raw = json.dumps(talk.message("seen", **talk.result("node-3"))).encode()
    await talk.publish(raw.replace(b"10.0.0.4/32", b"10.9.9.9/32"))
    talk.number += 1
    talk.before.update(hashlib.sha256(raw).digest())
    await talk.send("seen", **talk.result("node-4"))
    await talk.last()


async def wrong_text(talk: Talk) -> None:
    """Of node-1's table, which nobody else has."""
    talk.collector.texts[talk.collector.mesh.observe(talk.collector.mesh.find("node-1")).table] += b"\n"
    await as_it_should(talk)


async def text_of_no_table(talk: Talk) -> None:
    text = b"<html>login</html>"
    digest = hashlib.sha256(text).hexdigest()
    talk.collector.texts[digest] = text
    for name in ALL:
        await talk.send("seen", **talk.result(name, **({"table": digest} if name == "node-3" else {})))
    await talk.last()


async def difference_that_does_not_fit(talk: Talk) -> None:
    mesh = talk.collector.mesh
    difference = {
        "digest": mesh.observe(mesh.find("node-1")).table,
        "base": mesh.observe(mesh.find("node-0")).table,
        "without": [0],
        "plus": [],
    }
    await talk.send("seen", lines=[f"{key_of('stranger')}\t10.0.0.1/32"], differences=[difference])
    await as_it_should(talk)


async def endless_text(talk: Talk) -> None:
    await talk.send("seen", **talk.result("node-0"))
    await talk.send("alive")
    digest = await talk.wanted.get()
    for number in range(4096):
        await talk.send("text", digest=digest, part=number, parts=4096, text="a" * 90_000)


async def endless_rubbish(talk: Talk) -> None:
    for _ in range(3000):
        await talk.publish(b"rubbish")


async def flood(talk: Talk) -> None:
    """Messages that are as they should be, and too many."""
    await talk.send("seen", **talk.result("node-0"))
    for _ in range(60_000):
        await talk.send("alive")


async def others_nodes(talk: Talk) -> None:
    """Names of another region's nodes, and of its own ones twice."""
    own = talk.result("node-0")["observations"][0]
    await talk.send("seen", observations=[{**own, "name": "edge-sin-1"}, {**own, "datacenter": "dc2"}])
    await talk.send(
        "seen", gaps=[{"name": "edge-sin-1", "datacenter": "dc1", "reason": "auth", "detail": ""}]
    )
    for name in ALL:
        await talk.send("seen", **talk.result(name))
    await talk.send("seen", **talk.result("node-0", public_key=key_of("liar")))
    await talk.last()


async def reason_of_no_node(talk: Talk) -> None:
    """It would say that the registry was not read."""
    for name in ALL:
        if name == "node-4":
            await talk.send("alive")
            raw = talk.message(
                "seen", gaps=[{"name": name, "datacenter": "dc1", "reason": "unsettled", "detail": ""}]
            )
            await talk.publish(json.dumps(raw).encode())
        else:
            await talk.send("seen", **talk.result(name))
    await talk.last()


async def another_device(talk: Talk) -> None:
    for name in ALL:
        await talk.send("seen", **talk.result(name, **({"device": "wg9"} if name == "node-2" else {})))
    await talk.last()


async def long_that_did_not_come(talk: Talk) -> None:
    await talk.send("seen", **talk.result("node-0"))
    await talk.send("seen", long=["0" * 64])


NOBODY: list[str] = []
ABOUT_TABLES = (wrong_text, text_of_no_table, difference_that_does_not_fit, endless_text)


@pytest.mark.parametrize(
    ("script", "lost", "words"),
    [
        (frozen_at_once, ALL, "nothing was heard of it for 0.4 s"),
        (frozen_in_the_middle, ALL[3:], "nothing was heard of it for 0.4 s"),
        (ended_short, ALL[4:], "it ended without a result"),
        (gave_up, ALL[1:], "it gave up: its disk is full"),
        (lying_count, ALL[5:], "what its last message says of the others does not fit"),
        (lying_digest, ALL[5:], "what its last message says of the others does not fit"),
        (one_lost, ALL[1:], "message 2 of the row is missing"),
        (out_of_order, ALL[1:], "message 2 of the row is missing"),
        (another_than_was_sent, ALL[3:], "what came before message 4 is not what was sent"),
        (wrong_text, ["node-1"], "what came does not have its digest"),
        (text_of_no_table, ["node-3"], "a line that no node sends"),
        (difference_that_does_not_fit, ["node-1"], "does not fit the table"),
        (endless_text, ALL, "a text of more than"),
        (endless_rubbish, ALL, "too much that is not of the job (1,001 unreadable"),
        (flood, ALL[1:], "it sends messages faster than they are taken"),
        (others_nodes, NOBODY, ""),
        (reason_of_no_node, ["node-4"], "1 unreadable (gaps.0.reason: a reason that is not a node's)"),
        (another_device, ["node-2"], "1 of another device"),
        (long_that_did_not_come, ALL, "names a text that did not come"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_fault_of_a_collector_is_a_gap_of_just_the_nodes_that_it_costs(
    client: Client, far: Client, script: Script, lost: list[str], words: str
) -> None:
    """Never a hang, never another table than the node's, and what was vouched for stands."""
    mesh, tables = fleet(), TableStore()
    if script not in ABOUT_TABLES:
        for table in mesh.tables().values():
            tables.add(table)
    async with ScriptedCollector(far, "fra", mesh, script, answers_wants=script is not endless_text):
        asked = collector(client, silent=0.4 if script in (frozen_at_once, frozen_in_the_middle) else LONGEST)
        results = await taken(asked, mesh, tables)

    assert told(results) == {name: "collector-lost" if name in lost else how for name, how in HONEST.items()}
    check_true(results, mesh, tables)
    for name in lost:
        gap = results[name]
        assert isinstance(gap, Gap)
        assert words in gap.detail
        assert "host 1 of region fra" in gap.detail


async def test_a_collector_that_is_killed_is_found_out_by_the_next_beat_and_what_it_vouched_for_stands(
    client: Client, server: NatsServer
) -> None:
    """However long a silence may be."""
    mesh, tables = fleet(), TableStore()
    killed: list[float] = []

    async def script(talk: Talk) -> None:
        for name in ALL[:3]:
            await talk.send("seen", **talk.result(name))
        await talk.send("alive")
        await talk.taken_up_to(talk.number)
        killed.append(time.monotonic())
        await talk.collector.client.close()

    doomed = await nats.connect(f"nats://127.0.0.1:{server.port}")
    async with ScriptedCollector(doomed, "fra", mesh, script):
        results = await taken(collector(client, silent=10 * LONGEST), mesh, tables)

    assert time.monotonic() - killed[0] < 5
    assert told(results) == {name: "collector-lost" if name in ALL[3:] else "seen" for name in ALL}
    check_true(results, mesh, tables)
    gap = results["node-3"]
    assert isinstance(gap, Gap)
    assert gap.detail == "host 1 of region fra: it is gone"


async def test_a_collector_that_is_too_busy_to_speak_is_not_called_gone(
    client: Client, far: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_look, "BEAT", 0.02)
    mesh = fleet()

    async def script(talk: Talk) -> None:
        async with talk.beaten:
            for _ in range(10):
                await talk.beaten.wait()
        await as_it_should(talk)

    async with ScriptedCollector(far, "fra", mesh, script):
        assert told(await taken(collector(client), mesh, TableStore())) == HONEST


async def test_a_look_goes_on_behind_a_server_that_was_started_anew_when_nothing_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The auditor is back long before the collector, and says nothing that nobody hears."""
    monkeypatch.setattr(asked_look, "BEAT", 0.05)
    mesh, halfway, anew = fleet(), asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.send("seen", **talk.result(ALL[0]))
        await talk.send("alive")
        await talk.taken_up_to(talk.number)
        halfway.set()
        await anew.wait()
        for name in ALL[1:]:
            await talk.send("seen", **talk.result(name))
        await talk.last()

    async def back() -> None:
        anew.set()

    with NatsServer(tmp_path, name="collect", monitoring=False) as server:
        url = f"nats://127.0.0.1:{server.port}"
        near = await nats.connect(url, inbox_prefix="_INBOX_auditor", reconnect_time_wait=0.01)
        slow = await nats.connect(url, reconnect_time_wait=0.5, reconnected_cb=back)
        try:
            async with ScriptedCollector(slow, "fra", mesh, script), asyncio.TaskGroup() as group:
                look = group.create_task(taken(collector(near), mesh, TableStore()))
                await halfway.wait()
                server.stop()
                server.__enter__()
            assert told(look.result()) == HONEST
        finally:
            await near.close()
            await slow.close()


async def test_an_auditor_that_was_too_busy_to_listen_reads_what_came_before_it_calls_a_collector_lost(
    client: Client, far: Client
) -> None:
    mesh, tables = fleet(), TableStore()

    async def script(talk: Talk) -> None:
        time.sleep(0.6)  # noqa: ASYNC251  (nothing else of this process goes on meanwhile)
        await as_it_should(talk)

    async with ScriptedCollector(far, "fra", mesh, script):
        results = await taken(collector(client, silent=0.4), mesh, tables)

    assert told(results) == HONEST


async def test_a_collector_that_never_ends_is_over_at_the_deadline(client: Client, far: Client) -> None:
    mesh = fleet()

    async def script(talk: Talk) -> None:
        await talk.send("seen", **talk.result("node-0"))
        while True:
            await talk.send("alive")
            await asyncio.sleep(0.05)

    async with ScriptedCollector(far, "fra", mesh, script) as there:
        results = await taken(collector(client, seconds=0.8), mesh, TableStore())
        lost = dict.fromkeys(ALL[1:], "collector-lost")
        assert told(results) == {"node-0": "seen", **lost}
        gap = results["node-1"]
        assert isinstance(gap, Gap)
        assert gap.detail == "host 1 of region fra: not done within 0.8 s"
        await asyncio.wait_for(there.talks[0].ended.wait(), LONGEST)


async def test_doubled_and_foreign_messages_change_nothing(client: Client, far: Client) -> None:
    """Every message twice, and between them what is of another job, another version, too deep, too long or no JSON."""
    mesh, tables = fleet(), TableStore()

    async def script(talk: Talk) -> None:
        for name in ALL:
            raw = await talk.send("seen", **talk.result(name))
            await talk.publish(raw)
            liar = talk.result(name, public_key=key_of("liar")) if name != "node-5" else {}
            await talk.publish(json.dumps({**talk.message("seen", **liar), "job": "f" * 32}).encode())
            await talk.publish(
                json.dumps({**talk.message("seen", **liar), "schema": "wgaudit.collect/2"}).encode()
            )
            await talk.publish(json.dumps({**talk.message("seen", **liar), "more": 1}).encode())
            await talk.publish(b"[" * 200_000)
            await talk.publish(
                json.dumps({**talk.message("seen", **liar), "lines": ["x" * 900_000]}).encode()
            )
        await talk.last()

    async with ScriptedCollector(far, "fra", mesh, script):
        results = await taken(collector(client), mesh, tables)
    assert told(results) == HONEST
    check_true(results, mesh, tables)


async def test_a_server_that_freezes_holds_nobody_longer_than_the_interrupt(server: NatsServer) -> None:
    """A look under way, with more to send than the network takes: it ends at once, and nothing of it goes on."""
    racks = {"rack": "r" * 4000}
    registered = tuple(
        Registration(NodeId("dc1", f"node-{at}"), key_of(str(at)), (), values=racks) for at in range(2000)
    )
    interrupt = asyncio.Event()
    frozen = await nats.connect(f"nats://127.0.0.1:{server.port}", inbox_prefix="_INBOX_auditor")
    far = await nats.connect(f"nats://127.0.0.1:{server.port}")
    try:
        async with ScriptedCollector(far, "fra", fleet()), asyncio.timeout(LONGEST):
            asked = collector(frozen, value_names=("rack",))
            opened = await asked.open(Assignment(registered, registered))
            os.kill(server.pid, signal.SIGSTOP)
            loop = asyncio.get_running_loop()
            loop.call_later(0.3, interrupt.set)
            # What waits for the server all the same goes on then, and is late.
            loop.call_later(LONGEST / 2, os.kill, server.pid, signal.SIGCONT)
            began = loop.time()
            async with aclosing(opened.looks[0].results(TableStore(), Stop(None, interrupt))) as stream:
                assert [seen async for seen in stream] == []
            assert loop.time() - began < LONGEST / 2
            assert not [task for task in asyncio.all_tasks() if "AskedLook" in repr(task)]
    finally:
        os.kill(server.pid, signal.SIGCONT)
        await frozen.close()
        await far.close()


# -- two regions, an early end


async def test_a_text_crosses_once_for_all_regions_and_a_liar_s_table_is_nobody_else_s(
    client: Client, far: Client
) -> None:
    """Both collectors name one digest; one of them says of it what is not so."""
    mesh, tables = fleet(), TableStore()
    digest = mesh.observe(mesh.find("node-0")).table
    base = RouteTable(b"")

    async def lying(talk: Talk) -> None:
        talk.collector.texts[base.digest] = base.text
        difference = {"digest": digest, "base": base.digest, "without": [], "plus": [0]}
        await talk.send("seen", lines=[f"{key_of('liar')}\t10.0.0.1/32"], differences=[difference])
        await as_it_should(talk)

    liar = NatsCollector(client, "sin", LookTerms("wg0"))
    async with (
        ScriptedCollector(far, "fra", mesh) as there,
        ScriptedCollector(far, "sin", mesh, lying) as far_off,
    ):
        await taken(liar, mesh, tables)
        results = await taken(collector(client), mesh, tables)
        await taken(NatsCollector(client, "sin", LookTerms("wg0")), mesh, tables)
    assert told(results) == HONEST
    check_true(results, mesh, tables)
    assert there.wants[digest] == 1
    assert sum(there.wants.values()) + sum(far_off.wants.values()) == 3


async def test_an_interrupted_look_ends_at_once_with_what_it_has_and_says_so_to_the_collector(
    client: Client, far: Client
) -> None:
    mesh, tables = fleet(), TableStore()
    for table in mesh.tables().values():
        tables.add(table)
    interrupt = asyncio.Event()

    async def script(talk: Talk) -> None:
        for name in ALL[:2]:
            await talk.send("seen", **talk.result(name))
        await talk.send("alive")
        await asyncio.Event().wait()

    async with ScriptedCollector(far, "fra", mesh, script) as there, asyncio.timeout(LONGEST):
        results = []
        stream = collector(client).collect(assignment_of(mesh), tables, Stop(None, interrupt))
        async for seen in stream:
            results.append(node_of(seen).name)
            if len(results) == 2:
                interrupt.set()
        assert results == ALL[:2]
        await there.talks[0].ended.wait()
