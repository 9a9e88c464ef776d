"""Who answers at an address, in every form of a report: beside the routing, and with hostile servers."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from jsonschema import Draft202012Validator

from auditor.errors import GapReason
from auditor.reports import findings_csv, json_v1, markdown
from auditor.reports.html import html_report
from auditor.reports.interface import Layout
from auditor.reports.outline import outline
from auditor.reports.terminal import table
from auditor.values.models import Gap
from auditor.values.report import Verdict
from tests.reports import sample
from tests.reports.sample import ANSWERS, DISAGREEMENT, answered, met

SENTENCE = "of 12 asked, 9 reached edge-fra-1, 2 edge-sin-1, 1 timed out"
SCHEMA = Draft202012Validator(json.loads(json_v1.schema_text()))
HOSTILE = (
    *sample.HOSTILE_NAMES[:-1],
    '"><script>alert(1)</script>',
    "`x` | **y** [z](javascript:1)",
    "=1+1",
    'a", 12 reached b',
)


def evidence(report_text: str) -> dict[str, object]:
    """The evidence of the report's first finding."""
    found: dict[str, object] = json.loads(report_text)["findings"][0]["evidence"]
    return found


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_table_draws_a_bar_for_each_server_by_region(width: int) -> None:
    page = table.render(answered(*ANSWERS), Layout(width=width))
    assert all(len(line) <= width for line in page.splitlines())
    if width == 40:
        return
    assert SENTENCE.split(", 1 timed")[0] in page
    assert re.search(r"edge-fra-1 .*█+ +9 +75%\s+(from )?fra 6, iad 3", page)
    assert re.search(r'edge-sin-1 +says its region is "fra" +█+', page)


def test_the_table_says_on_a_line_of_its_own_what_the_routes_do_not_explain() -> None:
    page = table.render(answered(*ANSWERS, disagreement=DISAGREEMENT), Layout(width=120))
    assert f"\n  but       {DISAGREEMENT}\n" in page
    assert page.count("something beside WireGuard") == 1


def test_questions_without_an_answer_stand_apart_and_hide_no_node() -> None:
    report = answered(*ANSWERS)
    page = table.render(report, Layout(width=120))
    head = page.splitlines()[0]
    assert "no gaps · 1 witness gap" in head
    assert "NOT SEEN" not in page
    assert "NOT HEARD  1 gap of witnesses, which hides no node" in page
    grouped = outline(report)
    assert grouped.unseen == ()
    assert grouped.gaps == ()


def test_an_inconclusive_sweep_does_not_count_a_silent_server_among_the_unseen() -> None:
    report = sample.report(Verdict.INCONCLUSIVE, (), (sample.REFUSED, sample.UNANSWERED), observed=39)
    page = table.render(report, Layout(width=120))
    assert "not seen: worker-nrt-9\n" in page


def test_json_has_each_server_with_who_met_it_and_each_failure_with_its_reason() -> None:
    text = json_v1.render(answered(*ANSWERS, disagreement=DISAGREEMENT), Layout(full=True))
    SCHEMA.validate(json.loads(text))
    shown = evidence(text)
    first, second, third = shown["answers"]  # type: ignore[misc]
    assert (first["node"], first["observers"], first["regions"]) == ("edge-fra-1", 9, {"fra": 6, "iad": 3})
    assert (second["node"], second["region"]) == ("edge-sin-1", "fra")
    assert (third["node"], third["server"], third["reason"]) == (None, None, "no-answer")
    assert shown["disagreement"] == DISAGREEMENT


def test_json_of_a_report_without_questions_is_as_it_was() -> None:
    shown = evidence(json_v1.render(sample.incident()))
    assert "answers" not in shown
    assert "disagreement" not in shown


def test_markdown_notes_who_answers_beside_the_table() -> None:
    text = markdown.render(answered(*ANSWERS, disagreement=DISAGREEMENT), Layout())
    assert "NATS there: of 12 asked, 9 reached `edge-fra-1` (from `fra` 6, `iad` 3), 2 `edge-sin-1`" in text
    assert "**but** worker-iad-9 routes it to nobody" in text
    assert "### Not heard (1 gap of witnesses, which hides no node)" in text


def test_csv_has_the_sentence_in_columns_at_the_end() -> None:
    (first, *_) = csv.DictReader(
        io.StringIO(findings_csv.render(answered(*ANSWERS, disagreement=DISAGREEMENT)))
    )
    assert first["answers"].endswith(f"{SENTENCE[1:]}.")
    assert first["disagreement"] == DISAGREEMENT
    assert findings_csv.COLUMNS[-2:] == ("answers", "disagreement")


def test_the_page_has_a_table_of_servers_and_the_questions_apart() -> None:
    text = html_report.render(answered(*ANSWERS, disagreement=DISAGREEMENT), Layout())
    assert f"asked over the mesh (NATS): {SENTENCE}" in text
    assert '<p class="but"><strong>But:</strong> worker-iad-9 routes it' in text
    assert '<h2 id="not-heard">Not heard</h2>' in text
    assert 'id="not-seen"' not in text


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_server_can_call_itself_what_it_likes(name: str) -> None:
    report = answered(*ANSWERS, met(None, {name: 1}, said=name, region=name))
    for width in (40, 100):
        page = table.render(report, Layout(width=width))
        assert page.replace("\n", "").isprintable()
    marked = markdown.render(report, Layout())
    assert "](javascript" not in re.sub(r"`[^`\n]*`", "", marked)
    assert marked.replace("\n", "").isprintable()
    assert "<script>" not in html_report.render(report, Layout())
    SCHEMA.validate(json.loads(json_v1.render(report)))
    for row in csv.reader(io.StringIO(findings_csv.render(report))):
        assert not any(cell.startswith(("=", "+", "@")) for cell in row)


def test_a_server_that_calls_itself_a_node_is_not_shown_as_that_node() -> None:
    page = table.render(answered(met(None, {"fra": 3}, said="edge-fra-1")), Layout(width=120))
    assert 'of 3 asked, 3 reached "edge-fra-1" (no registered node)' in page


def test_a_failure_is_no_server() -> None:
    report = answered(sample.silent({"fra": 2}, GapReason.ANSWER_REFUSED))
    assert "2 reached" not in table.render(report, Layout())


def test_gaps_of_witnesses_without_a_node_are_told_by_their_details() -> None:
    gaps = tuple(
        Gap("witness", GapReason.NO_ANSWER, f"10.0.0.{n} (NATS), asked from edge-fra-1") for n in range(1, 6)
    )
    report = sample.report(Verdict.CLEAN, (), gaps)
    page = table.render(report, Layout(width=120))
    assert "no-answer  5  for instance: 10.0.0.1 (NATS), asked from edge-fra-1; 5 different details" in page
    assert "NOT HEARD  5 gaps of witnesses, which hide no node" in page
    assert "`no-answer` 5; 10.0.0.1 (NATS)" in markdown.render(report, Layout())
    for text in (page, markdown.render(report, Layout()), html_report.render(report, Layout())):
        assert "a witness, a witness" not in text
