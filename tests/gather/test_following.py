"""Nodes that are followed: who is connected when, what is told of whom, and how often."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing
from dataclasses import replace

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.gather.collector import Assignment, Heard
from auditor.gather.following import FOLLOW_AGAIN, LONGEST_PAUSE, LocalFollower, pause
from auditor.nodes.table_store import TableStore
from auditor.values.meetings import PeersMet
from auditor.values.models import Gap, NodeId, Observation, Registration
from tests import virtual_time
from tests.fakes import MemoryNodes
from tests.fleets import Mesh, trio

Word = Observation | ProbeError | str | None
"""What a node's session says; text: `new`, `beat`, `over`, or `wait N`, which lets so many seconds pass."""


class FollowedFleet(MemoryNodes):
    """Sessions that go as a script has it: by node and number of the session, what happens in it, one by one.

    After its last word a session is quiet for ever.
    """

    def __init__(self, mesh: Mesh, script: Callable[[str, int], list[Word]]) -> None:
        super().__init__(mesh)
        self._script = script
        self.sessions: Counter[str] = Counter()
        self.began: list[tuple[float, str]] = []
        self.open: set[str] = set()
        self.hidden: set[str] = set()
        """Names of nodes that do not tell whom they meet."""
        self.most_open_unheard = 0
        self._unheard = 0

    def way(self, registration: Registration) -> Hashable:
        return registration.ssh_host

    async def meet(self, registration: Registration) -> PeersMet:
        if registration.node.name in self.hidden:
            raise ProbeError(GapReason.CANNOT_FOLLOW, "there is no session")
        return PeersMet(registration.node, {}, {})

    def silence(self, interval: float) -> float:
        return 3 * max(30.0, interval)

    async def follow(
        self,
        registration: Registration,
        tables: TableStore,
        interval: float,  # noqa: ARG002
    ) -> AsyncGenerator[Observation | ProbeError | None, None]:
        name = registration.node.name
        self.sessions[name] += 1
        self.began.append((asyncio.get_running_loop().time(), name))
        self._unheard += 1
        self.most_open_unheard = max(self.most_open_unheard, self._unheard)
        self.open.add(name)
        heard = False
        try:
            await asyncio.sleep(0.05)
            for word in self._script(name, self.sessions[name]):
                if isinstance(word, str) and word.startswith("wait"):
                    await asyncio.sleep(float(word[5:]))
                    continue
                if not heard:
                    heard, self._unheard = True, self._unheard - 1
                if isinstance(word, ProbeError):
                    raise word
                if word == "over":
                    return
                if isinstance(word, Observation):
                    yield word
                else:
                    yield await self.observe(registration, tables) if word == "new" else None
            await asyncio.sleep(1e9)
        finally:
            self.open.discard(name)
            self._unheard -= not heard


def lost(reason: GapReason = GapReason.CONNECTION_LOST) -> ProbeError:
    return ProbeError(reason, "planted")


def told(heard: Heard) -> str:
    """`edge-fra-1 new`, `… beat`, or the gap's reason."""
    seen = heard.seen
    what = "beat" if seen is None else seen.reason.value if isinstance(seen, Gap) else "new"
    return f"{heard.node.name} {what}{'' if heard.followed else ' by rounds'}"


def listen(
    nodes: FollowedFleet,
    seconds: float,
    act: Callable[[LocalFollower], Awaitable[None]] | None = None,
    only: str = "edge-sin-1",
) -> list[tuple[float, str]]:
    """What is told of one node in so many seconds, and when, while something is done to the follower."""

    async def main() -> list[tuple[float, str]]:
        follower = LocalFollower(nodes, 5.0, chance=lambda: 0.5)
        follower.assign(whole(trio()))
        loop, heard = asyncio.get_running_loop(), list[tuple[float, str]]()
        acting = asyncio.ensure_future(act(follower)) if act else None
        try:
            async with asyncio.timeout(seconds), aclosing(follower.follow(TableStore())) as stream:
                async for item in stream:
                    if item.node.name == only:
                        heard.append((round(loop.time(), 1), told(item)))
        except TimeoutError:
            pass
        if acting is not None:
            await acting
        assert not nodes.open
        assert len(asyncio.all_tasks()) == 1
        return heard

    return virtual_time.run(main())[0]


def whole(mesh: Mesh) -> Assignment:
    registrations = tuple(mesh.registrations.values())
    return Assignment(registrations, registrations)


def always(*words: Word) -> Callable[[str, int], list[Word]]:
    return lambda _, __: list(words)


def at_sin(*sessions: list[Word]) -> Callable[[str, int], list[Word]]:
    """edge-sin-1's sessions, the last one again and again; the others hold still."""
    return lambda name, number: (
        sessions[min(number, len(sessions)) - 1] if name == "edge-sin-1" else ["new", "beat"]
    )


def words(heard: list[tuple[float, str]]) -> list[str]:
    return [text.removeprefix("edge-sin-1 ") for _, text in heard]


def test_what_a_session_says_is_told_in_order() -> None:
    nodes = FollowedFleet(trio(), at_sin(["new", "wait 1", "beat", "wait 30", "beat", "wait 1", "new"]))
    assert words(listen(nodes, 60)) == ["new", "beat", "beat", "new"]


def test_a_state_that_cannot_be_read_is_a_gap_until_it_can_and_a_beat_says_that_it_stands() -> None:
    failed = ProbeError(GapReason.NO_DEVICE, "planted")

    class Failing(FollowedFleet):
        async def follow(
            self,
            registration: Registration,
            tables: TableStore,
            interval: float,  # noqa: ARG002
        ) -> AsyncGenerator[Observation | ProbeError | None, None]:
            for said in (await self.observe(registration, tables), failed, None, failed, None):
                await asyncio.sleep(1)
                yield said
            yield await self.observe(registration, tables)
            await asyncio.sleep(1e9)

    assert words(listen(Failing(trio(), always()), 60)) == ["new", "no-device", "beat", "beat", "new"]


def test_a_session_that_is_lost_and_had_again_at_once_is_no_gap() -> None:
    nodes = FollowedFleet(trio(), at_sin(["new", "wait 40", "beat", lost()], ["new", "beat"]))
    assert words(listen(nodes, 120)) == ["new", "beat", "new", "beat"]


def test_a_session_that_is_lost_for_good_is_one_gap_and_another_when_the_reason_changes() -> None:
    refused = [lost(GapReason.CONNECT_REFUSED)]
    nodes = FollowedFleet(
        trio(), at_sin(["new", "wait 40", "beat", lost()], *[refused] * 4, [lost(GapReason.HOST_KEY)])
    )
    assert words(listen(nodes, 600)) == ["new", "beat", "connect-refused", "host-key"]


def test_a_lost_node_whose_turn_does_not_come_is_a_gap_after_three_beats() -> None:
    """Of its last word, not of its loss."""
    nodes = FollowedFleet(trio(), at_sin(["new", "wait 40", "beat", lost()], ["wait 500", "new"]))
    heard = listen(nodes, 200)
    assert words(heard) == ["new", "beat", "connection-lost"]
    assert heard[2][0] - heard[1][0] == pytest.approx(90, abs=0.2)


def test_a_session_that_is_over_is_had_again_without_a_word() -> None:
    nodes = FollowedFleet(trio(), at_sin(["new", "wait 11000", "beat", "over"], ["new", "beat"]))
    assert words(listen(nodes, 12000)) == ["new", "beat", "new", "beat"]


def test_a_node_that_is_silent_is_a_gap_at_once() -> None:
    nodes = FollowedFleet(trio(), at_sin(["new", "wait 90", lost(GapReason.SILENT)], ["new", "beat"]))
    assert words(listen(nodes, 120)) == ["new", "silent", "new", "beat"]


def test_a_node_that_cannot_be_reached_is_tried_again_with_pauses_that_grow_to_a_minute() -> None:
    nodes = FollowedFleet(trio(), at_sin([lost(GapReason.CONNECT_REFUSED)]))
    assert words(listen(nodes, 600)) == ["connect-refused"]
    times = [time for time, name in nodes.began if name == "edge-sin-1"]
    pauses = [round(later - time) for time, later in itertools.pairwise(times)]
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("reason", sorted(GapReason))
def test_pauses_are_bounded_and_spread(reason: GapReason) -> None:
    for tries in range(1, 2000, 7):
        shortest, longest = pause(tries, reason, 0.0), pause(tries, reason, 1.0)
        assert 0.5 <= shortest < longest <= 1.5 * LONGEST_PAUSE
        assert longest == 3 * shortest


def test_what_a_server_refuses_is_not_asked_for_each_second() -> None:
    """Accounts get locked."""
    assert pause(1, GapReason.AUTH, 0.0) == pause(1, GapReason.THROTTLED, 0.0) == LONGEST_PAUSE / 2


def test_a_node_that_cannot_be_followed_is_looked_at_each_round_and_once_more_where_it_changed() -> None:
    nodes = FollowedFleet(trio(), at_sin([lost(GapReason.CANNOT_FOLLOW)]))

    async def rounds(follower: LocalFollower) -> None:
        for _ in range(3):
            await asyncio.sleep(60)
            follower.look_again()

    heard = listen(nodes, 200, rounds)
    assert words(heard) == ["new by rounds", "beat by rounds", *["beat by rounds"] * 3]
    assert [round(time) for time, _ in heard] == [0, 1, 60, 120, 180]
    assert nodes.sessions["edge-sin-1"] == 1


def test_a_node_that_cannot_be_followed_nor_seen_is_heard_of_each_round() -> None:
    nodes = FollowedFleet(trio(), at_sin([lost(GapReason.CANNOT_FOLLOW)]))
    nodes.surprises = {"edge-sin-1": lost(GapReason.NO_WG)}

    async def rounds(follower: LocalFollower) -> None:
        for _ in range(2):
            await asyncio.sleep(60)
            follower.look_again()

    assert words(listen(nodes, 150, rounds)) == ["no-wg by rounds", "beat by rounds", "beat by rounds"]


def test_a_node_that_cannot_be_followed_is_tried_again_now_and_then() -> None:
    nodes = FollowedFleet(trio(), at_sin([lost(GapReason.CANNOT_FOLLOW)], ["new", "beat"]))

    async def rounds(follower: LocalFollower) -> None:
        for _ in range(FOLLOW_AGAIN):
            await asyncio.sleep(60)
            follower.look_again()

    heard = listen(nodes, 60 * (FOLLOW_AGAIN + 1), rounds)
    assert words(heard)[-2:] == ["new", "beat"]


def test_an_assignment_at_any_time_connects_the_new_lets_go_of_the_gone_and_renews_the_changed() -> None:
    nodes = FollowedFleet(trio(), always("new", "beat"))

    async def change(follower: LocalFollower) -> None:
        await asyncio.sleep(10)
        registrations = {form.node.name: form for form in trio().registrations.values()}
        registrations.pop("edge-fra-1")
        registrations["edge-sin-1"] = replace(registrations["edge-sin-1"], ssh_host="198.18.0.99")
        ams = registrations["edge-ams-1"]
        registrations["edge-ams-1"] = replace(ams, region="nrt", modify_index=99)
        assigned = tuple(registrations.values())
        follower.assign(Assignment(assigned, assigned))
        await asyncio.sleep(10)
        assert nodes.open == {"edge-sin-1", "edge-ams-1"}

    heard = listen(nodes, 60, change)
    assert words(heard) == ["new", "beat", "new", "beat"]
    assert nodes.sessions == {"edge-fra-1": 1, "edge-sin-1": 2, "edge-ams-1": 1}


def test_nodes_that_there_is_no_room_for_are_looked_at_each_round() -> None:
    nodes = FollowedFleet(trio(), always("new", "beat"))

    async def main() -> list[str]:
        follower = LocalFollower(nodes, 5.0, room=lambda wanted, held: wanted - held - 1)
        follower.assign(whole(trio()))
        async with aclosing(follower.follow(TableStore())) as stream:
            return [told(await anext(stream)) for _ in range(6)]

    heard, _ = virtual_time.run(main())
    assert sum(text.endswith("by rounds") for text in heard) == 2
    assert sum(nodes.sessions.values()) == 2


def big(number: int) -> Mesh:
    mesh = Mesh()
    for index in range(number):
        mesh.node(f"n-{index}", f"10.1.{index >> 8}.{index & 255}", region="fra")
    return mesh


def test_a_cut_network_ends_in_no_stampede() -> None:
    """All sessions are lost together, nothing is reached for a minute, and then all come back at the pace."""
    number = 300

    def script(_: str, session: int) -> list[Word]:
        down = now() < 160 and session > 1
        if down:
            return [lost(GapReason.CONNECT_REFUSED)]
        return ["new", "beat", *([f"wait {100 - now()}", lost()] if session == 1 else [])]

    nodes = FollowedFleet(mesh := big(number), script)
    now = lambda: asyncio.get_running_loop().time()  # noqa: E731

    async def main() -> Counter[int]:
        follower = LocalFollower(nodes, 5.0, concurrency=50)
        follower.assign(whole(mesh))
        try:
            async with asyncio.timeout(300), aclosing(follower.follow(TableStore())) as stream:
                async for _ in stream:
                    pass
        except TimeoutError:
            pass
        return Counter(int(time) for time, _ in nodes.began)

    a_second, _ = virtual_time.run(main())
    assert nodes.most_open_unheard <= 50
    assert max(nodes.sessions.values()) <= 10
    came_back = [count for second, count in a_second.items() if 160 <= second < 260]
    assert number - 5 <= sum(came_back) <= number
    assert max(came_back) < number / 3


def test_news_that_nobody_takes_is_bounded_by_the_nodes() -> None:
    """Of each its newest state, and whether it holds."""
    many: list[Word] = ["new", "wait 1", "beat", "wait 1"] * 500
    nodes = FollowedFleet(trio(), always(*many))

    async def main() -> list[str]:
        follower = LocalFollower(nodes, 5.0)
        follower.assign(whole(trio()))
        async with aclosing(follower.follow(TableStore())) as stream:
            await anext(stream)
            await asyncio.sleep(2000)
            heard = [told(await anext(stream)) for _ in range(6)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(stream)
        return sorted(heard)

    heard, _ = virtual_time.run(main())
    assert heard == sorted(
        f"edge-{region}-1 {word}" for region in ("fra", "sin", "ams") for word in ("new", "beat")
    )


async def test_of_those_who_are_asked_whom_they_meet_the_silent_and_the_unknown_are_left_out() -> None:
    fleet = FollowedFleet(trio(), lambda _, __: ["new"])
    fleet.hidden = {"edge-sin-1"}
    follower = LocalFollower(fleet, 5.0)
    registered = tuple(trio().registrations.values())
    follower.assign(Assignment(registered, registered))
    nodes = [item.node for item in registered]
    met = await follower.meet([*nodes, NodeId("dc1", "gone-fra-1")])
    assert [item.observer.name for item in met] == ["edge-fra-1", "edge-ams-1"]
