"""Spans of the history for plots: one value each, however many rounds there were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from auditor.state import history
from auditor.state.round_spans import SpanSizes, read_span_sizes
from auditor.state.state_store import StateStore
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
    sizes = read_span_sizes(store, NOON, HALF_HOUR)
    assert sizes == {0: SpanSizes(2, 0.9), 1: SpanSizes(1, 1.0), 3: SpanSizes(0, 0.0)}
    assert read_span_sizes(store, NOON + timedelta(hours=1), HALF_HOUR) == {1: SpanSizes(0, 0.0)}
