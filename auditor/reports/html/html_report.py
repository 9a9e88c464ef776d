"""Report as one HTML page: no script, nothing loaded from elsewhere, readable on a phone and on paper."""

from __future__ import annotations

from markupsafe import Markup

from auditor.reports.html.finding_views import MOST_PICTURES, FindingViews, gap_count
from auditor.reports.html.templating import environment, style_hash, stylesheet, text_words
from auditor.reports.interface import Layout
from auditor.reports.outline import Outline, outline
from auditor.reports.report_words import filtered_words
from auditor.reports.selected_outline import selected
from auditor.reports.selection import Selection
from auditor.values.report import Report

MOST_ROWS = 1_000
"""Contested addresses, drawn or as rows of a table; further ones are counted."""


def render(report: Report, layout: Layout, /) -> str:
    """Render the whole report as a page; `layout.limit` bounds the findings beside the contested addresses."""
    whole = outline(report, layout.guide)
    grouped = selected(whole, report, layout.selection)
    excerpt = grouped.excerpt(len(grouped.contested) + layout.limit)
    css = stylesheet("page.css")
    context = FindingViews(report, layout.guide).context(
        whole, grouped, excerpt, pictures=MOST_PICTURES, rows=MOST_ROWS - MOST_PICTURES
    )
    text = (
        environment()
        .get_template("report.html.j2")
        .render(
            context,
            css=Markup(css),  # noqa: S704  (a file of this package)
            css_hash=style_hash(css),
            filtered=_filtered(report, whole, grouped, layout.selection),
            took=f"{(report.finished_at - report.started_at).total_seconds():,.1f} s",
        )
    )
    text = text if text.endswith("\n") else f"{text}\n"
    # The stylesheet, which knows no such references, is ASCII.
    return text.encode("ascii", "xmlcharrefreplace").decode() if layout.ascii_only else text


def _filtered(report: Report, whole: Outline, shown: Outline, selection: Selection) -> str:
    if not selection:
        return ""
    findings = (len(shown.leading), len(whole.leading))
    return filtered_words(selection, findings, (gap_count(shown), len(report.not_seen)), text_words)
