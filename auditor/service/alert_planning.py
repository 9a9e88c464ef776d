"""Planning of alerts in the state: from a report to what is told and remembered, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alerts.between_rounds import News, between_rounds
from alerts.flapping import SOON
from alerts.models import AlertIdent, AlertPlan, Log, Policy, Silence
from alerts.plan import OF_ITSELF, PAGES_IN, plan
from auditor.service.alert_state import AlertState
from auditor.service.remembered import marked
from auditor.state import history
from auditor.values.findings import Finding
from auditor.values.models import Snapshot
from auditor.values.report import Report

REMEMBERED = 2 * max(SOON, PAGES_IN)
"""Time for which the end of an incident has a say in the next plan, and then some: not the end of each for weeks."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Plan for a report, and the memory that it was made from."""

    report: Report
    """With its silenced findings marked."""
    log: Log
    made: AlertPlan
    silences: Mapping[str, Silence]
    """By ident."""

    @property
    def news(self) -> News:
        """What of it does not wait for a round."""
        return between_rounds(self.made, self.log)


def planned(report: Report, state: AlertState, policy: Policy) -> Planned:
    """Plan the notifications of a report. Raises `StateError`."""
    log = state.notifications.log(now() - REMEMBERED)
    silences = {silence.ident: silence for silence in state.notifications.silences()}
    made = plan(report, log, silences.values(), now(), policy)
    return Planned(with_marks(report, made, silences), log, made, silences)


def with_marks(report: Report, made: AlertPlan, silences: Mapping[str, Silence]) -> Report:
    """Mark the findings that a plan found silenced."""
    return marked(report, {mark: silences[ident] for mark, ident in made.silenced.items()})


def keep_round(planned: Planned, snapshot: Snapshot | None, state: AlertState) -> None:
    """Store a round in one transaction: its history, its plan, and its notifications in the outbox.

    Nothing may be sent before: every notification that arrives is remembered, whatever happens then. snapshot: what the
    report was made of, for the journal of registrations. Raises `StateError`; then nothing is stored.
    """
    made = planned.made
    with state.store.transaction():
        history.record(
            state.store,
            planned.report,
            standing=frozenset(made.standing),
            resolved=frozenset(made.resolved),
            beside=_beside(made),
            snapshot=snapshot,
        )
        state.notifications.keep(made, planned.log.sweep, now())


def keep_news(planned: Planned, news: News, state: AlertState, arrived_at: datetime | None) -> None:
    """Store what is told between two rounds in one transaction: that it was first seen, and its notifications.

    arrived_at: time when its cause arrived. Raises `StateError`; then nothing is stored.
    """
    with state.store.transaction():
        history.record_news(state.store, planned.report, frozenset(news.standing))
        state.notifications.keep_news(news, now(), arrived_at)


def prune(state: AlertState, keep_days: int) -> None:
    """Forget what is older than so many days and no plan needs. Raises `StateError`."""
    before = now() - timedelta(days=keep_days)
    with state.store.transaction():
        history.prune(state.store, before)
        state.notifications.prune(before)


def now() -> datetime:
    """Return the time of day, in UTC."""
    return datetime.now(UTC)


def _beside(made: AlertPlan) -> tuple[Finding, ...]:
    """List the incidents that are no findings of the report, in the form that the history keeps."""
    incidents = [item.incident for item in made.standing.values() if item.incident.check in OF_ITSELF]
    return tuple(
        Finding(
            AlertIdent(incident.check),
            incident.severity,
            incident.subject,
            incident.summary,
            identity=OF_ITSELF[incident.check],
            mesh=incident.mesh,
        )
        for incident in incidents
    )
