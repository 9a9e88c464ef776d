"""The page of `ask`: nothing that a server calls itself overflows it, or passes for a word of ours."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from auditor.errors import GapReason
from auditor.reports.interface import Layout
from auditor.reports.json.ask_v1 import ask_document
from auditor.reports.terminal.ask_page import render_ask
from auditor.values.asked_addresses import AskedAddress, Asking, AskOutcome, outcome_of
from auditor.values.models import NodeId
from auditor.values.witness_answers import AnswerSource, WitnessAnswer
from tests.reports.sample import HOSTILE_NAMES, node
from tests.reports.strategies import nodes, prefixes, words

answers = st.builds(
    WitnessAnswer,
    nodes,
    prefixes,
    st.sampled_from(AnswerSource),
    st.floats(0, 60),
    words,
    st.none() | nodes,
    st.none() | words,
    st.none() | st.sampled_from(GapReason),
    words,
)
addresses = st.builds(
    AskedAddress,
    prefixes,
    st.lists(nodes, max_size=3).map(tuple),
    st.booleans(),
    st.lists(answers, max_size=5).map(tuple),
    st.sampled_from(AskOutcome),
    st.just("why"),
)
askings = st.builds(
    Asking,
    st.just(datetime(2026, 3, 1, tzinfo=UTC)),
    st.lists(addresses, max_size=2).map(tuple),
    st.dictionaries(nodes, words, max_size=2),
    cut_short=st.none() | words,
    advice=st.dictionaries(st.sampled_from(GapReason), words, max_size=2),
)


@settings(max_examples=25, deadline=None)
@given(askings, st.integers(40, 170), st.booleans())
def test_any_asking_renders_within_the_width_and_without_control_characters(
    asking: Asking, width: int, ascii_only: bool
) -> None:
    text = render_ask(asking, Layout(width=width, ascii_only=ascii_only))
    assert all(line.isprintable() for line in text.split("\n"))
    assert max(map(cell_len, text.splitlines())) <= max(40, min(width, 160))
    assert text.encode("ascii" if ascii_only else "utf-8")
    assert json.loads(ask_document(asking).text())["schema"] == "wgaudit.ask/1"


def of(*met: tuple[str, NodeId | None, str]) -> Asking:
    """Observers that met a node, or somebody who calls itself so."""
    made = tuple(
        WitnessAnswer(node(observer), "10.0.0.1/32", AnswerSource.NATS, 0.0123, said, at)  # type: ignore[arg-type]
        for observer, at, said in met
    )
    holders = (node("edge-fra-1"),)
    outcome = outcome_of(made, holders, agreed=False)
    return Asking(
        datetime(2026, 3, 1, tzinfo=UTC),
        (AskedAddress(made[0].address, holders, False, made, *outcome),),
        regions={node(name): name.split("-")[1] for name in ("edge-fra-1", "edge-sin-1", "db-ams-1")},
    )


def test_those_who_met_somebody_else_come_first_and_the_rest_is_counted() -> None:
    fra, sin = node("edge-fra-1"), node("edge-sin-1")
    many = [(f"db-ams-{number}", fra, "edge-fra-1") for number in range(1, 9)]
    text = render_ask(of(*many, ("worker-nrt-9", sin, "edge-sin-1")), Layout(width=80, limit=3))
    rows = text.split("from each observer\n")[1].splitlines()
    assert rows[0].split()[:3] == ["worker-nrt-9", "?", "edge-sin-1"]
    assert rows[1].split() == ["db-ams-1", "ams", "edge-fra-1", "12", "ms"]
    assert rows[3].strip() == "and 6 more; --format json has each of them"


def test_a_server_that_only_calls_itself_like_the_node_stands_in_quotation_marks() -> None:
    text = render_ask(of(("db-ams-1", None, "edge-fra-1")), Layout(width=80))
    assert text.startswith("NOT KNOWN")
    assert 'of 1 asked, 1 reached "edge-fra-1" (no registered node)' in text


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_hostile_server_changes_no_line_of_ours(name: str) -> None:
    text = render_ask(of(("db-ams-1", None, name)), Layout(width=100))
    assert "  registered for edge-fra-1 (fra)" in text.splitlines()
    assert text.replace("\n", "").isprintable()
