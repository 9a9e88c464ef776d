"""Spans of the history for plots: one value each, however many rounds there were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from auditor.service.alert_state import state_of
from auditor.service.watch_past import spans_in
from auditor.state import history
from auditor.state.state_store import StateStore
from auditor.values.past_sweeps import PastSpan
from auditor.values.report import Coverage
from tests.alerts.fakes import NOON
from tests.alerts.incidents import PAIR, finding, report

HALF_HOUR = timedelta(minutes=30)


def test_a_span_has_the_most_findings_and_the_least_coverage_of_its_rounds(store: StateStore) -> None:
    rounds = [(0, 0, 10), (29, 2, 9), (30, 1, 10), (95, 0, 0)]
    findings = (PAIR, finding("10.0.0.7", "cd"))
    for minutes, count, observed in rounds:
        seen = replace(
            report(*findings[:count]),
            finished_at=NOON + timedelta(minutes=minutes),
            coverage=Coverage(10, observed),
        )
        history.record(store, seen, standing=(), resolved=())
    spans = {0: PastSpan(NOON, 2, 0.9), 1: PastSpan(NOON + HALF_HOUR, 1, 1.0)}
    spans[3] = PastSpan(NOON + 3 * HALF_HOUR, 0, 0.0)
    assert spans_in(state_of(store), NOON, HALF_HOUR) == tuple(spans.values())
    (later,) = spans_in(state_of(store), NOON + 2 * HALF_HOUR, HALF_HOUR)
    assert later == spans[3]
