"""Alerts, round after round, each with the state's lock or lease held from its look to its last delivery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from alerts.delivery.deliver import deliver
from alerts.models import Receipt
from alerts.notifiers.heartbeat import HeartbeatKind
from auditor.errors import StateError
from auditor.reports.audit_health import AuditHealth
from auditor.service.alert_parts import build_alert_policy, build_heartbeat, build_notifiers
from auditor.service.alert_planning import Planned, keep_round, planned, prune
from auditor.service.alert_state import AlertState, opened_state, state_place
from auditor.service.health_from_state import health_in
from auditor.service.observer import ServiceObserver
from auditor.service.remembered import Remembered, remembered_in
from auditor.settings.file import Config
from auditor.state.lock import exclusive_in_loop
from auditor.values.models import Snapshot
from auditor.values.report import Report


class AlertSession:
    """Session of alerts of one configuration, round after round, inside a running event loop."""

    def __init__(
        self,
        config: Config,
        observer: ServiceObserver,
        *,
        budget: float,
        lock_wait: float = 0.0,
        config_file: Path | None = None,
    ) -> None:
        """Build the notifiers. Raises `ConfigError` before anything is looked at.

        budget: seconds for all deliveries of a round. lock_wait: seconds to wait for the state's lock or lease.
        config_file: the file that `config` was read from, for the commands in messages.
        """
        self.config = config
        self.place = state_place(config)
        self.notifiers = build_notifiers(config, config_file)
        self.policy = build_alert_policy(config)
        self.budget = budget
        self._observer = observer
        self._lock_wait = lock_wait
        self._heartbeat = build_heartbeat(config)
        self._heartbeat_complaint: str | None = None
        self._begun = False

    @asynccontextmanager
    async def round(self) -> AsyncIterator[AlertRound]:
        """Begin a round: one look with its alerts. Raises `StateBusy` where another one is under way.

        The state's lock is held from before the look until all is delivered and pruned, so that no two looks are
        compared with one memory, and a later look is also remembered later. Where auditors share the state, it is their
        lease, and nobody is refused: see `SharedRound`. A state that cannot be used is a complaint, and the round
        goes on without it: the report is worth more than the memory. The heartbeat is called at the
        start, and at the end with success where the round alerted all that it had to, else with failure.
        """
        stack = AsyncExitStack()
        if self.config.state.on_server:
            from auditor.service.shared_round import open_shared_round

            current: AlertRound = await open_shared_round(self, stack, self._lock_wait)
        else:
            current = await self._open(stack)
        whole = False
        try:
            async with stack:
                if not self.notifiers and not self._begun:
                    self.complain("alerts: no [[notifiers]] in the configuration: nobody is told")
                self._begun = True
                await self._beat(HeartbeatKind.START)
                yield current
            whole = current.handed_over
        finally:
            await self._beat(HeartbeatKind.SUCCESS if whole else HeartbeatKind.FAILURE)

    async def _open(self, stack: AsyncExitStack) -> AlertRound:
        try:
            await stack.enter_async_context(exclusive_in_loop(self.config.state.path, self._lock_wait))
            state = stack.enter_context(opened_state(self.place))
        except StateError as error:
            current = AlertRound(self, None)
            current.fail(f"{error}; nothing is alerted")
            return current
        except BaseException:
            await stack.aclose()
            raise
        return AlertRound(self, state)

    def complain(self, line: str) -> None:
        """Report one line to the observer."""
        self._observer.complain(line)

    async def _beat(self, kind: HeartbeatKind) -> None:
        if self._heartbeat is None:
            return
        complaint = await self._heartbeat.beat(kind)
        if complaint and complaint != self._heartbeat_complaint:
            self.complain(complaint)
        self._heartbeat_complaint = complaint


class AlertRound:
    """Round of a session: `plan` with the report of its look, then `deliver`.

    A failure is a complaint, and `handed_over` turns False; nothing raises.
    """

    def __init__(self, session: AlertSession, state: AlertState | None) -> None:
        """state: None where it cannot be used; then nothing is planned or delivered."""
        self.handed_over = True
        """False: something that should have reached people did not, or could not be remembered."""
        self.notified: tuple[str, ...] = ()
        """Names of the notifiers that took something of this round or of earlier ones."""
        self.tells = True
        """False: another auditor tells of what it finds."""
        self._session = session
        self._state = state
        self._plan: Planned | None = None

    def remembered(self) -> Remembered:
        """Read the memory of earlier rounds for this one's look; empty where the state cannot be used."""
        if self._state is None:
            return Remembered(readable=False)
        try:
            return remembered_in(self._state.store)
        except StateError:
            return Remembered(readable=False)  # `plan` reads the same state, and complains

    def plan(self, report: Report) -> Report:
        """Plan the notifications of a report, and return it with its silenced findings marked."""
        if self._state is None:
            return report
        try:
            self._plan = planned(report, self._state, self._session.policy)
        except StateError as error:
            self._unusable(error)
            return report
        return self._plan.report

    def health(self) -> AuditHealth:
        """Read the health of the audit, after the delivery. A state that cannot be read is part of it."""
        if self._state is None:
            return AuditHealth(state_readable=False, handed_over=self.handed_over)
        try:
            return self._health(self._state)
        except StateError as error:
            self._unusable(error)
            return AuditHealth(state_readable=False, handed_over=self.handed_over)

    async def deliver(
        self, report: Report, interrupt: asyncio.Event | None = None, snapshot: Snapshot | None = None
    ) -> None:
        """Store plan and report in one transaction; then send, with the outbox of earlier rounds; then prune.

        interrupt: once set, sending ends; the rest goes with the next round. snapshot: what the report was made of, for
        the journal of registrations.
        """
        if self._state is None or self._plan is None:
            return
        try:
            self._keep(replace(self._plan, report=report), snapshot, self._state)
            receipts = await self._send(self._state, interrupt or asyncio.Event())
            if receipts is None:
                self.fail("interrupted; what is left goes with the next sweep")
                return
            self._check(receipts, self._state)
            prune(self._state, self._session.config.state.keep_days)
        except StateError as error:
            self._unusable(error)

    def _health(self, state: AlertState) -> AuditHealth:
        return replace(health_in(state), handed_over=self.handed_over)

    def _keep(self, plan: Planned, snapshot: Snapshot | None, state: AlertState) -> None:
        keep_round(plan, snapshot, state)

    def _may_send(self) -> bool:
        return True

    async def _send(self, state: AlertState, interrupt: asyncio.Event) -> Sequence[Receipt] | None:
        """Deliver until done; None where the interrupt came first."""
        sending = asyncio.create_task(
            deliver(
                state.notifications,
                self._session.notifiers,
                budget=self._session.budget,
                may_send=self._may_send,
            )
        )
        interrupted = asyncio.create_task(interrupt.wait())
        try:
            await asyncio.wait({sending, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else None
        finally:
            for task in (sending, interrupted):
                task.cancel()
            await asyncio.gather(sending, interrupted, return_exceptions=True)

    def _check(self, receipts: Sequence[Receipt], state: AlertState) -> None:
        self.notified = tuple(sorted({receipt.notifier for receipt in receipts if receipt.accepted}))
        for receipt in receipts:
            if not receipt.accepted:
                self.fail(f"{receipt.notifier}: not handed over: {receipt.detail}")
        # Waiting and refused notifications of standing incidents have reached nobody: each round says so anew.
        if self.handed_over and (undelivered := state.notifications.undelivered()):
            self.fail(f"{len(undelivered)} not handed over earlier; see `wgaudit alerts list`")

    def _unusable(self, error: StateError) -> None:
        # A full or read-only disk shows only on writing; then nothing was sent, and the next round plans it anew.
        self.fail(f"{error}; what was not remembered is told again")

    def fail(self, line: str) -> None:
        """Complain about alerts that could not be delivered."""
        self.handed_over = False
        self._session.complain(f"alerts: {line}")
