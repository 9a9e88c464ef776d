"""The watch's loop: what is told, when, and what becomes of a part that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from auditor.errors import GapReason, WatchEnded
from auditor.gather.questioning import Questioning
from auditor.reports.audit_health import AuditHealth
from auditor.service.remembered import Remembered
from auditor.settings.witnesses import WitnessSettings
from auditor.values.leaders import Leader, TellingRole
from auditor.values.models import Gap, NodeId, Snapshot
from auditor.values.report import Report, Verdict
from auditor.values.witness_answers import WitnessAnswer
from auditor.watch.interface import WatchParts
from auditor.watch.loop import FleetWatch
from auditor.watch.view import WatchCounter, WatchView
from auditor.witnesses.interface import Question
from tests.fakes import MemoryWitnesses
from tests.fleets import Mesh, prefixes, trio
from tests.watch.scripted import Notebook, ScriptedFollower, ScriptedRegistry, readings

SOON = 10.0
"""Seconds within which what is awaited must come on a busy machine."""


@dataclass
class Watched:
    """A watch under test, with its scripted parts."""

    registry: ScriptedRegistry
    nodes: ScriptedFollower
    notebook: Notebook
    complaints: list[str] = field(default_factory=list)
    lost: Exception | tuple[()] = ()
    """What asking for vanished registrations comes to: the first step of judging."""
    built: int = 0
    """How often the followers of nodes were built."""
    watch: FleetWatch = field(init=False)
    parts: WatchParts = field(init=False)

    def follower(self) -> ScriptedFollower:
        """Another follower, of the fleet as it is now."""
        self.built += 1
        if self.built > 1:
            self.nodes = ScriptedFollower(self.nodes.mesh)
        return self.nodes

    def list_lost(self, _: Snapshot, __: Remembered) -> tuple[()]:
        """Nothing, or the failure that was planted."""
        if isinstance(self.lost, Exception):
            raise self.lost
        return self.lost

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(SOON):
            while not condition():  # noqa: ASYNC110  (conditions of several parts)
                await asyncio.sleep(0.01)

    async def rounds(self, number: int) -> None:
        """Wait for so many rounds."""
        await self.until(lambda: len(self.notebook.rounds) >= number)

    async def shows(self, condition: Callable[[WatchView], bool]) -> WatchView:
        """The first view that is so."""
        async with asyncio.timeout(SOON):
            number = 0
            while True:
                view = await self.watch.after(number)
                if condition(view):
                    return view
                number = view.number


@asynccontextmanager
async def watched(
    mesh: Mesh,
    *,
    round_interval: float = 3600.0,
    followed: bool = True,
    questioning: Questioning | None = None,
    notebook: Notebook | None = None,
) -> AsyncIterator[Watched]:
    """A watch of this fleet, from its first whole view on."""
    here = Watched(ScriptedRegistry(mesh), ScriptedFollower(mesh), notebook or Notebook())
    here.nodes.followed = followed
    here.parts = WatchParts(
        registry=here.registry,
        follower=here.follower,
        policy=mesh.policy,
        lost=here.list_lost,
        questioning=questioning,
        round_interval=round_interval,
        catch_up=0.0,
    )
    here.watch = FleetWatch(
        here.parts, here.notebook, here.complaints.append, tick=0.5, journal=here.notebook.journal.append
    )
    running = asyncio.create_task(here.watch.run())
    try:
        await here.shows(lambda view: view.ready and view.sessions.gone == 0)
        yield here
    finally:
        here.watch.stop()
        await asyncio.wait_for(running, SOON)


def reasons(report: Report) -> set[GapReason]:
    """Why something of it was not seen."""
    return {gap.reason for gap in report.gaps}


def marks(report: Report) -> set[tuple[str, str]]:
    """Check and subject of what counts."""
    return {(item.check, item.subject) for item in report.standing}


def doubled() -> Mesh:
    """The three nodes, and one that was registered with an address of theirs."""
    return trio().node("edge-fra-9", "10.0.0.3", region="fra")


DUPLICATE = ("duplicate-address", "10.0.0.3")


def test_a_still_fleet_is_clean_and_nobody_is_told() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            view = await here.shows(lambda view: view.report.verdict is Verdict.CLEAN)
            assert view.ready
            assert here.notebook.told == []
            assert here.complaints == []

    asyncio.run(run())


def test_a_duplicate_is_told_when_it_is_written_after_one_more_read_and_before_any_node_shows_it() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            here.registry.write(doubled())
            await here.shows(lambda view: DUPLICATE in marks(view.report))
            assert here.registry.confirmations >= 1
            assert [DUPLICATE in marks(report) for report in here.notebook.told] == [True]

    asyncio.run(run())


def test_one_event_that_arrives_thrice_is_told_once() -> None:
    """Registry, device, routes: all of it is one incident, which the round tells as a change."""

    async def run() -> None:
        async with watched(trio(), round_interval=0.5) as here:
            here.registry.write(doubled())
            await here.shows(lambda view: DUPLICATE in marks(view.report))
            here.nodes.move(doubled())
            view = await here.shows(
                lambda view: (
                    any(item.evidence.routing for item in view.report.standing) and not view.report.unsettled
                )
            )
            assert [DUPLICATE in marks(report) for report in here.notebook.told] == [True]
            assert {item.caused_by for item in view.report.standing if item.caused_by} <= {
                item.fingerprint for item in view.report.standing if item.check == "duplicate-address"
            }
            await here.rounds(2)
            assert len(here.notebook.told) == 1

    asyncio.run(run())


def questioning(*, share: float) -> tuple[MemoryWitnesses, Questioning]:
    """Witnesses who meet edge-fra-1 wherever they ask."""

    def answer(question: Question, _: int) -> WitnessAnswer:
        node = NodeId("dc1", "edge-fra-1")
        observer, address = question.observer.node, question.address
        return WitnessAnswer(observer, address, question.source, 0.01, node.name, node)

    witnesses = MemoryWitnesses(answer)
    return witnesses, Questioning(witnesses, [WitnessSettings(type="nats", share=share)])


def test_a_new_incident_is_asked_about_once_between_two_rounds() -> None:
    async def run() -> None:
        witnesses, asking = questioning(share=0.0)
        async with watched(trio(), questioning=asking) as here:
            assert witnesses.asked == []
            here.registry.write(doubled())
            here.nodes.move(doubled())
            view = await here.shows(lambda view: any(item.evidence.answers for item in view.report.standing))
            assert DUPLICATE in marks(view.report)
            assert {item.observer.node.name for item in witnesses.asked} == {"edge-ams-1", "edge-fra-1"}

    asyncio.run(run())


def test_each_round_asks_a_share_and_who_else_answers_is_told() -> None:
    async def run() -> None:
        witnesses, asking = questioning(share=1.0)
        async with watched(trio(), round_interval=0.5, questioning=asking) as here:
            await here.until(lambda: bool(here.notebook.told))
            assert {item.check for item in here.notebook.told[0].standing} == {"answered-by-other"}
            assert witnesses.asked

    asyncio.run(run())


def test_what_one_more_read_does_not_show_is_not_told() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            here.registry.behind = readings(trio())
            here.registry.write(doubled())
            await here.until(lambda: here.registry.confirmations > 0)
            here.registry.behind = {}
            here.registry.write(trio())
            await here.shows(lambda view: view.report.verdict is Verdict.CLEAN and not view.report.in_flight)
            assert here.notebook.told == []

    asyncio.run(run())


def test_a_duplicate_that_cannot_be_read_once_more_is_told_when_it_can() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            here.registry.unconfirmable = Gap("consul", GapReason.CONSUL_TIMEOUT, "planted", datacenter="dc1")
            here.registry.write(doubled())
            await here.until(lambda: here.registry.confirmations > 0)
            assert here.notebook.told == []
            here.registry.unconfirmable = None
            await here.shows(lambda view: DUPLICATE in marks(view.report))
            assert len(here.notebook.told) == 1

    asyncio.run(run())


def test_a_change_of_a_device_is_told_once_it_held_still() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            moved = trio().holds("edge-sin-1", "10.0.0.2")
            here.nodes.move(moved, "edge-sin-1", still=False)
            view = await here.shows(lambda view: bool(view.report.unsettled))
            assert view.report.standing == ()
            assert here.notebook.told == []
            here.nodes.beat("edge-sin-1")
            await here.shows(lambda view: ("duplicate-address", "10.0.0.2") in marks(view.report))
            assert len(here.notebook.told) == 1

    asyncio.run(run())


def provisioned(*, followed: bool) -> Mesh:
    """The three nodes, and a new one; followed: all have it as a peer."""
    mesh = trio().node("edge-fra-9", "10.0.0.9", region="fra")
    return mesh if followed else mesh.lacks("edge-fra-1", "edge-fra-9").lacks("edge-sin-1", "edge-fra-9")


LACKED = ("missing-peer", "edge-fra-9")
INTERVAL = 2.0
"""Seconds between two rounds: what happens half a one before a round is young in it, and another half later."""


def test_a_new_node_whose_device_and_peers_follow_its_registration_is_shown_and_not_told() -> None:
    """Nor is it in the round's history, though it stands while a round is done."""

    async def run() -> None:
        async with watched(trio(), round_interval=INTERVAL) as here:
            await here.rounds(1)
            await asyncio.sleep(INTERVAL / 2)
            here.registry.write(provisioned(followed=False))
            here.nodes.move(provisioned(followed=False))
            await here.rounds(2)
            view = await here.shows(lambda view: LACKED in marks(view.report))
            assert view.report.verdict is Verdict.FINDINGS
            here.nodes.move(provisioned(followed=True))
            await here.shows(lambda view: view.report.verdict is Verdict.CLEAN)
            await here.rounds(3)
            young, over = (report for report, _ in here.notebook.rounds[1:3])
            assert (young.standing, young.verdict) == ((), Verdict.INCONCLUSIVE)
            assert young.withheld >= {item.fingerprint for item in view.report.standing}
            assert (over.standing, over.verdict) == ((), Verdict.CLEAN)
            assert here.notebook.told == []

    asyncio.run(run())


def test_a_new_node_whose_peers_never_follow_is_told_once_an_interval_after_its_registration() -> None:
    """By the watch's own clock: nothing else happens, and no round is due."""

    async def run() -> None:
        async with watched(trio(), round_interval=1.0) as here:
            await here.rounds(1)
            here.registry.write(provisioned(followed=False))
            written = asyncio.get_running_loop().time()
            here.nodes.move(provisioned(followed=False))
            await here.shows(lambda view: LACKED in marks(view.report))
            await here.until(lambda: bool(here.notebook.told))
            assert asyncio.get_running_loop().time() - written >= 1.0
            assert LACKED in marks(here.notebook.told[0])
            await here.rounds(len(here.notebook.rounds) + 2)
            assert len(here.notebook.told) == 1
            assert LACKED in marks(here.notebook.rounds[-1][0])

    asyncio.run(run())


def test_only_a_round_tells_that_something_is_over() -> None:
    async def run() -> None:
        async with watched(doubled(), round_interval=0.5) as here:
            await here.shows(lambda view: DUPLICATE in marks(view.report))
            here.nodes.move(trio())
            here.registry.write(trio())
            # It is no more shown, but nobody was heard of since the registry changed.
            view = await here.shows(lambda view: not view.report.standing)
            assert view.report.verdict is Verdict.INCONCLUSIVE
            assert view.gone
            here.nodes.beat()
            await here.shows(lambda view: view.report.verdict is Verdict.CLEAN)
            number = len(here.notebook.rounds)
            await here.rounds(number + 2)
            assert here.notebook.rounds[-1][0].standing == ()
            assert len(here.notebook.told) == 1

    asyncio.run(run())


def test_a_round_of_an_unchanged_fleet_judges_nothing_and_has_the_time_of_now() -> None:
    async def run() -> None:
        async with watched(trio(), round_interval=0.2) as here:
            await here.rounds(2)
            judged = (await here.watch.after(0)).counters[WatchCounter.JUDGEMENTS]
            await here.rounds(4)
            assert (await here.watch.after(0)).counters[WatchCounter.JUDGEMENTS] == judged
            times = [report.finished_at for report, _ in here.notebook.rounds]
            assert times == sorted(set(times))

    asyncio.run(run())


def test_nodes_that_cannot_be_followed_are_looked_at_each_round() -> None:
    async def run() -> None:
        async with watched(trio(), round_interval=0.3, followed=False) as here:
            await here.rounds(1)
            here.nodes.become(trio().holds("edge-sin-1", "10.0.0.2"))
            view = await here.shows(lambda view: ("duplicate-address", "10.0.0.2") in marks(view.report))
            assert here.nodes.rounds > 1
            assert (view.sessions.followed, view.sessions.by_rounds) == (0, 3)

    asyncio.run(run())


@pytest.mark.parametrize("part", ["registry", "nodes"])
def test_a_part_that_fails_is_complained_of_and_begins_anew(part: str) -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            failure = ValueError("a fault that nobody foresaw")
            if part == "registry":
                here.registry.fail(failure)
            else:
                here.nodes.say(failure)
            await here.until(lambda: bool(here.complaints))
            assert here.complaints[0].startswith(
                f"watch: {part}: ValueError: a fault that nobody foresaw; begun"
            )
            await here.until(lambda: here.registry.streams > 0 and here.nodes.listened_to)
            here.registry.write(doubled())
            here.nodes.move(doubled())
            await here.shows(lambda view: DUPLICATE in marks(view.report))

    asyncio.run(run())


def test_telling_that_fails_is_tried_again() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            here.notebook.failing = ValueError("a fault that nobody foresaw")
            here.registry.write(doubled())
            await here.until(lambda: bool(here.notebook.told))
            assert DUPLICATE in marks(here.notebook.told[0])
            assert "a fault that nobody foresaw" in here.complaints[0]

    asyncio.run(run())


def test_what_cannot_be_judged_is_a_gap_and_what_was_found_stands() -> None:
    async def run() -> None:
        async with watched(doubled(), round_interval=0.5) as here:
            await here.shows(lambda view: DUPLICATE in marks(view.report))
            here.lost = ValueError("a fault that nobody foresaw")
            here.registry.write(doubled().node("edge-fra-8", "10.0.0.8"))
            view = await here.shows(lambda view: GapReason.INTERNAL in reasons(view.report))
            assert DUPLICATE in marks(view.report)
            await here.rounds(len(here.notebook.rounds) + 1)
            assert DUPLICATE in marks(here.notebook.rounds[-1][0])
            here.lost = ()
            here.registry.write(doubled())
            await here.shows(lambda view: GapReason.INTERNAL not in reasons(view.report))

    asyncio.run(run())


def test_a_fault_of_the_registry_is_shown_and_a_round_tells_it() -> None:
    async def run() -> None:
        async with watched(trio(), round_interval=0.3) as here:
            here.registry.write(
                trio().gap(GapReason.CONSUL_NO_LEADER, dc="dc1"), event="no leader", confirmed=True
            )
            view = await here.shows(lambda view: GapReason.CONSUL_NO_LEADER in reasons(view.report))
            (datacenter,) = view.datacenters
            assert (datacenter.event, datacenter.readable) == ("no leader", False)
            await here.rounds(len(here.notebook.rounds) + 1)
            assert GapReason.CONSUL_NO_LEADER in reasons(here.notebook.rounds[-1][0])

    asyncio.run(run())


def test_what_befell_the_registry_is_shown_though_it_says_what_it_said() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            here.registry.write(trio(), event="an election", confirmed=True)
            view = await here.shows(lambda view: view.datacenters[0].event == "an election")
            assert view.report.verdict is Verdict.CLEAN

    asyncio.run(run())


def test_news_of_the_registry_are_taken_down_in_their_order() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            for number in (7, 8, 9):
                here.registry.write(trio().node("edge-fra-9", f"10.0.0.{number}"))
            await here.until(lambda: len(here.notebook.journal) >= 4)
            addresses = [
                item.addresses
                for news in here.notebook.journal
                for item in news.reading.registrations
                if item.node.name == "edge-fra-9"
            ]
            assert addresses[:3] == [prefixes([f"10.0.0.{number}"]) for number in (7, 8, 9)]

    asyncio.run(run())


def test_other_settings_connect_anew_and_other_times_do_not() -> None:
    async def run() -> None:
        async with watched(trio(), round_interval=3600.0) as here:
            here.watch.reload(replace(here.parts, round_interval=0.2, registry=ScriptedRegistry(trio())))
            await here.rounds(1)
            assert here.built == 1
            policy = replace(here.parts.policy, pools=prefixes(["10.9.0.0/16"]))
            here.watch.reload(replace(here.parts, policy=policy, built_of=object()))
            await here.shows(lambda view: ("outside-pool", "10.0.0.2") in marks(view.report))
            assert here.built == 2

    asyncio.run(run())


def test_a_watch_that_ends_leaves_no_task_and_lets_nobody_wait() -> None:
    async def run() -> None:
        before = asyncio.all_tasks()
        async with watched(trio()) as here:
            waiting = asyncio.create_task(here.watch.after(10_000))
            await asyncio.sleep(0)
        with pytest.raises(WatchEnded):
            await waiting
        assert asyncio.all_tasks() == before

    asyncio.run(run())


def test_its_pulse_beats_while_nothing_happens() -> None:
    async def run() -> None:
        async with watched(trio()) as here:
            beats = here.watch.pulse.beats
            await here.until(lambda: here.watch.pulse.beats > beats)

    asyncio.run(run())


async def test_a_key_that_observers_go_on_to_meet_at_two_hosts_is_told() -> None:
    """No node says anything new: some are asked each round, and nobody is judged anew before that."""
    mesh = (
        trio().reached_at("edge-sin-1", None, "198.18.0.1:51820").node("edge-sin-2", "10.0.0.9", region="sin")
    )
    async with watched(mesh, round_interval=0.1) as here:
        for observer, host in (("edge-fra-1", 1), ("edge-ams-1", 66), ("edge-sin-2", 1)):
            mesh.meets(observer, "edge-sin-1", f"198.18.0.{host}:51820", 0)
        await here.until(
            lambda: "several-endpoints" in {f.check for r in here.notebook.told for f in r.standing}
        )


def test_whoever_takes_over_tells_what_stands_and_shows_who_leads() -> None:
    async def run() -> None:
        async with watched(doubled()) as here:
            await here.until(lambda: len(here.notebook.told) == 1)
            here.watch.tell_anew()
            await here.until(lambda: len(here.notebook.told) == 2)
            assert DUPLICATE in marks(here.notebook.told[1])
            led = Leader(TellingRole.LEADS, "audit-2", 7)
            here.watch.led_by(led)
            await here.shows(lambda view: view.health.leader == led)

    asyncio.run(run())


async def test_the_first_view_has_the_health_that_is_known_before_any_round() -> None:
    notebook = Notebook()
    notebook.before_rounds = AuditHealth(state_readable=True, waiting=2, refused=0)
    notebook.may_end_rounds.clear()
    async with watched(trio(), notebook=notebook) as here:
        view = await here.shows(lambda view: view.ready)
        notebook.may_end_rounds.set()
        assert view.round_at is None
        assert view.health == notebook.before_rounds
