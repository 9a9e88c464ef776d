"""Cost and length of the report on a large fleet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from auditor.errors import GapReason
from auditor.reports import json_v1
from auditor.reports.interface import Layout
from auditor.reports.terminal import table
from auditor.values.guide import Guide
from auditor.values.models import Gap
from auditor.values.report import Report
from benchmarks.figures import Figure, Results
from tests.reports.sample import huge

NODES, FINDINGS, GAPS = 10_000, 3_000, 500
RUNS = 7
_SECONDS = 2.0
_LINES = 350
"""Maximum lines of the table: fifty findings of a few lines each, and one page for the rest."""


def measure(quick: bool) -> Results:
    """Measure the CPU seconds of table and JSON, and the table's lines; only the lines if `quick`."""
    report = replace(huge(NODES, FINDINGS), gaps=_black_holes(GAPS))
    layout = Layout(width=80, guide=Guide(recording="sweep.json.gz"))
    everything = replace(layout, limit=FINDINGS)
    what = f"{NODES:,} nodes and {FINDINGS:,} findings"
    figures = [
        _lines(f"lines in the table of {what}, {GAPS:,} black holes among them", report, layout, _LINES),
        _lines(
            "the same with 10,000 black holes", replace(report, gaps=_black_holes(10_000)), layout, _LINES
        ),
    ]
    if not quick:
        figures += [
            _seconds(f"table of {what}", lambda: table.render(report, layout)),
            _seconds(f"table of {what}, every finding written out", lambda: table.render(report, everything)),
            _seconds(f"JSON of {what}", lambda: json_v1.render(report, layout)),
        ]
    return Results(tuple(figures))


def _black_holes(count: int) -> tuple[Gap, ...]:
    return tuple(
        Gap(
            "ssh",
            GapReason.CONNECT_TIMEOUT,
            f"198.18.{number >> 8}.{number & 255} port 22: no answer in 10 s",
            f"worker-{('sin', 'fra', 'nrt')[number % 3]}-{number}",
            "dc1",
        )
        for number in range(count)
    )


def _lines(name: str, report: Report, layout: Layout, most: int) -> Figure:
    lines = len(table.render(report, layout).splitlines())
    return Figure(name, "lines", (float(lines),), target=most, exact=True, note="80 columns, --limit 50")


def _seconds(name: str, render: Callable[[], str]) -> Figure:
    samples = []
    for _ in range(RUNS):
        began = time.process_time()
        render()
        samples.append(time.process_time() - began)
    return Figure(name, "s CPU", tuple(samples), target=_SECONDS, note="80 columns, no colour")
