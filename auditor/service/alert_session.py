"""Alerts, round after round, each with the state's lock or lease held from its look to its last delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from alerts.notifiers.heartbeat import HeartbeatKind
from auditor.errors import StateError
from auditor.service.alert_parts import build_alert_policy, build_heartbeat, build_notifiers
from auditor.service.alert_round import AlertRound, RoundParts
from auditor.service.alert_state import opened_state, state_place
from auditor.service.observer import ServiceObserver
from auditor.settings.file import Config
from auditor.state.lock import exclusive_in_loop


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
        self._parts = RoundParts(
            config,
            state_place(config),
            build_notifiers(config, config_file),
            build_alert_policy(config),
            budget,
            observer.complain,
        )
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
        if self._parts.config.state.on_server:
            from auditor.service.shared_round import open_shared_round

            current: AlertRound = await open_shared_round(self._parts, stack, self._lock_wait)
        else:
            current = await self._open(stack)
        whole = False
        try:
            async with stack:
                if not self._parts.notifiers and not self._begun:
                    self._parts.complain("alerts: no [[notifiers]] in the configuration: nobody is told")
                self._begun = True
                await self._beat(HeartbeatKind.START)
                yield current
            whole = current.handed_over
        finally:
            await self._beat(HeartbeatKind.SUCCESS if whole else HeartbeatKind.FAILURE)

    async def _open(self, stack: AsyncExitStack) -> AlertRound:
        try:
            await stack.enter_async_context(exclusive_in_loop(self._parts.config.state.path, self._lock_wait))
            state = stack.enter_context(opened_state(self._parts.place))
        except StateError as error:
            current = AlertRound(self._parts, None)
            current.fail(f"{error}; nothing is alerted")
            return current
        except BaseException:
            await stack.aclose()
            raise
        return AlertRound(self._parts, state)

    async def _beat(self, kind: HeartbeatKind) -> None:
        if self._heartbeat is None:
            return
        complaint = await self._heartbeat.beat(kind)
        if complaint and complaint != self._heartbeat_complaint:
            self._parts.complain(complaint)
        self._heartbeat_complaint = complaint
