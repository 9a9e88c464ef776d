"""One round of alerts: a look's report is planned with, stored, and delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from alerts.delivery.deliver import deliver
from alerts.models import Policy, Receipt
from alerts.notifiers.interface import Notifier
from auditor.errors import StateError
from auditor.reports.audit_health import AuditHealth
from auditor.service.alert_planning import Planned, keep_round, planned, prune
from auditor.service.alert_state import AlertState
from auditor.service.health_from_state import health_in
from auditor.service.remembered import Remembered, remembered_in
from auditor.settings.file import Config
from auditor.state.places import StatePlace
from auditor.values.models import Snapshot
from auditor.values.report import Report


@dataclass(frozen=True, slots=True)
class RoundParts:
    """Parts of a round that the configuration decides."""

    config: Config
    place: StatePlace
    """Where the state is."""
    notifiers: Sequence[Notifier]
    policy: Policy
    budget: float
    """Seconds for all deliveries."""
    complain: Callable[[str], None]
    """Told of one line."""


class AlertRound:
    """Round of a session: `plan` with the report of its look, then `deliver`.

    A failure is a complaint, and `handed_over` turns False; nothing raises.
    """

    def __init__(self, parts: RoundParts, state: AlertState | None) -> None:
        """state: None where it cannot be used; then nothing is planned or delivered."""
        self.handed_over = True
        """False: something that should have reached people did not, or could not be remembered."""
        self.notified: tuple[str, ...] = ()
        """Names of the notifiers that took something of this round or of earlier ones."""
        self.tells = True
        """False: another auditor tells of what it finds."""
        self._parts = parts
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
            self._plan = planned(report, self._state, self._parts.policy)
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
            prune(self._state, self._parts.config.state.keep_days)
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
                self._parts.notifiers,
                budget=self._parts.budget,
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
        self._parts.complain(f"alerts: {line}")
