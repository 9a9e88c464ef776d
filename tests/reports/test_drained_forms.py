"""Nodes that are out of production, in every form of a report: beside their finding and by themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from jsonschema import Draft202012Validator

from auditor.explain.story_builder import explain
from auditor.judge import judge
from auditor.reports import json_v1, markdown
from auditor.reports.html import html_report
from auditor.reports.interface import Layout
from auditor.reports.terminal import table
from auditor.values.drains import Drained
from auditor.values.models import Memory
from auditor.values.report import Report
from tests.fleets import contested
from tests.reports import sample

SINCE = sample.STARTED - timedelta(hours=1)
SENTENCE = "since 2026-03-01 01:59 UTC by anna (consul-maintenance, plan 0123456789): who answers?"
SCHEMA = Draft202012Validator(json.loads(json_v1.schema_text()))


def drained(**more: str) -> Report:
    """The incident, one of whose claimants and one other node are out of production."""
    values = {
        "by": "anna",
        "how": "consul-maintenance",
        "reason": "who answers?",
        "plan": "0123456789",
    } | more
    one = Drained(SINCE, **values)
    return replace(sample.incident(), drained={sample.node("edge-sin-1"): one, sample.node("spare-1"): one})


def test_the_table_says_it_beside_the_finding_and_once_with_since_when_and_by_whom() -> None:
    page = table.render(drained(), Layout(width=120))
    assert "\n  drained   edge-sin-1\n" in page
    assert "OUT OF PRODUCTION  2 nodes" in page
    assert f"\n  edge-sin-1 {SENTENCE}\n  spare-1 {SENTENCE}\n" in page


def test_json_has_each_node_and_nothing_where_nobody_is_drained() -> None:
    document = json.loads(json_v1.render(drained(), Layout()))
    SCHEMA.validate(document)
    first, _ = document["drained"]
    assert (first["node"], first["by"], first["how"]) == ("edge-sin-1", "anna", "consul-maintenance")
    assert (first["reason"], first["plan"]) == ("who answers?", "0123456789")
    assert "drained" not in json.loads(json_v1.render(sample.incident(), Layout()))


def test_markdown_and_html_have_both_too() -> None:
    text = markdown.render(drained(), Layout())
    assert "### Out of production (2 nodes)" in text
    assert "out of production: `edge-sin-1`" in text
    page = html_report.render(drained(), Layout())
    assert '<h2 id="drained">Out of production</h2>' in page
    assert "<dt>Out of production</dt><dd>edge-sin-1</dd>" in page


@pytest.mark.parametrize("hostile", [*sample.HOSTILE_NAMES[:-1], "<script>alert(1)</script>"])
def test_a_hostile_reason_is_text_in_every_form(hostile: str) -> None:
    """A ticket that others wrote may be pasted there."""
    report = drained(reason=hostile, by=hostile)
    page = table.render(report, Layout(width=120))
    assert all(line.isprintable() for line in page.splitlines())
    html = html_report.render(report, Layout())
    assert "<script" not in html
    assert "\x1b" not in html + markdown.render(report, Layout())
    SCHEMA.validate(json.loads(json_v1.render(report, Layout())))


def test_the_story_of_an_address_says_which_of_its_claimants_is_drained() -> None:
    mesh = contested()
    report = judge(mesh.snapshot())
    (finding,) = [item for item in report.findings if item.check == "duplicate-address"]
    one, *_ = sorted(finding.nodes)
    mesh.memory = Memory(drained={one: Drained(SINCE, "anna", "command")})
    snapshot = mesh.snapshot()
    report = judge(snapshot)
    story = explain(snapshot, report, finding.subject)
    assert story.notes[0] == (
        f"{one.name} is out of production since 2026-03-01 01:59 UTC by anna (command)."
    )
