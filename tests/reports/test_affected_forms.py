"""Who is affected, for programs: JSON by its schema, CSV that no spreadsheet computes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import jsonschema
import pytest

from auditor.explain.affected import Affected, affected
from auditor.judge import judge
from auditor.reports.affected_csv import COLUMNS, render_affected_csv
from auditor.reports.json.affected_v1 import affected_document
from auditor.state.recording import replay
from auditor.values.models import NodeId
from tests.fleets import Mesh, contested, key_of

ROOT = Path(__file__).parents[2]


def found(target: str, mesh: Mesh) -> Affected:
    """The observers of a target in a small fleet."""
    snapshot = mesh.snapshot()
    return affected(snapshot, judge(snapshot), target)


def rows(found: Affected) -> list[dict[str, str]]:
    """The rows of the CSV, by column."""
    return list(csv.DictReader(StringIO(render_affected_csv(found), newline="")))


@pytest.mark.parametrize(
    ("case", "target"),
    [("incident", "10.0.0.1"), ("incident", "fra"), ("drift", "key-drift"), ("unseen", "edge-fra-1")],
)
def test_the_document_is_as_its_published_schema_says(case: str, target: str) -> None:
    snapshot = replay(ROOT / "fixtures" / case / "snapshot.json.gz")
    report = judge(snapshot)
    document = json.loads(affected_document(affected(snapshot, report, target), report).text())
    jsonschema.validate(document, json.loads((ROOT / "docs" / "affected-v1.schema.json").read_text()))


def test_the_document_names_each_observer_with_whom_it_loses() -> None:
    document = json.loads(
        affected_document(found("10.0.0.9", contested()), judge(contested().snapshot())).text()
    )
    (address,) = document["addresses"]
    assert {
        (each["node"], group["reach"], *each["loses"])
        for group in address["groups"]
        for each in group["observers"]
    } == {
        ("watch-a", "nodes", "twin-fra"),
        ("watch-b", "nodes", "twin-fra"),
        ("watch-c", "nodes", "twin-sin"),
        ("twin-fra", "itself", "twin-sin"),
        ("twin-sin", "itself", "twin-fra"),
    }
    assert len(document["losing"]) == document["observers"] == 5


def test_csv_has_one_row_an_address_and_observer_and_one_for_each_node_that_was_not_seen() -> None:
    written = rows(found("watch-c", contested().not_seen("watch-a")))
    assert [(row["address"], row["observer"], row["reach"], row["loses"]) for row in written] == [
        ("10.0.1.99/32", "twin-fra", "nodes", ""),
        ("10.0.1.99/32", "twin-sin", "nodes", ""),
        ("10.0.1.99/32", "watch-b", "nodes", ""),
        ("10.0.1.99/32", "watch-c", "itself", ""),
        ("10.0.0.9/32", "watch-c", "nodes", "twin-sin"),
        ("", "watch-a", "not-seen", ""),
    ]
    assert written[0]["key"].lstrip("'") == key_of("watch-c")


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1+1", "-2", "@SUM(A1)", " =1", "\uff1d1", "a\r\n=1"])
def test_no_cell_of_the_csv_is_a_formula_or_a_second_line(name: str) -> None:
    mesh = contested().node("calm", "10.0.9.9", region=name)
    named = NodeId("dc1", name)  # as it is: `find` would take an @ for a datacenter's
    mesh.registrations[named] = replace(mesh.registrations.pop(mesh.find("watch-a")), node=named)
    mesh.machines[named] = mesh.machines.pop(mesh.find("watch-a"))
    text = render_affected_csv(found("10.0.0.9", mesh))
    assert text.count("\r\n") == text.count("\n") == 1 + 6
    cells = [cell for row in csv.reader(StringIO(text, newline="")) for cell in row]
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))]
    assert text.startswith(",".join(COLUMNS) + "\r\n")
