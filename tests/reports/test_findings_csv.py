"""Findings as CSV: a row for each finding and node, in stable columns, with nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from auditor.reports.findings_csv import COLUMNS, render
from auditor.reports.interface import Layout
from auditor.reports.nodes_csv import COLUMNS as NODE_COLUMNS
from auditor.reports.selection import Selection
from auditor.values.models import NodeId
from auditor.values.report import Report, Verdict
from auditor.values.text import LONGEST_CELL
from tests.reports import sample

DOCUMENT = Path(__file__).parents[2] / "docs" / "csv.md"


def rows(report: Report, layout: Layout | None = None) -> list[dict[str, str]]:
    reader = csv.DictReader(StringIO(render(report, layout or Layout()), newline=""), strict=True)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    return list(reader)


def test_each_node_of_each_finding_has_a_row() -> None:
    report = sample.incident()
    assert len(rows(report)) == sum(len(finding.nodes) or 1 for finding in report.findings)
    pair = [row for row in rows(report) if row["fingerprint"] == sample.PAIR.fingerprint]
    assert [(row["node"], row["datacenter"], row["region"]) for row in pair] == [
        ("edge-fra-1", "dc1", "fra"),
        ("edge-sin-1", "dc1", "sin"),
    ]
    assert {(row["check"], row["severity"], row["address"]) for row in pair} == {
        ("duplicate-address", "critical", "10.0.0.1/32")
    }
    assert {row["summary"] for row in pair} == {sample.PAIR.summary}


def test_a_finding_without_a_node_has_a_row_too() -> None:
    (row,) = rows(sample.report(Verdict.FINDINGS, [replace(sample.PAIR, nodes=())]))
    assert (row["node"], row["region"]) == ("", "fra sin")


def test_each_row_names_the_mesh_and_the_version() -> None:
    report = replace(sample.incident(), mesh="prod", version="1.2.3")
    assert {(row["mesh"], row["version"]) for row in rows(report)} == {("prod", "1.2.3")}


def test_what_does_not_count_says_so() -> None:
    agreed = replace(sample.PAIR, agreed="anycast")
    counts = {
        row["check"]: row["counts"] for row in rows(sample.report(Verdict.CLEAN, [agreed, sample.GONE]))
    }
    assert set(counts.values()) == {"no"}


def test_lines_end_as_rfc_4180_has_it_and_a_clean_sweep_is_a_header() -> None:
    assert render(sample.clean(), Layout()) == ",".join(COLUMNS) + "\r\n"


def test_no_cell_is_a_formula_or_breaks_its_line_whatever_nodes_are_called() -> None:
    evil = tuple(
        NodeId("dc1", name)
        for name in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", 'a"b,c', *sample.HOSTILE_NAMES)
    )
    text = render(sample.report(Verdict.FINDINGS, [replace(sample.PAIR, nodes=evil)]), Layout())
    assert len(text.splitlines()) == 1 + len(evil)
    text.encode()
    for row in csv.reader(StringIO(text, newline=""), strict=True):
        assert not [
            cell for cell in row if cell.lstrip(" '\t").startswith(("=", "+", "-", "@")) and cell[0] != "'"
        ]


def test_a_cell_is_no_longer_than_a_spreadsheet_takes() -> None:
    """A recording may hold a name of any length."""
    long = replace(sample.PAIR, nodes=(NodeId("dc1", "=" + "x" * 2 * LONGEST_CELL),))
    written = csv.reader(StringIO(render(sample.report(Verdict.FINDINGS, [long]), Layout()), newline=""))
    assert max(len(cell) for row in written for cell in row) == LONGEST_CELL


def test_filters_choose_the_rows() -> None:
    chosen = rows(sample.incident(), Layout(selection=Selection(checks=("address-drift",))))
    assert {row["check"] for row in chosen} == {"address-drift"}


@pytest.mark.parametrize(("head", "columns"), [("wgaudit sweep", COLUMNS), ("wgaudit nodes", NODE_COLUMNS)])
def test_the_document_has_each_column_in_its_place(head: str, columns: tuple[str, ...]) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {head}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) \| ", section, re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(columns)
