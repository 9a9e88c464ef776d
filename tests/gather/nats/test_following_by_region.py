"""Regions that are followed by collectors there: what is heard of whom, whatever becomes of collector and server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.gather.collector import Heard
from auditor.gather.following import LocalFollower
from auditor.gather.nats import following_job
from auditor.gather.nats.follow_messages import (
    Again,
    EndedFollowing,
    EndFollowing,
    Keep,
    MetPeers,
    SaidAll,
    States,
    TableText,
    WantTable,
    Working,
)
from auditor.gather.nats.followed_job import Rhythm
from auditor.gather.nats.message_parts import WritingLines
from auditor.values.models import Gap
from auditor.values.route_table import RouteTable
from tests.fleets import Mesh
from tests.gather.nats.by_hand import login_at, until
from tests.gather.nats.followed_region import (
    FollowingCollector,
    SpeakingNodes,
    auditor_by_hand,
    by_hand,
    everybody,
    followed,
    missing,
    node,
    two_regions,
    unseen,
)
from tests.parts.nats import NatsServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats"), name="collect", monitoring=False) as running:
        yield running


FRA = {"a-fra-1": "10.0.0.1/32", "b-fra-2": "10.0.0.2/32", "c-fra-3": "10.0.0.3/32"}
SIN = {"d-sin-1": "10.0.0.4/32", "e-sin-2": "10.0.0.5/32"}


def mesh_names(mesh: Mesh) -> list[str]:
    return [registered.name for registered in mesh.registrations]


def gaps(words: Iterable[Heard]) -> list[tuple[str, str]]:
    """What was said of nodes of fra that show gaps: the first letter of each, and its gap's detail, or a beat."""
    return [
        (word.node.name[0], word.seen.detail if isinstance(word.seen, Gap) else "beat")
        for word in words
        if word.node.name in FRA
    ]


async def test_a_region_is_followed_from_there_and_what_nobody_follows_is_a_gap(server: NatsServer) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes = SpeakingNodes(mesh)
    collector = FollowingCollector(nodes)
    async with (
        collector.at(login),
        AsyncExitStack() as then,
        followed(login, mesh, regions=("fra", "sin")) as here,
    ):
        then.push_async_callback(until, lambda: not collector.service.load.jobs)  # when the watch has ended
        await here.until(lambda: here.shown() == FRA | missing(*SIN, "f"))
        assert len(here.tables.tables) == 1
        await here.until(lambda: here.beats("a-fra-1") == 1)
        loop = asyncio.get_running_loop()
        before = loop.time()
        nodes.change("a-fra-1", "10.0.0.77")
        await here.shows(a_fra_1="10.0.0.77/32")
        assert loop.time() - before < 2.0
        nodes.beat("a-fra-1")
        await here.until(lambda: here.beats("a-fra-1") == 2)
        met = await here.follower.meet([node("b-fra-2"), node("d-sin-1")])
        assert [one.observer.name for one in met] == ["b-fra-2"] == nodes.met
        assert "d-sin-1" not in nodes.sessions


async def test_a_killed_collector_is_a_gap_of_its_nodes_alone_until_another_one_is_there(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes, sin = SpeakingNodes(mesh), SpeakingNodes(mesh)
    async with (
        FollowingCollector(sin, "sin").at(login),
        followed(login, mesh, regions=("fra", "sin")) as here,
    ):
        async with FollowingCollector(nodes).at(login):
            await here.shows(**FRA, **SIN)
        await here.shows(**missing(*FRA))
        words = len(here.words)
        async with FollowingCollector(nodes, pid=8).at(login):
            await here.shows(**FRA)
            assert here.newest["a-fra-1"] == mesh.observe(node("a-fra-1"))
        assert {word.node.name for word in here.words[words:]} <= FRA.keys()
        assert nodes.sessions == dict.fromkeys(FRA, 2)
        assert sin.sessions == dict.fromkeys(SIN, 1)


async def test_where_another_collector_of_the_region_takes_over_in_time_there_is_no_gap(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes, others = SpeakingNodes(mesh), SpeakingNodes(mesh)
    async with followed(login, mesh, silence=6.0) as here, AsyncExitStack() as first:
        await first.enter_async_context(FollowingCollector(nodes).at(login))
        await here.shows(**FRA)
        words = len(here.words)
        async with FollowingCollector(others, pid=8).at(login):
            await asyncio.sleep(2.1)  # a job that lasted so long was no mistake
            for name in FRA:
                nodes.beat(name)
            await here.until(lambda: here.beats("c-fra-3") == 2)
            await first.aclose()
            others.change("a-fra-1", "10.0.0.78")
            await here.shows(a_fra_1="10.0.0.78/32")
            await here.until(lambda: here.beats("c-fra-3") == 3)
        assert [word for word in here.words[words:] if isinstance(word.seen, Gap)] == []


async def test_a_server_that_is_started_anew_costs_no_session_and_no_news(tmp_path: Path) -> None:
    mesh = two_regions()
    nodes = SpeakingNodes(mesh)
    complaints: list[str] = []
    with NatsServer(tmp_path, name="collect", monitoring=False) as server:
        login = login_at(server)
        async with (
            FollowingCollector(nodes).at(login),
            followed(login, mesh, rhythm=Rhythm(0.3, 10.0, 0.1), complaints=complaints) as here,
        ):
            await here.shows(**FRA)
            await asyncio.to_thread(server.stop)
            nodes.change("b-fra-2", "10.0.0.79")
            await asyncio.to_thread(server.__enter__)
            await here.shows(b_fra_2="10.0.0.79/32")
            for name in FRA:
                nodes.beat(name)
            await here.until(lambda: all(here.beats(name) == 2 for name in FRA if name != "b-fra-2"))
            assert here.shown() == FRA | {"b-fra-2": "10.0.0.79/32"} | missing(*SIN, "f")
            assert nodes.sessions == dict.fromkeys(FRA, 1)
    assert any("connection lost" in line for line in complaints)


async def test_while_a_region_has_no_collector_its_nodes_are_followed_from_here_where_that_is_wanted(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes, at_home = SpeakingNodes(mesh), SpeakingNodes(mesh)
    local = LocalFollower(at_home, 1.0)
    async with followed(login, mesh, local=local) as here:
        await here.shows(**FRA, **SIN, f="10.0.0.6/32")
        assert at_home.sessions.keys() == set(mesh_names(mesh))
        async with FollowingCollector(nodes).at(login):
            await here.until(lambda: set(nodes.sessions) == FRA.keys())
            nodes.change("a-fra-1", "10.0.0.80")
            await here.shows(a_fra_1="10.0.0.80/32")
            at_home.beat("a-fra-1")
            at_home.change("d-sin-1", "10.0.0.81")
            await here.shows(d_sin_1="10.0.0.81/32")
        at_home.mesh.holds("a-fra-1", "10.0.0.82")
        await here.shows(a_fra_1="10.0.0.82/32")
        assert [word for word in here.words if isinstance(word.seen, Gap)] == []
    assert (at_home.sessions["a-fra-1"], at_home.sessions["d-sin-1"]) == (2, 1)


async def test_the_assignment_changes_at_any_time_and_nobody_else_is_connected_anew(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes, sin = SpeakingNodes(mesh), SpeakingNodes(mesh)
    async with (
        FollowingCollector(nodes).at(login),
        FollowingCollector(sin, "sin").at(login),
        followed(login, mesh, regions=("fra", "sin")) as here,
    ):
        await here.shows(**FRA, **SIN)
        mesh.node("z-fra-9", "10.0.0.9")
        moved = mesh.registrations[node("c-fra-3")]
        mesh.registrations[node("c-fra-3")] = replace(moved, region="sin")
        del mesh.registrations[node("b-fra-2")]
        here.follower.assign(everybody(mesh))
        await here.shows(z_fra_9="10.0.0.9/32")
        await here.until(lambda: "c-fra-3" in sin.sessions and here.beats("c-fra-3") > 1)
        words = len(here.words)
        nodes.beat("b-fra-2")
        nodes.beat("c-fra-3")
        nodes.beat("a-fra-1")
        await here.until(lambda: here.beats("a-fra-1") == 2)
        # The new node's own beat may still have been on its way.
        heard = [word.node.name for word in here.words[words:] if word.node.name != "z-fra-9"]
        assert heard == ["a-fra-1"]
        assert nodes.sessions == {**dict.fromkeys(FRA, 1), "z-fra-9": 1}
        # One that leaves and comes back before anybody could be told is heard of anew.
        gone = mesh.registrations.pop(node("a-fra-1"))
        here.follower.assign(everybody(mesh))
        mesh.registrations[gone.node] = gone
        here.follower.assign(everybody(mesh))
        await here.until(lambda: any(word.node == gone.node for word in here.words[words + 1 :]))
        assert nodes.sessions["a-fra-1"] == 1


# -- whatever a collector says


async def test_doubled_late_foreign_and_unreadable_messages_are_left_out_and_the_job_goes_on(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        first = await collector.states(*map(unseen, FRA))
        await here.shows(**dict.fromkeys(FRA, "no-wg"))
        second = await collector.states(unseen("a-fra-1", "newer"))
        await here.until(lambda: gaps(here.words)[3:] == [("a", "newer")])
        own, collector.job = collector.job, "0" * 32
        foreign = await collector.beats("a-fra-1")
        collector.job, collector.number = own, 2
        for raw in (first, second, foreign, b"{", b"[]", second[:-1], b'{"schema":"wgaudit.follow/1"}'):
            await collector.publish(raw)
        await collector.say(MetPeers, question=9, observer=1)
        await collector.beats("b-fra-2")
        await here.until(lambda: here.beats("b-fra-2") == 1)
        assert gaps(here.words)[4:] == [("b", "beat")]
        await collector.next(Keep)
        assert collector.jobs.empty()


async def test_after_a_message_that_is_missing_no_beat_is_believed_before_all_states_came_again(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        await collector.states(*map(unseen, FRA))
        await collector.beats("a-fra-1", skip=1)
        again = await collector.next(Again)
        await collector.states(unseen("a-fra-1", "newer"), again=True)
        await collector.states(unseen("b-fra-2"), again=True)
        await collector.beats("b-fra-2", "c-fra-3")
        await collector.states(unseen("c-fra-3"), again=True)
        await collector.say(SaidAll, question=again.question)
        await collector.beats("a-fra-1", "c-fra-3")
        await here.until(lambda: here.beats("c-fra-3") == 1)
        assert gaps(here.words)[-4:] == [("a", "newer"), ("b", "beat"), ("a", "beat"), ("c", "beat")]


async def test_what_comes_late_confirms_nothing(server: NatsServer) -> None:
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        await collector.states(*map(unseen, FRA))
        await here.shows(**dict.fromkeys(FRA, "no-wg"))
        long_ago = asyncio.get_running_loop().time() - 5
        await collector.beats("a-fra-1", at=long_ago)
        await collector.states(unseen("a-fra-1"), at=long_ago)
        await collector.states(unseen("b-fra-2", "newer"), at=long_ago)
        await collector.beats("c-fra-3")
        await here.until(lambda: here.beats("c-fra-3") == 1)
        assert gaps(here.words)[3:] == [("b", "newer"), ("c", "beat")]


async def test_a_collector_is_believed_of_the_nodes_that_it_was_assigned_and_with_the_right_tables_alone(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        # The node of another region: under a number that is nobody's, and under another node's.
        collector.numbers["d-sin-1"] = 77
        await collector.states(mesh.observe(node("d-sin-1")))
        collector.numbers["d-sin-1"] = collector.numbers["c-fra-3"]
        await collector.states(mesh.observe(node("d-sin-1")))
        await here.shows(c_fra_3="collector-lost")
        # Another device; a text that is not its digest's; then all as it should be.
        odd = mesh.observe(node("b-fra-2"))
        await collector.states(replace(odd, device=replace(odd.device, name="wg1")))
        await here.shows(b_fra_2="collector-lost")
        await collector.states(mesh.observe(node("a-fra-1")))
        want = await collector.next(WantTable)
        await collector.say(TableText, digest=want.digest, lines=["odd"])
        await here.shows(a_fra_1="collector-lost")
        await collector.states(mesh.observe(node("a-fra-1")))
        await collector.send_table(mesh, "a-fra-1")
        await here.shows(a_fra_1="10.0.0.1/32")
        await collector.states(mesh.observe(node("b-fra-2")))
        await here.shows(b_fra_2="10.0.0.2/32")
        # No collector saw the node of sin.
        assert here.shown()["d-sin-1"] == "collector-missing"


async def test_a_table_told_as_a_difference_needs_no_text_of_its_own(server: NatsServer) -> None:
    mesh, login = two_regions(), login_at(server)
    whole = mesh.observe(node("a-fra-1"))
    mesh.holds("b-fra-2", "10.0.0.99")
    other, base = mesh.table(node("b-fra-2")), mesh.table(node("a-fra-1"))
    without, plus = set(base.lines()) - set(other.lines()), set(other.lines()) - set(base.lines())
    held = RouteTable(base.text, tuple(sorted(without)), tuple(sorted(plus)))
    lines = WritingLines()
    difference = lines.difference(other.digest, base.digest, held)
    assert difference is not None
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        await collector.states(mesh.observe(node("b-fra-2")), lines=lines.new(), differences=[difference])
        await collector.send_table(mesh, "a-fra-1")
        await collector.states(whole)
        await here.shows(a_fra_1="10.0.0.1/32", b_fra_2="10.0.0.99/32")
        assert here.tables.tables[other.digest] == other


async def test_an_assignment_that_was_lost_is_sent_whole(server: NatsServer) -> None:
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        mesh.node("z-fra-9", "10.0.0.9")
        here.follower.assign(everybody(mesh))
        change = await collector.change()
        assert (change.base, [item.node.name for item in change.nodes]) == (1, ["z-fra-9"])
        await collector.say(Working, generation=1, lacks=True)
        whole = await collector.change()
        assert whole.base is None
        assert {item.node.name: item.number for item in whole.nodes} == collector.numbers
        assert set(whole.mesh) == {
            prefix for item in mesh.registrations.values() for prefix in item.addresses
        }


async def test_a_collector_that_falls_silent_or_gives_up_is_left_for_another_job(server: NatsServer) -> None:
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh) as here:
        await collector.take()
        await collector.say(EndedFollowing, detail="planted")
        await collector.next(EndFollowing)
        await collector.take()
        await collector.states(*map(unseen, FRA))
        await here.shows(**dict.fromkeys(FRA, "no-wg"))
        await here.shows(**dict.fromkeys(FRA, "collector-lost"))
        assert "silent" in str(here.newest["a-fra-1"])


async def test_a_collector_that_sends_faster_than_anybody_can_take_is_left(server: NatsServer) -> None:
    """Each message is as it should be."""
    mesh, login = two_regions(), login_at(server)
    async with by_hand(login) as collector, followed(login, mesh, rhythm=Rhythm(silent=600.0)):
        await collector.take()
        for _ in range(40_000):
            await collector.beats("a-fra-1")
        await collector.next(EndFollowing)


async def test_a_collector_that_refuses_is_a_gap_that_says_why_and_nobody_follows_in_its_place(
    server: NatsServer,
) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes, at_home = SpeakingNodes(mesh), SpeakingNodes(mesh)
    collector = FollowingCollector(nodes, device="wg9")
    async with (
        collector.at(login),
        followed(login, mesh, local=LocalFollower(at_home, 1.0), regions=("fra",)) as here,
    ):
        await here.shows(**SIN)
        await here.shows(**dict.fromkeys(FRA, "collector-refused"))
        assert "wg9" in str(here.newest["a-fra-1"])
        assert not at_home.sessions.keys() & FRA.keys()


# -- whoever reads slowly


async def test_however_slowly_an_auditor_reads_little_waits_for_it_and_it_gets_the_newest_states(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_job, "FORGET_EACH", 0.1)
    monkeypatch.setattr(following_job, "MOST_UNREAD", 8)
    mesh, login = two_regions(), login_at(server)
    nodes = SpeakingNodes(mesh)
    collector = FollowingCollector(nodes)
    async with collector.at(login), auditor_by_hand(login) as auditor:
        await auditor.open([mesh.registrations[node(name)] for name in FRA])
        while sum(not isinstance(message, Working) for message in auditor.came) < 8:
            nodes.change("a-fra-1", f"10.1.0.{len(auditor.came)}")
            await auditor.next(States)
        for number in range(300):
            nodes.change("a-fra-1", f"10.2.{number // 200}.{number % 200}")
            await asyncio.sleep(0)
        await until(lambda: nodes.asked[node("a-fra-1")] > 300)
        assert await auditor.nothing_but(Working, seconds=0.7)
        await auditor.read()
        states = await auditor.next(States)
        assert [item.seen.addresses for item in states.states if item.seen] == [["10.2.1.99/32"]]
        # What no node shows is let go, though it was never read.
        await until(lambda: len(collector.tables[0].tables) <= 2 + len(FRA))
