"""What sweeps came to over time, one value for each span: for plots, whose number of points is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select

from auditor.state.audit_tables import SWEEPS
from auditor.state.history import sweep_of
from auditor.state.state_store import StateStore
from auditor.values.report import Coverage


class SpanSizes(NamedTuple):
    """What the sweeps of one span came to."""

    most_findings: int
    least_share: float
    """0 to 1."""


def read_span_sizes(store: StateStore, since: datetime, step: timedelta) -> Mapping[int, SpanSizes]:
    """Read what sweeps since then came to, by the number of their span, from 0 on; one without a sweep is left out.

    Raises `StateError`.
    """
    found: dict[int, SpanSizes] = {}
    for sweep in map(sweep_of, store.each(select(SWEEPS).where(SWEEPS.c.finished_at >= since))):
        number = (sweep.finished_at - since) // step
        share = Coverage(sweep.registered, sweep.observed).share
        before = found.get(number, SpanSizes(sweep.found, share))
        found[number] = SpanSizes(max(sweep.found, before.most_findings), min(share, before.least_share))
    return found
