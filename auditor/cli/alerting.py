"""Where audit and alerts are joined: notifiers from the settings, and what `sweep --alert` remembers and sends."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerts.delivery.deliver import deliver
from alerts.memory.notification_log import MIGRATIONS as ALERT_MIGRATIONS
from alerts.memory.notification_log import NotificationLog
from alerts.models import BLIND_CHECK, AlertPlan, Policy, Receipt, Route
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.heartbeat import HeartbeatKind, beat
from alerts.notifiers.interface import Notifier
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from alerts.plan import BLIND, plan
from auditor.checks.catalogue import BY_IDENT
from auditor.cli import running, threads
from auditor.errors import ConfigError, StateError
from auditor.settings.alerts import AlertmanagerSettings, AnyNotifier, PagerDutySettings, SlackSettings
from auditor.settings.file import Config
from auditor.state import history
from auditor.state.database import exclusive, open_state, transaction
from auditor.values.models import Finding, Report

EXIT_NOT_HANDED_OVER = 4


def build_notifiers(config: Config) -> tuple[Notifier, ...]:
    """The notifiers that the settings name, their secrets read. Raises `ConfigError`, never with a secret."""
    for settings in config.notifiers:
        known = {*BY_IDENT, BLIND_CHECK}
        if unknown := sorted(set(settings.checks) - known):
            raise ConfigError(
                f"notifiers.{settings.name}.checks: no check is called {unknown[0]}; "
                f"there are {', '.join(sorted(known))}"
            )
    return tuple(_notifier(settings, config.alerts.docs_url) for settings in config.notifiers)


def _notifier(settings: AnyNotifier, docs_url: str) -> Notifier:
    if isinstance(settings, PagerDutySettings):
        key = settings.resolved_key(os.environ)
        return PagerDuty(
            name=settings.name, routing_key=key, timeout=settings.timeout, api=settings.api, docs_url=docs_url
        )
    url = settings.resolved_url(os.environ)
    name, timeout, most = settings.name, settings.timeout, settings.max_per_message
    if isinstance(settings, SlackSettings):
        return Slack(name=name, url=url, timeout=timeout, max_per_message=most, docs_url=docs_url)
    if isinstance(settings, AlertmanagerSettings):
        return Alertmanager(name=name, url=url, timeout=timeout, max_per_message=most, docs_url=docs_url)
    secret = settings.resolved_secret(os.environ)
    return Webhook(
        name=name, url=url, secret=secret, timeout=timeout, max_per_message=most, docs_url=docs_url
    )


def build_policy(config: Config) -> Policy:
    """When to tell what, as the settings say."""
    return Policy(routes=tuple(map(_route, config.notifiers)), blind_after=config.alerts.blind_after)


def _route(settings: AnyNotifier) -> Route:
    # An Alertmanager forgets what it is not told again, and takes it for resolved.
    every_sweep = isinstance(settings, AlertmanagerSettings)
    return Route(
        notifier=settings.name,
        min_severity=settings.min_severity,
        checks=frozenset(settings.checks),
        regions=frozenset(settings.regions),
        send_resolved=settings.send_resolved,
        repeat_interval=0.0 if every_sweep else settings.repeat_interval,
    )


@contextmanager
def opened_store(config: Config) -> Iterator[tuple[sqlite3.Connection, NotificationLog]]:
    """The state, opened for one command. Raises `StateError`."""
    connection = open_state(config.state.path, {"history": history.MIGRATIONS, "alerts": ALERT_MIGRATIONS})
    try:
        yield connection, NotificationLog(connection)
    finally:
        connection.close()


class Desk:
    """What one `sweep --alert` does beside sweeping. Everything that fails here is told, and costs exit code 4.

    As a context manager it holds the state's lock: `StateBusy` (exit code 2) if another sweep has it.
    """

    def __init__(self, config: Config, *, lock_wait: float, budget: float) -> None:
        """Raises `ConfigError` before anything is looked at, if a notifier cannot be built."""
        self._config = config
        self._lock_wait = lock_wait
        self._budget = budget
        self._notifiers = build_notifiers(config)
        self._heartbeat = config.alerts.resolved_heartbeat(os.environ)
        self._stack = ExitStack()
        self._state: tuple[sqlite3.Connection, NotificationLog] | None = None
        self._plan: AlertPlan | None = None
        self._sweep = 0
        self._complaint: str | None = None
        self.handed_over = True
        """False: something that should have been told was not, or could not be remembered."""

    def __enter__(self) -> Desk:
        try:
            self._stack.enter_context(exclusive(self._config.state.path, self._lock_wait))
            self._state = self._stack.enter_context(opened_store(self._config))
        except StateError as error:
            # The report is worth more than the memory: the sweep goes on without it.
            self._failed(f"{error}; nothing is alerted")
        except BaseException:
            self._stack.close()
            raise
        if not self._notifiers:
            running.say("wgaudit: alerts: no [[notifiers]] in the configuration: nobody is told")
        self._beat(HeartbeatKind.START)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stack.close()
        self._beat(
            HeartbeatKind.FAILURE if kind is not None or not self.handed_over else HeartbeatKind.SUCCESS
        )

    def planned(self, report: Report) -> Report:
        """Plans what to tell, and marks what is silenced in the report."""
        if self._state is None:
            return report
        _, store = self._state
        try:
            log = store.log()
            silences = {silence.ident: silence for silence in store.silences()}
        except StateError as error:
            self._unusable(error)
            return report
        made = plan(report, log, silences.values(), _now(), build_policy(self._config))
        self._sweep, self._plan = log.sweep, made
        marks = {
            mark: f"{ident} until {silences[ident].ends_at:%Y-%m-%d %H:%M} UTC: {silences[ident].comment}"
            for mark, ident in made.silenced.items()
        }
        findings = tuple(
            replace(item, silenced=marks.get(item.caused_by or item.fingerprint)) for item in report.findings
        )
        return replace(report, findings=findings)

    def tell(self, report: Report) -> None:
        """Remembers the plan, then sends it and what earlier sweeps left. Prints what was not accepted."""
        if self._state is None or self._plan is None:
            return
        try:
            with running.ended_by_signals():
                self._tell(report, self._plan, *self._state)
        except StateError as error:
            self._unusable(error)
        except KeyboardInterrupt:
            self._failed("interrupted; what is left goes with the next sweep")

    def _tell(
        self, report: Report, made: AlertPlan, connection: sqlite3.Connection, store: NotificationLog
    ) -> None:
        now = _now()
        # One transaction, before anything is sent: what is told is remembered, whatever happens then.
        with transaction(connection):
            history.record(
                connection,
                report,
                self._sweep,
                standing=frozenset(made.standing),
                resolved=frozenset(made.resolved),
                beside=_blindness(made),
            )
            store.keep(made, self._sweep, now)
        self._judge(threads.run(deliver(store, self._notifiers, budget=self._budget)), store)
        before = now - timedelta(days=self._config.state.keep_days)
        with transaction(connection):
            history.prune(connection, before)
            store.prune(before)

    def _judge(self, receipts: Sequence[Receipt], store: NotificationLog) -> None:
        for receipt in receipts:
            if not receipt.accepted:
                self._failed(f"{receipt.notifier}: not handed over: {receipt.detail}")
        # What waits or was refused, for whatever stands, has not reached anybody: so it is, each time anew.
        if self.handed_over and (undelivered := store.undelivered()):
            self._failed(f"{len(undelivered)} not handed over earlier; see `wgaudit alerts list`")

    def _unusable(self, error: StateError) -> None:
        """A full or read-only disk shows only on writing; then nothing was sent, and the next sweep plans it anew."""
        self._failed(f"{error}; what was not remembered is told again")

    def _failed(self, line: str) -> None:
        self.handed_over = False
        running.say(f"wgaudit: alerts: {line}")

    def _beat(self, kind: HeartbeatKind) -> None:
        if self._heartbeat is None:
            return
        complaint = threads.run(beat(self._heartbeat, kind))
        if complaint and complaint != self._complaint:
            running.say(f"wgaudit: {complaint}")
        self._complaint = complaint


def _blindness(made: AlertPlan) -> tuple[Finding, ...]:
    """The one incident that is no finding of a report, in the form that the history keeps."""
    if (standing := made.standing.get(BLIND)) is None:
        return ()
    told = standing.incident
    return (Finding(BLIND_CHECK, told.severity, told.subject, told.summary, identity=("sweep",)),)


def _now() -> datetime:
    return datetime.now(UTC)
