"""Filters: what fits, what does not, and that they leave out of a page without changing what it says of the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.reports.interface import Layout
from auditor.reports.selection import Selection, Stranger
from auditor.reports.terminal.table import render
from auditor.values.findings import Severity
from auditor.values.models import NodeId
from auditor.values.report import Verdict
from tests.reports import sample

EDGE = NodeId("dc1", "edge-sin-1")


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Selection(), True),
        (Selection(nodes=("edge-sin-1",)), True),
        (Selection(nodes=("edge-sin-1@dc1",)), True),
        (Selection(nodes=("edge-*",)), True),
        (Selection(nodes=("edge",)), False),
        (Selection(nodes=("EDGE-*",)), False),
        (Selection(nodes=("nobody", "edge-???-1")), True),
        (Selection(regions=("sin",)), True),
        (Selection(regions=("fra",)), False),
        (Selection(nodes=("edge-*",), regions=("fra",)), False),
        (Selection(checks=("key-drift",), severities=(Severity.INFO,)), True),
    ],
)
def test_a_node_fits_by_name_and_region(selection: Selection, fits: bool) -> None:
    assert selection.takes_node(EDGE, "sin") is fits


@pytest.mark.parametrize(
    ("selection", "fits"),
    [
        (Selection(checks=("duplicate-address",)), True),
        (Selection(checks=("key-drift", "duplicate-address")), True),
        (Selection(checks=("key-drift",)), False),
        (Selection(severities=(Severity.CRITICAL,)), True),
        (Selection(severities=(Severity.ERROR,)), False),
        (Selection(nodes=("edge-fra-*",), regions=("sin",)), True),
        (Selection(nodes=("worker-*",)), False),
        (Selection(regions=("nrt",)), False),
    ],
)
def test_a_finding_fits_by_check_severity_and_any_of_its_nodes(selection: Selection, fits: bool) -> None:
    assert selection.takes_finding(sample.PAIR, sample.REGIONS) is fits


def test_of_a_name_that_nobody_has_the_likest_are_told() -> None:
    nodes = [EDGE, NodeId("dc1", "edge-fra-1")]
    selection = Selection(nodes=("edge-*", "edge-sim-1", "edge-sin-1@dc2"), regions=("sin", "sinn"))
    assert list(selection.strangers(nodes, ["sin", "fra"])) == [
        Stranger("--node", "edge-sim-1", ("edge-sin-1", "edge-fra-1")),
        Stranger("--node", "edge-sin-1@dc2", ("edge-sin-1@dc1", "edge-fra-1@dc1")),
        Stranger("--region", "sinn", ("sin",)),
    ]


def test_the_options_make_the_selection_again() -> None:
    selection = Selection(("a", "b"), ("sin",), ("key-drift",), (Severity.ERROR,))
    assert " ".join(selection.options) == (
        "--node a --node b --region sin --check key-drift --severity error"
    )


def filtered(**kinds: tuple[str, ...]) -> str:
    return render(sample.incident(), Layout(selection=Selection(**kinds)))  # type: ignore[arg-type]


def test_a_filtered_page_says_so_and_sums_up_the_whole() -> None:
    whole = render(sample.incident(), Layout()).splitlines()
    page = filtered(nodes=("edge-sin-1",)).splitlines()
    assert page[:2] == whole[:2]
    assert page[2] == "FILTERED by --node edge-sin-1: 1 of 5 findings and 0 of 2 gaps shown"
    assert not [line for line in whole if line.startswith("FILTERED")]


def test_a_filtered_page_shows_what_was_asked_for_and_nothing_else() -> None:
    page = filtered(nodes=("edge-sin-1",))
    assert "critical  10.0.0.1 " in page
    assert "10.20.0.7" not in page
    assert "address-drift" not in page


def test_an_incident_is_shown_where_what_follows_from_it_was_asked_for() -> None:
    page = filtered(checks=("displaced-allowed-ips",))
    assert "critical  10.0.0.1 " in page
    assert "10.20.0.7" not in page


def test_gaps_of_other_nodes_are_left_out_and_those_of_the_registry_never() -> None:
    """A filter must not hide that the registry was not read."""
    refused = next(gap for gap in sample.every_gap().gaps if gap.node is not None)
    registry = next(gap for gap in sample.every_gap().gaps if gap.node is None)
    report = sample.report(Verdict.INCONCLUSIVE, gaps=(refused, registry))
    page = render(report, Layout(selection=Selection(nodes=("nobody",))))
    assert registry.reason.value in page
    assert refused.reason.value not in page
    assert "FILTERED by --node nobody: 0 of 0 findings and 1 of 2 gaps shown" in page


def test_the_command_for_the_rest_keeps_the_filter() -> None:
    page = render(sample.huge(100, 60), Layout(limit=5, width=160, selection=Selection(nodes=("*",))))
    assert "--node '*' --limit" in page


@pytest.mark.parametrize("name", sample.HOSTILE_NAMES)
def test_a_hostile_filter_stays_harmless_on_the_page(name: str) -> None:
    page = filtered(nodes=(name or "x",), regions=(name,))
    assert "\x1b" not in page
    assert all(line.isprintable() for line in page.splitlines())


def test_agreed_gone_and_moving_are_filtered_too() -> None:
    agreed = replace(sample.PAIR, agreed="anycast until May")
    report = replace(
        sample.report(Verdict.CLEAN, (agreed, sample.GONE)), in_flight=(NodeId("dc1", "worker-nrt-1"),)
    )
    page = render(report, Layout(selection=Selection(nodes=("nobody",))))
    assert not [head for head in ("AGREED", "GONE ON", "IN FLIGHT") if head in page]
    assert "IN FLIGHT" in render(report, Layout(selection=Selection(nodes=("worker-nrt-1",))))
