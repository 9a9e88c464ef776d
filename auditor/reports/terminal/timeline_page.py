"""Timeline for a terminal: the incidents' times first, then everything in one order."""

from __future__ import annotations

from datetime import date

from rich.text import Text

from auditor.explain.timeline_events import NoSweepsEvent, Timeline
from auditor.reports.interface import Layout
from auditor.reports.terminal.page import STYLES, Page
from auditor.reports.timeline_sentences import SHORT_MARK, label, moment, remarks, sentence, times_of
from auditor.values.text import count

_MOST_NAMES = 12


def render_timeline(timeline: Timeline, layout: Layout) -> str:
    """Render a timeline. `layout.limit`: incidents whose times are written out in the head."""
    page = Page(layout)
    page.line(f"TIMELINE  {moment(timeline.since)} to {moment(timeline.until)}; all times in UTC")
    for note in timeline.notes:
        page.line(page.clean(note), 2, "dim")
    _incidents(page, timeline, layout.limit)
    if not timeline.events:
        page.blank()
        page.line("Nothing is remembered of this time.")
        return page.text()
    day: date | None = None
    for event in timeline.events:
        if event.at.date() != day:
            day = event.at.date()
            page.heading(f"{day:%Y-%m-%d}")
        style = "bold" if isinstance(event, NoSweepsEvent) else ""
        page.row(
            [
                (Text(f"{event.at:%H:%M:%S}"), 8),
                (Text(label(event), style), 8),
                (Text(sentence(event, page.clean), style), 0),
            ],
            2,
        )
    return page.text()


def _incidents(page: Page, timeline: Timeline, limit: int) -> None:
    if not timeline.incidents:
        return
    page.heading("INCIDENTS", count(len(timeline.incidents), "incident"))
    for incident in timeline.incidents[:limit]:
        finding = incident.finding
        page.row(
            [
                (Text(finding.fingerprint[:SHORT_MARK]), SHORT_MARK),
                (Text(finding.severity.value, STYLES[finding.severity]), 8),
                (Text(f"{finding.check}  {page.clean(finding.subject)}"), 0),
            ],
            2,
        )
        if finding.nodes and finding.nodes != (finding.subject,):
            page.labelled("nodes", page.names(finding.nodes, _MOST_NAMES), 4, 10)
        for name, words in times_of(incident):
            page.labelled(name, words, 4, 10)
        if incident.notifiers:
            page.labelled("through", page.names(incident.notifiers, _MOST_NAMES), 4, 10)
        if others := remarks(incident):
            page.labelled("also", "; ".join(others), 4, 10)
    if len(timeline.incidents) > limit:
        page.line(f"{len(timeline.incidents) - limit:,} more: --limit shows their times", 2, "dim")
