"""Telling of a watch: what is new at once, the rest with each round; deliveries run beside it.

The plan, the transaction and the outbox are those of `sweep --alert`. The state's lock is held for the watch's whole
life, so a sweep that would tell of the same beside it is refused. Where the state is shared by several auditors, a
lease takes its place: this one tells while it holds it, or while nobody can be asked who does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from alerts.between_rounds import has_begun
from alerts.delivery.courier import PACE_OF_PEOPLE, Courier, CourierEvents, StormTimes
from alerts.memory.notices import State
from alerts.models import Receipt
from alerts.notifiers.heartbeat import HeartbeatKind
from alerts.notifiers.interface import Notifier
from auditor.errors import ConfigError, NotLeading, StateBusy, StateError
from auditor.registry.interface import RegistryNews
from auditor.reports.audit_health import AuditHealth
from auditor.service import registration_news
from auditor.service.alert_parts import build_alert_policy, build_heartbeat, build_notifiers
from auditor.service.alert_planning import Planned, keep_news, keep_round, now, planned, prune, with_marks
from auditor.service.alert_state import AlertState, state_place
from auditor.service.health_from_state import health_with, shared_health
from auditor.service.lease_keeper import LeaseKeeper
from auditor.service.remembered import Remembered, remembered_in, with_silences
from auditor.service.shared_state import SharedState
from auditor.service.watch_past import WatchPast
from auditor.service.watch_state import WatchState
from auditor.settings.file import Config
from auditor.state.lock import LockHolder, exclusive_in_loop
from auditor.state.places import place_name
from auditor.values.clock_skew import KEEP_RIGHT, are_apart, skew_words
from auditor.values.leaders import Leader, TellingRole
from auditor.values.models import Snapshot
from auditor.values.report import Report

log = logging.getLogger(__name__)

T = TypeVar("T")

LATE = timedelta(minutes=1)
"""A notification that is tried in vain for so long counts as not handed over."""
PRUNE_EVERY = 3600.0
"""Seconds between two deletions of what is too old."""
HAND_OVER_ANEW = 2.0
"""Seconds for the calls under way, before other notifiers take over."""


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """Outcome of a round."""

    report: Report
    """With its silenced findings marked."""
    health: AuditHealth


class WatchAlerts:
    """Alerts of a watch, inside one event loop: open it, tell, round after round, and close it.

    Nothing raises for a notifier or for the state: what fails is a complaint, once, and part of the health.
    """

    def __init__(
        self,
        config: Config,
        complain: Callable[[str], None],
        *,
        config_file: Path | None = None,
        accepted: Callable[[str], None] | None = None,
        build: Callable[[Config, Path | None], Sequence[Notifier]] = build_notifiers,
        storm: StormTimes = PACE_OF_PEOPLE,
        took_over: Callable[[], None] | None = None,
        led_by: Callable[[Leader], None] | None = None,
    ) -> None:
        """Build the notifiers. Raises `ConfigError` before anything is looked at.

        complain: told in one line of what failed. config_file: the file that `config` was read from, for the commands
        in messages. accepted: called with the notifier's name for each message that the other side took. build: makes
        the notifiers of a configuration. took_over: called when this auditor begins to tell in another one's place:
        what stands is to be told anew. led_by: called where several share the state, when another of them leads.
        """
        self._complain, self._build, self._storm = complain, build, storm
        self._accepted, self._took_over, self._led_by = accepted, took_over, led_by
        self._config_file = config_file
        self._configure(config)
        self._place = state_place(config)
        self._stack = AsyncExitStack()
        self._state: WatchState | SharedState | None = None
        self._keeper: LeaseKeeper | None = None
        self._leader: Leader | None = None
        self._clocks_apart = False
        self._lease_news = asyncio.Event()
        self._attending: asyncio.Task[None] | None = None
        self._remembered = Remembered()
        self._courier: Courier | None = None
        self._troubles: dict[str, str] = {}
        self._beating: asyncio.Task[None] | None = None
        self._heartbeat_complaint: str | None = None
        self._pruned_at: float | None = None
        self._planned: Planned | None = None
        """Last plan: a report without anything that begins or grows worse needs no other before the round."""

    async def open(self) -> None:
        """Take the state's lock, or ask for the lease; open the state, begin to deliver.

        Raises `StateBusy` at once where the lock is held.
        """
        self._state = await (self._open_shared() if self._config.state.on_server else self._open_own())
        self._stack.callback(self._state.close)
        self._state.changed = self._state_changed
        if not self._notifiers:
            self._complain("alerts: no [[notifiers]] in the configuration: nobody is told")
        self._name_strangers()
        if self._keeper is None:
            self._begin_delivery()
        else:
            await self._take_up_role()
            self._attending = asyncio.create_task(self._attend(), name="role")
        self._beat(HeartbeatKind.START)

    async def _open_own(self) -> WatchState:
        path = self._config.state.path
        try:
            await self._stack.enter_async_context(exclusive_in_loop(path, 0, LockHolder.WATCH))
        except StateBusy:
            raise
        except StateError as error:
            # No lock can be made: where the folder cannot be written, nobody else can tell from there either.
            self._complain(f"alerts: {error}; the lock is not held")
        return WatchState(self._place, self._complain)

    async def _open_shared(self) -> SharedState:
        self._keeper = LeaseKeeper(self._place, self._config.state.lease, self._lease_news.set)
        self._stack.push_async_callback(self._keeper.close)
        await self._keeper.open()
        return SharedState(self._place, self._keeper, self._complain)

    async def close(self, within: float) -> None:
        """End within so many seconds: what was told is handed over by then, or waits in the outbox."""
        for task in (self._attending, self._beating):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._courier is not None:
            await self._courier.close(within)
            self._courier = None
        await self._stack.aclose()
        self._state = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(self._config.watch.stop_within)

    async def reconfigure(self, config: Config) -> None:
        """Go on with other notifiers and another policy. Raises `ConfigError`; then all stays as it was."""
        if (config.state.path, state_place(config)) != (self._config.state.path, self._place):
            key = "state.url" if self._config.state.on_server else "state.path"
            raise ConfigError(
                f"{key}: {place_name(self._place)} is in use by this watch; a restart changes it"
            )
        if self._keeper is not None and config.state.lease != self._config.state.lease:
            raise ConfigError(
                f"state.lease: this watch asks for {self._config.state.lease:g} s; a restart changes it"
            )
        self._configure(config)
        if self._courier is not None:
            await self._end_delivery(HAND_OVER_ANEW)
            self._begin_delivery()

    # -- the role among several auditors

    @property
    def _tells(self) -> bool:
        """True: this auditor tells people now."""
        return self._keeper is None or self._keeper.tells

    async def _attend(self) -> None:
        """Take up whatever role the lease gives this auditor, and leave it."""
        while True:
            await self._lease_news.wait()
            self._lease_news.clear()
            try:
                await self._take_up_role()
            except Exception as error:
                # An unforeseen error here must not leave everybody without one who tells; the next turn tries again.
                log.debug("unexpected error in the role", exc_info=True)
                self._complain(f"alerts: the role: {type(error).__name__}; run with --verbose for more")

    async def _take_up_role(self) -> None:
        keeper, state = self._keeper, self._opened
        if keeper is None or not isinstance(state, SharedState):
            return
        leader, first = keeper.leader, self._leader is None
        if leader.role is TellingRole.ALONE and not state.in_memory:
            away = f"{place_name(self._place)}: no answer for {self._config.state.lease:g} s"
            state.fail(StateError(away))
        if state.may_be_back:
            # The calls under way end first, so that it is known what was told.
            await self._end_delivery(HAND_OVER_ANEW)
            state.try_again()
        if not self._tells:
            if self._courier is not None:
                await self._end_delivery(0.0)
                state.forget_copy()
            state.follow()
        elif self._courier is None:
            self._planned = None
            self._begin_delivery()
            if self._took_over is not None and not first:
                self._took_over()
        self._show_leader(leader)
        self._show_clock(keeper.row.clock_ahead)

    def _show_leader(self, leader: Leader) -> None:
        before, self._leader = self._leader, leader
        if leader != before:
            self._complain(f"alerts: who leads: {leader.words}")
            if self._led_by is not None:
                self._led_by(leader)

    def _show_clock(self, ahead: float) -> None:
        """Say once that this machine's clock and the database server's are apart, and once that they are no more."""
        apart = are_apart(ahead) or (self._clocks_apart and are_apart(2 * ahead))
        if apart != self._clocks_apart:
            self._clocks_apart = apart
            words = f"alerts: this machine's clock is {skew_words(ahead)} the database server's"
            self._complain(f"{words}; {KEEP_RIGHT}" if apart else words)

    # -- telling

    def remembered(self) -> Remembered:
        """Read the memory that helps to judge; see `Remembered`."""
        remembered = self._with_state(lambda state: remembered_in(state.store))
        # Of a database that is shared, alerting's memory alone is copied.
        if self._keeper is None or not self._opened.in_memory:
            self._remembered = remembered
        return self._remembered

    async def tell(self, report: Report, *, arrived_at: datetime | None = None) -> Report:
        """Tell of incidents that are new or worse, between two rounds; return the report with silenced ones marked.

        Nothing resolves or changes, and no blindness is counted. arrived_at: time when the cause arrived.
        """
        if not self._tells:
            return self._untold(report)
        before = self._planned
        if before is not None and not has_begun(report, before.made):
            return with_marks(report, before.made, before.silences)

        def plan_news(state: AlertState) -> tuple[Planned, bool]:
            made = planned(report, state, self._policy)
            if not made.news.notifications:
                return made, False
            # Once more, now that nobody else writes: another auditor may just have told of it.
            with state.store.transaction():
                made = planned(report, state, self._policy)
                if made.news.notifications:
                    keep_news(made, made.news, state, arrived_at)
            return made, bool(made.news.notifications)

        try:
            self._planned, new = self._with_state(plan_news)
        except NotLeading:
            return self._untold(report)
        if new:
            self._wake()
        return self._planned.report

    async def round(self, report: Report, snapshot: Snapshot | None = None) -> RoundOutcome:
        """Plan a whole round: what resolved, changed, and was not seen, too; store it with its history.

        snapshot: what the report was made of, for the journal of registrations.
        """
        if self._keeper is None:
            self._opened.try_again()
        elif not self._tells:
            return self._untold_round(report)

        def plan_round(state: AlertState) -> Planned:
            with state.store.transaction():
                made = planned(report, state, self._policy)
                keep_round(made, snapshot, state)
            return made

        try:
            self._planned = self._with_state(plan_round)
            self._wake()
            self._prune()
        except NotLeading:
            return self._untold_round(report)
        health = self.health()
        self._beat(HeartbeatKind.SUCCESS if health.handed_over else HeartbeatKind.FAILURE)
        return RoundOutcome(self._planned.report, health)

    def take_down(self, news: RegistryNews) -> None:
        """Store what news of the registry change, in the journal of registrations. All of a datacenter in turn."""

        if self._keeper is not None and (not self._tells or self._opened.in_memory):
            return  # whoever leads takes it down, the next whole round what nobody did

        def keep(state: AlertState) -> None:
            with state.store.transaction():
                registration_news.keep_news(state, news)

        with suppress(NotLeading):
            self._with_state(keep)

    def health(self) -> AuditHealth:
        """Read the health of the audit, as it is now."""
        late = now() - LATE

        def read(state: AlertState) -> AuditHealth:
            rows = state.notifications.undelivered()
            stuck = any(row.state is State.DEAD or (row.detail and row.created_at <= late) for row in rows)
            health = replace(health_with(state, rows), handed_over=not stuck if self._tells else None)
            return health if self._leader is None else shared_health(health, state, self._leader)

        health = self._with_state(read)
        return replace(health, state_readable=not self._opened.in_memory)

    @property
    def past(self) -> WatchPast:
        """Memory of the watch, for its page."""
        return WatchPast(self._opened, self._place)

    # -- inside

    def _untold(self, report: Report) -> Report:
        """Mark the silenced findings of a report that another auditor tells of."""
        return with_silences(report, self._remembered.silences, now())

    def _untold_round(self, report: Report) -> RoundOutcome:
        self._beat(HeartbeatKind.SUCCESS)
        return RoundOutcome(self._untold(report), replace(self.health(), handed_over=None))

    def _configure(self, config: Config) -> None:
        notifiers = self._build(config, self._config_file)
        heartbeat = build_heartbeat(config)
        self._config, self._policy = config, build_alert_policy(config)
        self._notifiers, self._heartbeat = notifiers, heartbeat
        self._planned = None

    @property
    def _opened(self) -> WatchState | SharedState:
        if self._state is None:
            raise RuntimeError("these alerts are not open")
        return self._state

    def _with_state(self, work: Callable[[AlertState], T]) -> T:
        return self._opened.with_it(work)

    def _begin_delivery(self) -> None:
        events = CourierEvents(self._receipt, self._trouble, self._opened.fail)
        self._courier = Courier(
            self._opened.current.notifications,
            self._notifiers,
            events,
            storm=self._storm,
            may_send=lambda: self._tells,
        )

    async def _end_delivery(self, within: float) -> None:
        """End the calls within so many seconds; what is left stays in the outbox."""
        if self._courier is not None:
            courier, self._courier = self._courier, None
            await courier.close(within)
            self._troubles.clear()

    def _state_changed(self, state: AlertState) -> None:
        if self._courier is not None:
            self._courier.use(state.notifications)

    def _wake(self) -> None:
        if self._courier is not None:
            self._courier.wake()

    def _name_strangers(self) -> None:
        known = {notifier.name for notifier in self._notifiers}
        for name, count in sorted(self._with_state(lambda state: state.notifications.waiting()).items()):
            if name not in known:
                self._complain(
                    f"alerts: {name}: {count} wait for it, but the configuration has no notifier of this name; "
                    "`wgaudit alerts list` shows them"
                )

    def _receipt(self, receipt: Receipt) -> None:
        if receipt.accepted:
            if self._accepted is not None:
                self._accepted(receipt.notifier)
            if self._troubles.pop(receipt.notifier, None) is not None:
                self._complain(f"alerts: {receipt.notifier}: takes alerts again")
        elif receipt.permanent:
            self._complain(f"alerts: {receipt.notifier}: not handed over: {receipt.detail}")
        else:
            self._trouble(receipt.notifier, receipt.detail)

    def _trouble(self, notifier: str, why: str) -> None:
        # Said when it begins, and not with each attempt; the health has it for as long as it lasts.
        if notifier not in self._troubles:
            self._complain(f"alerts: {notifier}: not handed over yet, tried again: {why}")
        self._troubles[notifier] = why

    def _prune(self) -> None:
        clock = asyncio.get_running_loop().time()
        if self._pruned_at is not None and clock - self._pruned_at < PRUNE_EVERY:
            return
        self._pruned_at = clock
        self._with_state(lambda state: prune(state, self._config.state.keep_days))

    def _beat(self, kind: HeartbeatKind) -> None:
        if self._heartbeat is None or (self._beating is not None and not self._beating.done()):
            return  # one that takes so long says enough by itself
        heartbeat = self._heartbeat

        async def beat() -> None:
            complaint = await heartbeat.beat(kind)
            if complaint and complaint != self._heartbeat_complaint:
                self._complain(complaint)
            self._heartbeat_complaint = complaint

        self._beating = asyncio.create_task(beat(), name="heartbeat")
