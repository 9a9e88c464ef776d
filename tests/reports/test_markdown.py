"""The report in Markdown: short, with the commands that come next, and no foreign text that links or notifies."""

from __future__ import annotations

import re
from dataclasses import replace

from hypothesis import given, settings
from markdown_it import MarkdownIt

from auditor.reports.interface import Layout
from auditor.reports.markdown import MOST_WRITTEN, render
from auditor.reports.selection import Selection
from auditor.values.guide import Guide
from auditor.values.report import Report, Verdict
from tests.reports import sample
from tests.reports.strategies import reports

LAYOUT = Layout(guide=Guide(recording="tonight.json.gz"))
HOSTILE = (
    "@channel",
    "<!channel>",
    "<img src=x onerror=alert(1)>",
    "[click](https://evil.example/x)",
    "https://evil.example/x",
    "www.evil.example",
    "a`b`c",
    "a|b|c",
    "#1",
    "**bold**",
    "_it_",
    ":tada:",
    "a@b.example",
    "```",
)


def html_of(text: str) -> str:
    """As a reader of GitHub's Markdown renders it, raw HTML allowed."""
    return MarkdownIt("commonmark").enable("table").render(text)


def test_the_incident_in_a_channel() -> None:
    text = render(sample.incident(), LAYOUT)
    assert text.splitlines()[0] == (
        "## FINDINGS: 2 contested addresses, 3 more findings · 38 of 40 nodes seen · 2 gaps"
    )
    assert (
        "| `10.0.0.1` | `edge-fra-1` (`fra`), `edge-sin-1` (`sin`) | "
        "`edge-sin-1` 23 (64%), `edge-fra-1` 12 (33%), nobody 1 (3%) |"
    ) in text
    assert "- **error** `address-drift` `worker-nrt-3` (`nrt`): worker-nrt-3 is registered with" in text
    assert "- `connect-refused` 1: `worker-nrt-9`; 198.18.0.40 port 22: connection refused" in text
    assert "wgaudit explain 10.0.0.1 --replay tonight.json.gz\n" in text


def test_a_clean_sweep_is_a_few_lines() -> None:
    text = render(sample.clean(), LAYOUT)
    assert text.startswith("## CLEAN: no findings · 40 of 40 nodes seen · no gaps\n")
    assert len(text.splitlines()) < 8


def test_the_contested_addresses_are_a_table() -> None:
    page = html_of(render(sample.incident(), LAYOUT))
    assert page.count("<tr>") == 3
    assert page.count("<td>") == 6


def test_foreign_text_is_no_link_mention_markup_or_cell() -> None:
    """All of it ends up in code spans, which readers turn into nothing else."""
    for text in HOSTILE:
        named = replace(sample.DRIFT, subject=text, statement=f"{text} says {text} .", regions=(text,))
        contested = replace(sample.PAIR, subject=text, silenced=text)
        page = html_of(render(sample.report(Verdict.FINDINGS, (contested, named)), LAYOUT))
        assert not re.search(r"<(a|img|em|h[456])\b", page), text
        assert page.count("<td>") == 3, text
        outside = re.sub(r"<(code|pre)\b.*?</\1>", "", page, flags=re.DOTALL)
        assert text not in outside.replace("&lt;", "<").replace("&gt;", ">"), text


@settings(max_examples=25)
@given(reports())
def test_any_report_is_markdown_without_links_or_html(report: Report) -> None:
    text = render(report, LAYOUT)
    assert text.endswith("\n")
    assert not re.search(r"<(a|img|script)\b", html_of(text))


def test_an_ascii_layout_is_ascii() -> None:
    assert render(sample.hostile(), replace(LAYOUT, ascii_only=True)).isascii()


def test_a_large_incident_is_short_and_says_how_to_see_all() -> None:
    many = [replace(sample.PAIR, subject=f"10.9.0.{number}") for number in range(100)]
    text = render(sample.report(Verdict.FINDINGS, many), LAYOUT)
    assert f"### Contested addresses ({MOST_WRITTEN} of 100)" in text
    assert "wgaudit sweep --replay tonight.json.gz --format html" in text
    assert len(text) < 12_000
    assert len(render(sample.huge(), LAYOUT)) < 12_000


def test_a_selection_leaves_out_findings_and_says_so() -> None:
    text = render(sample.incident(), replace(LAYOUT, selection=Selection(regions=("sin",))))
    assert "\nFiltered by `--region` sin: 3 of 5 findings and 0 of 2 gaps shown.\n" in text
    assert "worker-nrt-3" not in text
