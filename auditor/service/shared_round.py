"""Round of a sweep whose state other auditors share: the lease decides which of them tells people."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, closing
from dataclasses import replace

from alerts.delivery.deliver import deliver
from alerts.memory.mirror import MemoryStamp, stamp_of
from auditor.errors import NotLeading, StateError
from auditor.reports.audit_health import AuditHealth
from auditor.service.alert_planning import Planned, keep_round, planned
from auditor.service.alert_round import AlertRound, RoundParts
from auditor.service.alert_state import AlertState, state_of, state_tables
from auditor.service.health_from_state import shared_health
from auditor.service.lease_keeper import LeaseKeeper
from auditor.settings.alerts import AlertmanagerSettings, PagerDutySettings
from auditor.state.opening import open_store, store_in_memory
from auditor.values.leaders import TellingRole
from auditor.values.models import Snapshot
from auditor.values.report import Report
from auditor.values.text import listed


async def open_shared_round(parts: RoundParts, stack: AsyncExitStack, wait: float) -> SharedRound:
    """Begin a round: take the lease, if it is free or becomes so within `wait` seconds; keep it until `stack` ends."""
    keeper = LeaseKeeper(parts.place, parts.config.state.lease, lambda: None)
    try:
        stack.push_async_callback(keeper.close)
        await keeper.open()
        await keeper.wait_to_lead(wait)
        # What ends while this one looks is not taken: its look may have begun before the other one's.
        keeper.takes = False
        try:
            store = stack.enter_context(closing(open_store(parts.place, state_tables(), keeper.within)))
            began = stamp_of(store)
        except StateError as error:
            return SharedRound(parts, None, keeper, away=error)
        store.begun = keeper.begin
        return SharedRound(parts, state_of(store), keeper, began)
    except BaseException:
        await stack.aclose()
        raise


class SharedRound(AlertRound):
    """Round of an auditor that leads, or follows another one and tells nobody.

    While the database is away nobody can say who leads, and a sweep has no memory of its own. It tells all that stands
    to those notifiers whose other side knows an incident by its key, and so takes a second message for the first.
    """

    def __init__(
        self,
        parts: RoundParts,
        state: AlertState | None,
        keeper: LeaseKeeper,
        began: MemoryStamp | None = None,
        away: StateError | None = None,
    ) -> None:
        """began: mark of the memory before the look. away: why the database cannot be used."""
        super().__init__(parts, state)
        self._keeper, self._began, self._away = keeper, began, away

    async def deliver(
        self, report: Report, interrupt: asyncio.Event | None = None, snapshot: Snapshot | None = None
    ) -> None:
        """Deliver as `AlertRound.deliver` does, where this auditor leads.

        It takes a lease that ended meanwhile. If the other one had planned, what that one left in the outbox is sent.
        """
        self._keeper.takes = True
        await self._keeper.ask()
        if self._away is None and self._keeper.answers and self._keeper.role is not TellingRole.LEADS:
            return self._leave_it()
        try:
            await super().deliver(report, interrupt, snapshot)
        except NotLeading:
            return self._leave_it()
        if self._away is not None:
            await self._deliver_from_nothing(report, self._away)
        elif self._keeper.role is not TellingRole.LEADS:
            self._leave_it()
        return None

    def health(self) -> AuditHealth:
        """Read the health of the audit, with who leads."""
        return replace(super().health(), leader=self._keeper.leader)

    def _health(self, state: AlertState) -> AuditHealth:
        health = super()._health(state)
        if not self.tells:
            health = replace(health, handed_over=None)
        return shared_health(health, state, self._keeper.leader)

    def _keep(self, plan: Planned, snapshot: Snapshot | None, state: AlertState) -> None:
        with state.store.transaction():
            # What another one planned since this look began is newer than this look.
            if self._began is not None and stamp_of(state.store)[:2] == self._began[:2]:
                keep_round(plan, snapshot, state)

    def _may_send(self) -> bool:
        return self._keeper.role is TellingRole.LEADS

    def _leave_it(self) -> None:
        self.tells = False
        self._parts.complain(f"alerts: who leads: {self._keeper.leader.words}")

    def _unusable(self, error: StateError) -> None:
        self._away = self._away or error

    async def _deliver_from_nothing(self, report: Report, why: StateError) -> None:
        """Tell all that stands to whom a second message about it is no news."""
        parts = self._parts
        names = {
            item.name
            for item in parts.config.notifiers
            if isinstance(item, PagerDutySettings | AlertmanagerSettings)
        }
        whom = listed(sorted(names)) if names else "nobody"
        self.fail(
            f"{why}; what stands is told to {whom}: without a memory, to those alone that know it by its key"
        )
        routes = tuple(route for route in parts.policy.routes if route.notifier in names)
        with closing(store_in_memory(state_tables())) as store:
            state = state_of(store)
            keep_round(planned(report, state, replace(parts.policy, routes=routes)), None, state)
            notifiers = [item for item in parts.notifiers if item.name in names]
            self._check(await deliver(state.notifications, notifiers, budget=parts.budget), state)
