"""What sweeps came to over time, one value for each span: for plots, whose number of points is bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select

from auditor.state.audit_tables import SWEEPS
from auditor.state.reading import readable
from auditor.state.state_store import StateStore
from auditor.values.report import Coverage
from auditor.values.text import stored_time


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
    columns = SWEEPS.c.finished_at, SWEEPS.c.registered, SWEEPS.c.observed, SWEEPS.c.findings
    with readable():
        for row in store.each(select(*columns).where(SWEEPS.c.finished_at >= stored_time(since))):
            number = (datetime.fromisoformat(row["finished_at"]) - since) // step
            count = sum(json.loads(row["findings"]).values())
            share = Coverage(row["registered"], row["observed"]).share
            before = found.get(number, SpanSizes(count, share))
            found[number] = SpanSizes(max(count, before.most_findings), min(share, before.least_share))
    return found
