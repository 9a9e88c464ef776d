"""Page of the collectors that are there, for a terminal: a line each, and below them the regions without one."""

from __future__ import annotations

from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page, column
from auditor.values.collector_roll import CollectorRoll, CollectorThere
from auditor.values.text import count, timestamp

_WIDEST_REGION = 16
_WIDEST_HOST = 32
_WIDEST_VERSION = 16
_HEADS = ("REGION", "HOST", "PROCESS", "VERSION", "JOBS", "NODES", "SINCE (UTC)")
_FAULT = "yellow"


def render_collectors(roll: CollectorRoll, version: str, layout: Layout) -> str:
    """Render the roll. version: of this program, from which others differ."""
    page = Page(layout)
    page.line(
        Text("COLLECTORS", "bold").append(
            f"  {count(len(roll.collectors), 'collector')}, by {roll.server}", "not bold default"
        )
    )
    if roll.collectors:
        page.blank()
        _table(page, roll.collectors)
    notes = [] if roll.regions else ["collectors.regions names none: no collector is asked for any node"]
    notes += [f"{item.region}: {page.clean(item.detail)}" for item in roll.missing]
    others = sorted({item.version for item in roll.collectors if item.version != version})
    if others:
        notes.append(f"other versions than this one's {version}: {page.clean(', '.join(others[:5]))}")
    if roll.left_out:
        notes.append(f"{count(roll.left_out, 'answer')} could not be read")
    if roll.refused:
        notes.append(f"not permitted: {page.clean(roll.refused)}")
    if notes:
        page.blank()
        for note in notes:
            page.line(note, style=_FAULT)
    return page.text()


def _table(page: Page, collectors: tuple[CollectorThere, ...]) -> None:
    rows = [
        (
            page.name(item.region),
            page.name(item.host) if item.host else "-",
            page.name(item.pid) if item.pid else "-",
            page.name(item.version) if item.version else "-",
            _number(item.jobs) + (f"/{item.most_jobs:,}" if item.most_jobs is not None else ""),
            _number(item.nodes),
            timestamp(item.since, "seconds").replace("T", " ").removesuffix("Z"),
        )
        for item in collectors
    ]
    widest = (_WIDEST_REGION, _WIDEST_HOST, 10, _WIDEST_VERSION, 9, 11, 20)
    widths = [
        max(len(head), column([row[place] for row in rows], most))
        for place, (head, most) in enumerate(zip(_HEADS, widest, strict=True))
    ]
    widths[-1] = 0
    page.row([(Text(head, "dim"), width) for head, width in zip(_HEADS, widths, strict=True)])
    for row in rows:
        page.row([(Text(cell), width) for cell, width in zip(row, widths, strict=True)])


def _number(number: int | None) -> str:
    return f"{number:,}" if number is not None else "?"
