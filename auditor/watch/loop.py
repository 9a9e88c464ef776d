"""The watch's loop: follows registry and nodes, judges what changed, has it told, and shows it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from auditor.errors import GapReason
from auditor.fleet.fleet import Fleet
from auditor.fleet.showing import moved_in
from auditor.gather.collector import Follower
from auditor.gather.questioning import Questioning
from auditor.judge import judge
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.registry.interface import RegistryNews
from auditor.reports.audit_health import AuditHealth
from auditor.service.pulse import Pulse
from auditor.service.remembered import Remembered, with_silences
from auditor.service.version import VERSION
from auditor.values.findings import Finding, Severity
from auditor.values.leaders import Leader
from auditor.values.models import LostRegistration, MovedRegistration, RegistryReading, Snapshot
from auditor.values.report import Report
from auditor.watch.confirmations import Confirmations
from auditor.watch.followed_registry import RegistryChange
from auditor.watch.interface import Telling, WatchParts
from auditor.watch.judging_times import JudgingTimes
from auditor.watch.kept_up import ended, kept_up
from auditor.watch.live import Live
from auditor.watch.met_keys import observers_of_turn
from auditor.watch.newest_view import NewestView
from auditor.watch.not_judged import not_judged
from auditor.watch.out_of_sight import OutOfSight
from auditor.watch.registry_alone import RegistryFindings, judge_alone, merged
from auditor.watch.view import WatchCounter, WatchView
from auditor.watch.young import YoungFindings
from auditor.witnesses.interface import Question

log = logging.getLogger(__name__)

T = TypeVar("T")

TICK = 5.0
"""Seconds between two turns of the loop, at most: each is a beat of its pulse."""
FIRST_WORDS = 120.0
"""Seconds after which a watch that begins judges as ever, though some nodes were not heard of yet."""
ROUND_WAIT = 35.0
"""Seconds for which a round waits for what is unsettled, and for nodes that are looked at once a round."""
LONGEST_TURN = 60.0
"""Seconds between two turns of asking observers where they meet their peers, at most."""
ASKING_ENDS = 60.0
"""Seconds after which one asking of witnesses ends with the answers so far."""
ASK_PAUSE = 10.0
"""Seconds between two askings, at least."""
JOURNAL_AFTER = 1.0
"""Seconds before news of the registry are taken down."""
LONGEST_JUDGEMENT = 300.0
"""Seconds after which a judgement that goes on is no progress any more."""


class FleetWatch(NewestView):
    """Watch of one fleet: `run` it, once. What it sees is in its views."""

    def __init__(
        self,
        parts: WatchParts,
        telling: Telling,
        complain: Callable[[str], None],
        *,
        stop_within: float = 5.0,
        pulse: Pulse | None = None,
        tick: float = TICK,
        journal: Callable[[RegistryNews], None] | None = None,
    ) -> None:
        """complain: told in one line of what failed. stop_within: seconds in which `run` ends once it is to stop.
        tick: seconds between two turns, at most. journal: takes news of the registry down, all of a datacenter in turn.
        """
        super().__init__()
        self.pulse = pulse or Pulse()
        """Pulse of the loop that judges: it beats at each of its turns."""
        self._parts, self._telling, self._complain = parts, telling, complain
        self._stop_within = stop_within
        self._tick, self._journal = tick, journal
        self._stopping = asyncio.Event()
        self._begin_anew = asyncio.Event()
        self._turn_tellings = asyncio.Lock()
        self._started_at = _now()
        self._round_at: datetime | None = None
        self._health = AuditHealth()
        self._leader: Leader | None = None
        self._told: dict[str, Severity] = {}
        """By fingerprint of an incident: the severity that was told."""
        self._to_tell_anew = False
        self._counters: Counter[WatchCounter] = Counter(dict.fromkeys(WatchCounter, 0))
        self._to_show: tuple[Report, Snapshot] | None = None
        self._remembered = Remembered()
        self._young = YoungFindings()
        self._begin()

    @property
    def answers(self) -> Mapping[str, datetime]:
        """Time in UTC of each datacenter's newest answer, whether it brought news or not."""
        return self._registry.answers

    def _begin(self) -> None:
        """Begin with nothing heard, for the parts of now."""
        parts = self._parts
        self._tables = TableStore()
        self._live = Live(
            parts.policy,
            self._tables.tables,
            catch_up=parts.catch_up,
            round_interval=parts.round_interval,
        )
        self._times = JudgingTimes()
        self._out_of_sight = OutOfSight()
        self._news = asyncio.Event()
        """Something is to be judged, or to be waited for otherwise."""
        self._registry_news = asyncio.Event()
        self._to_confirm = asyncio.Event()
        self._to_ask = asyncio.Event()
        self._confirmations = Confirmations()
        self._arrived_at: datetime | None = None
        """Time when the first of the news that are not judged yet arrived."""
        self._alone = RegistryFindings()
        self._content_is_new = False
        """The registry's content was not judged alone yet."""
        self._judged: tuple[Report, Snapshot] | None = None
        self._judged_version = -1
        self._judged_registry = -1
        self._lost: tuple[tuple[int, int], tuple[LostRegistration, ...]] | None = None
        self._round_due = 0.0
        self._round_began: float | None = None
        self._begun_at, self._heard_all = _clock(), False
        self._not_taken_down: deque[RegistryNews] = deque()
        self._to_take_down = asyncio.Event()
        self._follower: Follower | None = None
        self._registry = parts.registry

    # -- life

    def stop(self) -> None:
        """End `run`, at any time and from any place in its event loop."""
        self._stopping.set()

    def reload(self, parts: WatchParts) -> None:
        """Go on with other parts. What was built of the same settings stays connected."""
        before, self._parts = self._parts, parts
        if (before.built_of, before.policy) == (parts.built_of, parts.policy):
            self._parts = replace(parts, registry=before.registry, follower=before.follower)
            self._live.round_interval = parts.round_interval
            self._assign()
        else:
            self._begin_anew.set()

    def tell_anew(self) -> None:
        """Have all that stands told, whether it was told here or not: another auditor told until now."""
        self._to_tell_anew = True
        self._news.set()

    def led_by(self, leader: Leader) -> None:
        """Show who of several auditors tells people."""
        self._leader = leader
        if self.newest is not None and self._to_show is None:
            self._show(self.newest.report, self.newest.snapshot)

    async def run(self) -> None:
        """Watch until `stop`. Raises nothing for what fails: that is complained of, and begun anew."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                self._begin_anew.clear()
                self._begin()
                anew = asyncio.create_task(self._begin_anew.wait())
                parts = [
                    asyncio.create_task(kept_up(name, work, self._complain), name=name)
                    for name, work in (
                        ("registry", self._follow_registry),
                        ("nodes", self._follow_nodes),
                        ("endpoints", self._meet_peers),
                        ("witnesses", self._ask_witnesses),
                        ("registry alone", self._judge_registry),
                        ("confirmation", self._confirm_changes),
                        ("journal", self._take_down),
                        ("judgement", self._judge),
                    )
                ]
                try:
                    await asyncio.wait({stopping, anew}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    anew.cancel()
                    await ended(parts, self._stop_within, self._complain)
        finally:
            stopping.cancel()
            self.end()

    # -- the registry

    async def _follow_registry(self) -> None:
        registry = self._parts.registry.expecting(self._remembered_anew().datacenters)
        if self._round_at is None:
            # The first views are shown before the first round, which may be long in coming.
            self._health = self._telling.health()
        self._registry = registry
        first = await registry.read()
        # Not its contents: only which datacenters there are. Before there is news of each, nobody is missed in any.
        self._live.expect(_datacenters(first))
        for gap in first.gaps:
            if gap.reason is GapReason.DATACENTER_GONE and gap.datacenter:
                gone = RegistryReading(gaps=(gap,))
                self._take(RegistryNews(gap.datacenter, gone, _now(), confirmed=True))
        async with aclosing(registry.follow()) as stream:
            async for news in stream:
                self._take(news)

    def _take(self, news: RegistryNews, asked_at: datetime | None = None) -> RegistryChange:
        """Take in news of a datacenter. asked_at: see `Live.read`."""
        now = _clock()
        change = self._live.read(news, now, asked_at=asked_at)
        if news.event:
            self._counters[WatchCounter.REGISTRY_RECONNECTIONS] += 1
            if self.newest is not None and self._to_show is None:
                self._show(self.newest.report, self.newest.snapshot)
        if not change:
            return change
        if asked_at is None:
            self._counters[WatchCounter.WAKES] += 1
        if change.nodes:
            self._young.moved(change.forms, now)
        if change.nodes and news.datacenter in self._live.unconfirmed:
            self._confirmations.changed(news.datacenter, now)
            if self._live.may_collide(change.nodes):
                self._confirmations.hurry([news.datacenter])
            self._to_confirm.set()
        self._assign()
        self._content_is_new = self._content_is_new or change.content
        if change.content:
            self._not_taken_down.append(news)
            self._to_take_down.set()
        self._arrived_at = self._arrived_at or news.arrived_at
        self._registry_news.set()
        self._noted(now)
        return change

    async def _confirm_changes(self) -> None:
        """Read once more what changed in the registry: at once where it is urgent, else when it holds still."""
        while True:
            now = _clock()
            due = {name: self._confirmations.due(name, now) for name in self._live.unconfirmed}
            self._to_confirm.clear()
            ready = [name for name, at in due.items() if at <= now]
            if ready:
                await asyncio.gather(*map(self._confirm, ready))
            else:
                await _wait(self._to_confirm, min(due.values(), default=now + 3600.0) - now)

    async def _confirm(self, datacenter: str) -> None:
        """Read a datacenter once more."""
        before, asked_at = self._live.unconfirmed.get(datacenter, frozenset()), _now()
        self._confirmations.begin(datacenter)
        news = await self._parts.registry.confirm(datacenter)
        if self._live.sees_more_than(news):
            # The stream says so itself, if it lasts.
            log.info("registry: %s: not read once more: %s", datacenter, news.reading.gaps[0].detail)
        else:
            self._take(news, asked_at)
        left = self._live.unconfirmed.get(datacenter, frozenset())
        self._confirmations.end(datacenter, _clock(), confirmed=not before <= left)

    async def _judge_registry(self) -> None:
        """Judge the registry alone whenever it changed, and have told what stands in it."""
        found = RegistryFindings()
        if self._live.registry_version:
            self._content_is_new = True
            self._registry_news.set()
        while True:
            await self._registry_news.wait()
            self._registry_news.clear()
            in_flight, arrived_at = self._live.in_flight(), self._arrived_at
            if self._content_is_new:
                self._content_is_new = False
                found = await asyncio.to_thread(judge_alone, self._live.registry_alone(_now()))
            moving = [MovedRegistration(form, 1) for form in in_flight]
            doubtful = [item for item in found.findings if moved_in(item, moving) > 0]
            marks = {item.fingerprint for item in doubtful}
            self._alone = replace(
                found, findings=tuple(item for item in found.findings if item.fingerprint not in marks)
            )
            if any(item.fingerprint not in self._told for item in doubtful):
                self._confirm_at_once({node.datacenter for item in doubtful for node in item.nodes})
            if self._judged is not None and self._is_new(self._alone.findings):
                report, snapshot = self._judged
                await self._tell(merged(report, self._alone), snapshot, arrived_at)
                # The message goes out before all of it is judged.
                self._noted(_clock())

    async def _take_down(self) -> None:
        """Take the registry's news down, some time after they came: it takes a while, and who is told comes first."""
        try:
            while True:
                await self._to_take_down.wait()
                await asyncio.sleep(JOURNAL_AFTER)
                # All that came meanwhile: however fast they come, none is left to pile up.
                while self._not_taken_down:
                    self._take_one_down()
                    await asyncio.sleep(0)
        finally:
            while self._not_taken_down:
                self._take_one_down()

    def _take_one_down(self) -> None:
        news = self._not_taken_down.popleft()
        if not self._not_taken_down:
            self._to_take_down.clear()
        if self._journal is not None:
            self._journal(news)

    def _confirm_at_once(self, datacenters: Iterable[str]) -> None:
        self._confirmations.hurry(set(datacenters) & self._live.unconfirmed.keys())
        self._to_confirm.set()

    # -- nodes

    async def _follow_nodes(self) -> None:
        self._follower = follower = self._parts.follower()
        self._assign()
        async with aclosing(follower.follow(self._tables)) as words:
            async for word in words:
                now = _clock()
                if self._live.hear(word, now):
                    self._counters[WatchCounter.CHANGES] += 1
                    self._counters[WatchCounter.SESSION_RECONNECTIONS] = self._live.reconnections
                    self._noted(now)

    async def _meet_peers(self) -> None:
        """Ask some observers each round where they meet their peers, others each time."""
        for turn in itertools.count():
            await asyncio.sleep(min(self._parts.round_interval, LONGEST_TURN))
            if self._follower is not None:
                met = await self._follower.meet(observers_of_turn(self._live.followed(), turn))
                for one in met:  # each takes some milliseconds for each thousand peers
                    if self._live.meet([one], _clock()):
                        self._noted(_clock())
                    await asyncio.sleep(0)

    def _assign(self) -> None:
        if self._follower is not None:
            self._follower.assign(self._live.assignment())

    async def _ask_witnesses(self) -> None:
        """Ask who answers at mesh addresses: in each round, and when an incident has an address that was not asked."""
        while True:
            await self._to_ask.wait()
            self._to_ask.clear()
            questioning = self._parts.questioning
            if questioning is None or self._judged is None:
                continue
            report, snapshot = self._judged
            questioning.met = self._remembered.memory.met

            def planned(
                questioning: Questioning = questioning, report: Report = report, snapshot: Snapshot = snapshot
            ) -> tuple[Fleet, tuple[Question, ...]]:
                fleet = Fleet(snapshot)
                # For an hour the same ones are asked, so that nothing is judged anew where nothing changed.
                return fleet, questioning.plan(fleet, report.findings, f"{_now():%Y-%m-%dT%H}")

            fleet, questions = await asyncio.to_thread(planned)
            stop = Stop(ASKING_ENDS)
            try:
                answers = await questioning.ask(fleet, questions, stop)
            finally:
                stop.close()
            self._live.answered(answers, snapshot.registrations, report.findings)
            self._noted(_clock())
            await asyncio.sleep(ASK_PAUSE)

    # -- judging

    def _noted(self, now: float) -> None:
        """Note that there are news, if there are."""
        if self._live.version == self._judged_version:
            return
        if self._times.news(now, unconfirmed=bool(self._live.unconfirmed)):
            self._arrived_at = self._arrived_at or _now()
        self._news.set()

    async def _judge(self) -> None:
        """Judge, turn by turn, when something changed; do a round each `round_interval`."""
        self._judged_version = -1 if self._live.version else 0
        self._noted(_clock())
        while True:
            self.pulse.beat()
            now = _clock()
            if self._live.fall_silent(now):
                self._noted(now)
            due = self._times.due(starting=self._starting)
            if due is not None and due <= now:
                await self._judge_now()
            elif self._judged is not None and (
                self._to_tell_anew or (due is None and self._young.of_age_at <= now)
            ):
                report, snapshot = self._judged
                await self._tell(merged(report, self._alone), snapshot, None)
            elif self._is_round_over(now):
                await self._round()
            else:
                self._news.clear()
                # What comes of age while there are news waits for their judgement.
                then = due or (self._young.of_age_at if self._judged is not None else now + self._tick)
                await _wait(self._news, min(now + self._tick, then, self._next_round) - now)

    @property
    def _starting(self) -> bool:
        """Tell whether registry and nodes are heard of for the first time."""
        if not self._heard_all:
            whole = self._live.ready and not self._live.unheard
            self._heard_all = whole or _clock() - self._begun_at > FIRST_WORDS
        return not self._heard_all

    async def _judge_now(self) -> None:
        """Judge the state as it is now, and have told what is new."""
        began, live = _clock(), self._live
        self._times.begin()
        arrived_at, self._arrived_at = self._arrived_at, None
        version, snapshot = live.version, live.freeze(began, _now())
        self._judged_registry = live.registry_version
        self._counters[WatchCounter.JUDGEMENTS] += 1
        try:
            snapshot, report = await self._in_thread(
                partial(self._judged_in_thread, snapshot, live.registry_version, self._remembered)
            )
        except Exception as error:
            log.debug("the judge failed", exc_info=True)
            self._complain(f"watch: the judge failed: {type(error).__name__}; run with --verbose for more")
            report = not_judged(self._judged[0] if self._judged else None, snapshot, error)
        self._judged, self._judged_version = (report, snapshot), version
        if live.unasked(report.findings):
            self._to_ask.set()
        live.wait_for(report.unsettled, snapshot)
        self._times.end(began, _clock())
        self._noted(_clock())
        await self._tell(merged(report, self._alone), snapshot, arrived_at)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do work in a thread. While it lasts, the loop turns, but not for ever."""
        began = _clock()
        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            while True:
                done, _ = await asyncio.wait({working}, timeout=self._tick)
                if done:
                    return working.result()
                if _clock() - began < LONGEST_JUDGEMENT:
                    self.pulse.beat()
        finally:
            working.cancel()

    def _judged_in_thread(
        self, snapshot: Snapshot, registry: int, remembered: Remembered
    ) -> tuple[Snapshot, Report]:
        """Judge a snapshot of this version of the registry."""
        of = registry, id(remembered)
        if self._lost is None or self._lost[0] != of:
            self._lost = of, self._parts.lost(snapshot, remembered)
        snapshot = replace(snapshot, memory=replace(snapshot.memory, lost=self._lost[1]))
        report = self._out_of_sight.withheld_in(judge(snapshot), snapshot)
        return snapshot, replace(report, version=VERSION)

    def _is_new(self, findings: Iterable[Finding]) -> bool:
        """Tell whether there is an incident that was not told yet, or is worse than it was told."""
        for item in findings:
            if item.caused_by is None and item.confirmed is not False and item.agreed is None:
                before = self._told.get(item.fingerprint)
                if before is None or before.rank > item.severity.rank:
                    return True
        return False

    async def _tell(self, report: Report, snapshot: Snapshot, arrived_at: datetime | None) -> None:
        """Have told what is new in a report and not young, and show all of it."""
        async with self._turn_tellings:
            of_age = self._without_young(report)
            if self._to_tell_anew or self._is_new(of_age.findings):
                self._to_tell_anew = False
                marked = await self._telling.tell(of_age, arrived_at=arrived_at)
                self._told |= _incidents(of_age)
                if of_age is report:
                    self._show(marked, snapshot)
                    return
            self._show(with_silences(report, self._remembered.silences, _now()), snapshot)

    def _without_young(self, report: Report) -> Report:
        return self._young.left_out_of(report, self._told, _clock(), self._parts.round_interval)

    # -- rounds

    @property
    def _next_round(self) -> float:
        """Time of the next step of a round."""
        if self._round_began is None:
            return self._round_due
        return self._round_began + ROUND_WAIT

    def _is_round_over(self, now: float) -> bool:
        """Begin a round that is due; tell whether all was seen that it waits for."""
        if self._starting or now < self._round_due:
            return False
        if self._round_began is None:
            self._round_began = now
            self._live.begin_round()
            self._to_ask.set()
            self._assign()  # files of this machine that may have changed are looked at again
            if self._follower is not None:
                self._follower.look_again()
        if now >= self._round_began + ROUND_WAIT:
            return True
        settled = self._live.round_complete and not self._live.waits
        return settled and self._live.version == self._judged_version

    async def _round(self) -> None:
        """Have a whole round told: what resolved, too. What did not change is not judged again."""
        if self._live.version != self._judged_version or self._judged is None:
            await self._judge_now()
        if self._judged is None:
            return
        self._round_began = None
        self._round_due = _clock() + self._parts.round_interval
        now, (report, snapshot) = _now(), self._judged
        report = replace(report, started_at=now, finished_at=now)
        snapshot = replace(snapshot, started_at=now, finished_at=now)
        async with self._turn_tellings:
            whole = merged(report, self._alone)
            of_age = self._without_young(whole)
            # News that came since it was frozen are taken down already: an older reading must not take them back.
            newest = self._judged_registry == self._live.registry_version
            outcome = await self._telling.round(of_age, snapshot if newest else None)
            self._tables.keep_only(self._live.tables_in_use())
            self._told = _incidents(of_age)
            self._health, self._round_at = outcome.health, _now()
            self._counters[WatchCounter.ROUNDS] += 1
            self._remembered_anew()
            marked = with_silences(whole, self._remembered.silences, _now())
            self._show(outcome.report if of_age is whole else marked, snapshot)
        self._noted(_clock())

    def _remembered_anew(self) -> Remembered:
        self._remembered = self._telling.remembered()
        self._live.remember(self._remembered.memory)
        return self._remembered

    # -- views

    def _show(self, report: Report, snapshot: Snapshot) -> None:
        """Show a report soon, or a newer one."""
        self._to_show = report, snapshot
        self.show_soon(self._view)

    def _view(self) -> WatchView | None:
        """Make the view of the newest report; None: it is shown already."""
        if self._to_show is None:
            return None
        (report, snapshot), self._to_show = self._to_show, None
        before = {item.fingerprint: item for item in self.newest.report.findings} if self.newest else {}
        after = {item.fingerprint: item for item in report.findings}
        return WatchView(
            number=self.newest.number + 1 if self.newest is not None else 1,
            report=report,
            snapshot=snapshot,
            taken_at=_now(),
            started_at=self._started_at,
            ready=self._live.ready,
            round_at=self._round_at,
            datacenters=self._live.datacenters(),
            sessions=self._live.sessions(),
            changed=frozenset(mark for mark, item in after.items() if before.get(mark) != item),
            gone=frozenset(before.keys() - after.keys()),
            health=replace(self._health, leader=self._leader),
            counters=dict(self._counters),
        )


def _incidents(report: Report) -> dict[str, Severity]:
    return {item.fingerprint: item.severity for item in report.standing if item.caused_by is None}


def _datacenters(reading: RegistryReading) -> frozenset[str]:
    """Name the datacenters of a reading, those that could not be read included."""
    names = {item.node.datacenter for item in reading.registrations}
    names |= {item.node.datacenter for item in reading.invalid}
    return frozenset(names | {gap.datacenter for gap in reading.gaps if gap.datacenter})


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, for so many seconds at most."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return


def _clock() -> float:
    """Return seconds of the steady clock."""
    return time.monotonic()


def _now() -> datetime:
    return datetime.now(UTC)
