"""A row for each server: registered and live side by side, the reason where it was not seen, and its route table."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from io import StringIO

import jsonschema
import pytest
from rich.cells import cell_len

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.json.nodes_v1 import NodesV1, nodes_document
from auditor.reports.node_rows import Listing, NodeList, NodeRow, SshHost, node_list
from auditor.reports.nodes_csv import COLUMNS, render_nodes_csv
from auditor.reports.selection import EVERYTHING, Selection
from auditor.reports.terminal.nodes_page import render_nodes
from auditor.values.findings import Severity
from auditor.values.models import NodeId, Snapshot
from auditor.values.report import Report
from tests import fleets
from tests.fleets import Mesh, key_of
from tests.reports import sample


def listed(mesh: Mesh, selection: Selection = EVERYTHING) -> NodeList:
    snapshot = mesh.snapshot()
    hosts = {node: SshHost("198.18.0.9", None) for node in mesh.machines}
    return node_list(snapshot, judge(snapshot), selection, hosts)


def row(mesh: Mesh, name: str) -> NodeRow:
    (found,) = [each for each in listed(mesh).rows if each.node.name == name]
    return found


def page(mesh: Mesh, selection: Selection = EVERYTHING, *, wide: bool = False, width: int = 80) -> str:
    report = judge(mesh.snapshot())
    return render_nodes(listed(mesh, selection), report, selection, Layout(width=width), wide=wide)


def test_each_registered_node_has_one_row_by_region_and_name() -> None:
    rows = listed(fleets.healthy()).rows
    assert [(each.region, each.node.name) for each in rows] == [
        ("ams", "edge-ams-1"),
        ("ams", "gate-ams-2"),
        ("fra", "core-fra-2"),
        ("fra", "edge-fra-1"),
        ("sin", "core-sin-2"),
        ("sin", "edge-sin-1"),
    ]
    assert {(each.seen, each.differs, each.listing) for each in rows} == {(True, False, Listing.REGISTERED)}


def test_what_is_live_stands_beside_what_is_registered() -> None:
    found = row(fleets.trio().holds("edge-sin-1", "10.0.0.77").rekeyed("edge-sin-1", "new"), "edge-sin-1")
    assert found.registered_addresses == ("10.0.0.3/32",)
    assert found.live_addresses == ("10.0.0.77/32",)
    assert (found.registered_key, found.live_key) == (key_of("edge-sin-1"), key_of("new"))
    assert found.differs


def test_a_node_that_was_not_seen_has_the_reason_and_nothing_live() -> None:
    found = row(fleets.trio().not_seen("edge-sin-1", GapReason.AUTH), "edge-sin-1")
    assert found.gap is not None
    assert (found.gap.reason, found.live_key, found.live_addresses, found.table) == (
        GapReason.AUTH,
        None,
        (),
        None,
    )
    assert not found.differs


def test_another_server_in_a_nodes_place_is_not_that_node() -> None:
    found = row(fleets.trio().answers_as("edge-sin-1", "edge-fra-1"), "edge-sin-1")
    assert not found.seen
    assert "wrong-host" in {str(finding.check) for finding in found.findings}


def test_tables_are_numbered_by_how_many_nodes_share_them() -> None:
    found = listed(fleets.contested())
    assert sum(found.holders.values()) == 5
    assert list(found.holders) == sorted(found.holders)
    assert list(found.holders.values()) == sorted(found.holders.values(), reverse=True)
    watchers = {each.node.name: each.table for each in found.rows if each.node.name.startswith("watch")}
    assert watchers["watch-a"] == watchers["watch-b"] != watchers["watch-c"]


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(nodes=("twin-*",)), ["twin-fra", "twin-sin"]),
        (Selection(regions=("sin",)), ["twin-sin", "watch-b"]),
        (Selection(checks=("duplicate-address",)), ["twin-fra", "twin-sin"]),
        (Selection(severities=(Severity.INFO,)), []),
        (Selection(regions=("sin",), checks=("duplicate-address",)), ["twin-sin"]),
    ],
)
def test_filters_choose_rows_and_count_all(selection: Selection, names: list[str]) -> None:
    found = listed(fleets.contested(), selection)
    assert sorted(each.node.name for each in found.rows) == names
    assert len(found.nodes) == 5
    assert f"FILTERED  {len(names)} of 5 shown: " in page(fleets.contested(), selection)


def test_the_page_says_on_one_line_what_is_well_and_below_it_what_is_not() -> None:
    mesh = fleets.trio().holds("edge-sin-1", "10.0.0.77").not_seen("edge-ams-1")
    text = page(mesh)
    assert text.splitlines()[0] == "NODES  3 registered, 2 seen, 2 distinct route tables"
    assert "  live with 10.0.0.77" in text
    assert "connect-refused" in text
    assert re.search(r"^edge-fra-1 .* yes +\d$", text, re.MULTILINE)


def test_of_two_nodes_with_one_name_each_has_its_datacenter() -> None:
    mesh = fleets.trio().node("edge-sin-1", "10.0.0.99", dc="dc2")
    text = page(mesh)
    assert "edge-sin-1@dc1" in text
    assert "edge-sin-1@dc2" in text
    assert "edge-fra-1@dc1" not in text


def test_below_a_node_stands_what_differs_and_not_what_is_alike() -> None:
    text = page(fleets.trio().rekeyed("edge-sin-1", "new"))
    assert f"  live with key {key_of('new')[:8]}" in text
    assert "no registration knows" not in text  # its new key is its own


def test_the_wide_page_has_hosts_and_whole_keys() -> None:
    text = page(fleets.trio(), wide=True, width=160)
    assert key_of("edge-sin-1") in text
    assert "host 198.18.0.9" in text
    assert key_of("edge-sin-1") not in page(fleets.trio())


def test_live_peers_that_nobody_registered_are_counted_below() -> None:
    assert "1 live peer that no registration knows" in page(fleets.healthy().unregistered("edge-sin-1"))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_the_screen_and_no_name_does_harm(width: int, wide: bool) -> None:
    mesh = Mesh()
    for number, name in enumerate(sample.HOSTILE_NAMES, start=1):
        mesh.node(name, f"10.0.0.{number}", region=name)
    text = page(mesh, wide=wide, width=width)
    assert all(cell_len(line) <= width and line.isprintable() for line in text.splitlines())


def test_the_document_is_what_its_schema_says() -> None:
    mesh = fleets.contested().not_seen("watch-c").holds("watch-a", "10.9.9.9")
    snapshot: Snapshot = mesh.snapshot()
    report: Report = replace(judge(snapshot), mesh="prod", version="1.2.3")
    selection = Selection(regions=("ams",))
    found = node_list(snapshot, report, selection, {NodeId("dc1", "watch-a"): SshHost("198.18.0.9", 2222)})
    read = json.loads(nodes_document(found, report, selection).text())
    jsonschema.validate(read, json.loads(NodesV1.schema_text()))
    assert (read["mesh"], read["version"]) == ("prod", "1.2.3")
    first, second = read["nodes"]
    assert (first["node"], first["ssh"], first["differs"]) == (
        "watch-a",
        {"host": "198.18.0.9", "port": 2222},
        True,
    )
    assert first["live"]["addresses"] == ["10.9.9.9/32"]
    assert (second["live"], second["ssh"], second["unseen"]["reason"]) == (None, None, "connect-refused")
    assert (read["selection"], read["total"]) == (["--region", "ams"], 5)


def test_the_csv_has_a_row_each_and_no_formula() -> None:
    """A public key may begin with a plus sign."""
    mesh = fleets.contested().node("=cmd()", "10.0.5.1")
    text = render_nodes_csv(listed(mesh))
    read = list(csv.DictReader(StringIO(text, newline=""), strict=True))
    assert tuple(read[0]) == COLUMNS
    assert len(read) == 6
    assert "'=cmd()" in {each["node"] for each in read}
    assert not [cell for each in read for cell in each.values() if cell.startswith(("=", "+", "-", "@"))]
