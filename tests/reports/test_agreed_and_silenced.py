"""What is agreed on and what is silenced: marked in every format, counted only if it counts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from auditor.explain.story_builder import explain
from auditor.judge import judge
from auditor.reports import json_v1
from auditor.reports.interface import Layout
from auditor.reports.terminal.story_page import render_explain
from auditor.reports.terminal.table import render
from auditor.values.findings import Finding
from auditor.values.report import Report, Verdict
from tests.fleets import contested
from tests.reports import sample
from tests.reports.terminal.test_table import section
from tests.test_agreed import agreement

PLAIN = Layout(width=80)
WHY = "shared until 2027-06-30: anycast DNS, agreed in OPS-77"
MUTE = "s-3 until 2026-03-02 06:00 UTC: racks are being moved"

FOLLOWS = tuple(item for item in sample.FOLLOWERS if item.caused_by == sample.PAIR.fingerprint)


def agreed(*findings: Finding) -> tuple[Finding, ...]:
    """The findings, as agreed on."""
    return tuple(replace(finding, agreed=WHY) for finding in findings)


def silenced(*findings: Finding) -> tuple[Finding, ...]:
    """The findings, as silenced."""
    return tuple(replace(finding, silenced=MUTE) for finding in findings)


def in_json(report: Report) -> list[dict[str, Any]]:
    """The findings of the JSON report."""
    found: list[dict[str, Any]] = json.loads(json_v1.render(report))["findings"]
    return found


# -- the table


def test_an_agreed_address_stands_in_a_section_of_its_own() -> None:
    """Address, nodes, why and until when; what follows from it is not repeated."""
    text = render(sample.report(Verdict.CLEAN, agreed(sample.PAIR, *FOLLOWS)), PLAIN)
    assert section(text, "AGREED SHARING").rstrip() == (
        "AGREED SHARING  1, not counted\n"
        "  10.0.0.1 · edge-fra-1, edge-sin-1\n"
        "    shared until 2027-06-30: anycast DNS, agreed in OPS-77"
    )


def test_what_is_agreed_is_in_no_number_of_the_first_lines() -> None:
    """Beside a finding that counts."""
    text = render(sample.report(Verdict.FINDINGS, (*agreed(sample.PAIR, *FOLLOWS), sample.DRIFT)), PLAIN)
    assert text.startswith("FINDINGS  1 finding · ")
    assert text.splitlines()[1] == "1 error"
    assert "CONTESTED ADDRESSES" not in text
    clean = render(sample.report(Verdict.CLEAN, agreed(sample.PAIR)), PLAIN)
    assert clean.startswith("CLEAN  no findings")


def test_without_agreements_there_is_no_such_section() -> None:
    """Nor a word of silences."""
    text = render(sample.incident(), PLAIN)
    assert "AGREED" not in text
    assert "silenced" not in text


def test_an_agreed_finding_that_was_gone_on_the_second_look_is_shown_once() -> None:
    """As gone."""
    text = render(sample.report(Verdict.CLEAN, agreed(sample.GONE)), PLAIN)
    assert "AGREED SHARING" not in text
    assert "GONE ON THE SECOND LOOK" in text


def test_of_many_agreed_addresses_the_rest_is_counted() -> None:
    """A section stays short."""
    many = agreed(*(replace(sample.PAIR, subject=f"10.0.7.{number}") for number in range(25)))
    text = section(render(sample.report(Verdict.CLEAN, many), PLAIN), "AGREED SHARING")
    assert text.startswith("AGREED SHARING  25, not counted")
    assert "and 5 more" in text
    assert text.count("10.0.7.") == 20


def test_a_silenced_finding_is_marked_with_its_silence_and_counts_as_before() -> None:
    """Who reads the report must see it, and who muted it and until when."""
    plain = sample.report(Verdict.FINDINGS, (sample.PAIR, *FOLLOWS, sample.DRIFT))
    muted = replace(plain, findings=(*silenced(sample.PAIR, *FOLLOWS), sample.DRIFT))
    text = render(muted, PLAIN)
    assert text.splitlines()[0] == render(plain, PLAIN).splitlines()[0]
    assert text.splitlines()[1].endswith("; 1 silenced")
    block = section(text, "CONTESTED ADDRESSES")
    assert "10.0.0.1 · duplicate-address · fra, sin · silenced" in block
    assert f"silenced  {MUTE}" in block
    assert "silenced" not in section(text, "OTHER FINDINGS")


def test_a_silenced_finding_of_another_kind_is_marked_too() -> None:
    """In the list below the contested addresses."""
    text = render(sample.report(Verdict.FINDINGS, silenced(sample.DRIFT)), PLAIN)
    assert "worker-nrt-3 · address-drift · nrt · silenced" in text
    assert f"silenced  {MUTE}" in text


@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_hostile_reasons_and_comments_stay_within_the_width_and_escape_nothing(
    width: int, ascii_only: bool
) -> None:
    """People write them, and recordings carry them."""
    findings = [
        replace(item, agreed=name if number % 2 else None, silenced=f"{name} {'x' * 400}")
        for number, (item, name) in enumerate(
            zip((sample.PAIR, sample.TRIPLE, sample.DRIFT) * 4, sample.HOSTILE_NAMES, strict=True)
        )
    ]
    text = render(sample.report(Verdict.FINDINGS, findings), Layout(width=width, ascii_only=ascii_only))
    assert max(map(cell_len, text.splitlines())) <= width
    assert all(line.isprintable() for line in text.splitlines())


# -- JSON


def test_json_says_why_it_is_agreed_or_silenced_and_null_otherwise() -> None:
    """On the finding that leads and on what follows from it."""
    findings = (*agreed(sample.PAIR), *silenced(sample.TRIPLE), sample.DRIFT)
    assert [
        (item["agreed"], item["silenced"]) for item in in_json(sample.report(Verdict.FINDINGS, findings))
    ] == [
        (WHY, None),
        (None, MUTE),
        (None, None),
    ]


# -- explain


def test_explain_does_not_tell_anybody_to_take_an_agreed_address_away() -> None:
    """It says that it is meant to be so, and the finding says why."""
    mesh = contested()
    mesh.policy = replace(mesh.policy, shared=(agreement(),))
    snapshot = mesh.snapshot()
    story = explain(snapshot, judge(snapshot), "10.0.0.9")
    assert "10.0.0.9 is meant to be shared, as [[shared]] says: leave it." in story.next_steps
    assert not any("Decide which node keeps" in step for step in story.next_steps)
    text = " ".join(render_explain(story, PLAIN).split())
    assert "agreed shared until 2026-03-31: anycast, OPS-77; not counted" in text


def test_explain_says_which_silence_mutes_a_finding() -> None:
    """Where it is known."""
    snapshot = contested().snapshot()
    report = judge(snapshot)
    muted = replace(report, findings=silenced(*report.findings))
    text = " ".join(render_explain(explain(snapshot, muted, "10.0.0.9"), PLAIN).split())
    assert f"silenced {MUTE}" in text
    assert "Decide which node keeps 10.0.0.9" in text
