"""What sweeps came to over time, one value for each span: for plots, whose number of points is bounded."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from auditor.values.report import Coverage
from auditor.values.text import stored_time


class SpanSizes(NamedTuple):
    """What the sweeps of one span came to."""

    most_findings: int
    least_share: float
    """0 to 1."""


def read_span_sizes(
    connection: sqlite3.Connection, since: datetime, step: timedelta
) -> Mapping[int, SpanSizes]:
    """Read the spans since then, by their number from 0 on; those without a sweep are left out."""
    found: dict[int, SpanSizes] = {}
    for finished_at, registered, observed, findings in connection.execute(
        "SELECT finished_at, registered, observed, findings FROM history_sweeps WHERE finished_at >= ?",
        (stored_time(since),),
    ):
        number = (datetime.fromisoformat(finished_at) - since) // step
        count = sum(json.loads(findings).values())
        share = Coverage(registered, observed).share
        before = found.get(number, SpanSizes(count, share))
        found[number] = SpanSizes(max(count, before.most_findings), min(share, before.least_share))
    return found
