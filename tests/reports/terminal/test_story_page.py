"""The story on a terminal: every part is shown, nothing overflows, nothing escapes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from auditor.explain.story import Routing, Story
from auditor.explain.story_builder import explain
from auditor.judge import judge
from auditor.reports.interface import Layout
from auditor.reports.selection import Selection
from auditor.reports.terminal.story_page import render_explain
from auditor.values.guide import Guide
from auditor.values.models import InvalidRegistration, NodeId
from auditor.values.report import Coverage
from tests.fleets import Mesh, contested
from tests.reports import fleet, sample
from tests.reports.strategies import answers, claims, findings, gaps, nodes, picks, prefixes, words

PLAIN = Layout(width=80)


def story_of(target: str) -> Story:
    """The story of a target of the sample fleet."""
    snapshot = fleet.snapshot()
    return explain(snapshot, judge(snapshot), target)


stories = st.builds(
    Story,
    target=words,
    kind=st.sampled_from(("address", "node", "key")),
    headline=words,
    coverage=st.just(Coverage(40, 38)),
    invalid=st.lists(st.builds(InvalidRegistration, nodes, words, words, words), max_size=2).map(tuple),
    claims=st.lists(claims, max_size=4).map(tuple),
    routing=st.lists(
        st.builds(
            Routing,
            prefixes,
            st.lists(picks(), max_size=3).map(tuple),
            st.lists(words, max_size=2).map(tuple),
            st.lists(answers(), max_size=3).map(tuple),
            words,
        ),
        max_size=2,
    ).map(tuple),
    notes=st.lists(words, max_size=2).map(tuple),
    findings=st.lists(findings, max_size=3).map(tuple),
    gaps=st.lists(gaps, max_size=3).map(tuple),
    next_steps=st.lists(words, max_size=2).map(tuple),
)


@settings(max_examples=20, deadline=None)
@given(stories, st.integers(40, 170), st.booleans())
def test_any_story_renders_within_the_width_and_without_control_characters(
    story: Story, width: int, ascii_only: bool
) -> None:
    """Whatever nodes and Consul say."""
    text = render_explain(story, Layout(width=width, ascii_only=ascii_only))
    assert all(line.isprintable() for line in text.split("\n"))
    assert max(map(cell_len, text.splitlines())) <= max(40, min(width, 160))
    assert text.encode("ascii" if ascii_only else "utf-8")


def test_the_story_of_an_address_begins_with_the_outcome() -> None:
    """And then says who claims it."""
    lines = render_explain(story_of("10.0.0.1"), PLAIN).splitlines()
    assert lines[0] == "10.0.0.1 is claimed by 2 nodes: edge-fra-1 (fra), edge-sin-1 (sin)"
    assert lines[2] == "WHO CLAIMS IT"


def test_the_story_of_an_address_shows_both_consul_indexes() -> None:
    """CreateIndex and ModifyIndex tell which writer came first."""
    text = render_explain(story_of("10.0.0.1"), PLAIN)
    assert "registered wireguard/nodes/edge-sin-1 (index 4711, changed 4713)" in text


def test_few_observers_are_all_named() -> None:
    """These are the machines to log in to."""
    text = render_explain(story_of("10.0.0.1"), PLAIN)
    assert "to edge-fra-1 from: worker-fra-1, worker-fra-2" in text


def test_the_story_of_a_node_shows_registration_and_device_in_full() -> None:
    """Keys are whole here: they are what one compares."""
    text = render_explain(story_of("edge-sin-1"), PLAIN)
    full = story_of("edge-sin-1").registrations[0].public_key
    assert text.count(full) == 2
    for part in ("REGISTERED", "ON THE NODE", "WHO IS ROUTED WHERE", "FINDINGS  5 findings", "NEXT"):
        assert f"\n{part}" in text


def test_gaps_that_may_have_changed_the_story_are_shown() -> None:
    """Not seeing is not clean."""
    assert "connect-refused" in render_explain(story_of(fleet.UNSEEN), PLAIN)


def test_without_findings_the_story_says_none() -> None:
    """An empty section would leave one wondering."""
    assert "FINDINGS  none touches it" in render_explain(story_of("10.0.1.2"), PLAIN)


def test_unreadable_registrations_stand_beside_how_many_nodes_were_seen() -> None:
    """They are why it is not all of them."""
    assert render_explain(story_of("10.0.1.2"), PLAIN).endswith(
        "8 of 10 registered nodes seen, 1 unreadable\n"
    )


def test_an_unreadable_registration_is_shown_with_what_stands_there() -> None:
    """Also where nothing does."""
    bad = InvalidRegistration(NodeId("dc1", "db-sin-1"), "wireguard/nodes/db-sin-1", "empty value", "")
    text = render_explain(replace(story_of("db-sin-1"), invalid=(bad,)), PLAIN)
    assert "unreadable  wireguard/nodes/db-sin-1\n    empty value: (empty)" in text


@pytest.mark.parametrize("colour", [False, True])
def test_a_hostile_registration_shows_as_harmless_text(colour: bool) -> None:
    """Its key path, region and endpoint included."""
    story = story_of("edge-sin-1")
    bad = replace(
        story.registrations[0],
        node=NodeId("dc1", "\x1b[31mx"),
        region="\u202eabc",
        endpoint="[bold]e[/bold]",
        where="a\nb",
    )
    text = render_explain(replace(story, registrations=(bad,)), Layout(width=100, colour=colour))
    assert "\x1b[31mx" not in text
    assert "\\x1b[31mx" in text
    assert "\\u202eabc" in text
    assert "[bold]e[/bold]" in text
    assert "a\\x0ab" in text


def test_the_story_of_a_key_that_was_cloned_to_3000_nodes_is_a_few_screens() -> None:
    """The first of everything, and how many more there are."""
    story = story_of("edge-sin-1")
    copies = [NodeId("dc1", f"clone-{number}") for number in range(3_000)]
    evidence = story.routing[0]
    crowd = replace(
        story,
        registrations=tuple(replace(story.registrations[0], node=node) for node in copies),
        observations=tuple(replace(story.observations[0], node=node) for node in copies),
        claims=tuple(replace(story.claims[0], node=node) for node in copies),
        routing=(replace(evidence, picks=tuple(replace(evidence.picks[0], node=node) for node in copies)),),
        notes=story.notes * 3_000 or ("a note",) * 3_000,
        next_steps=story.next_steps * 3_000,
        findings=story.findings * 3_000,
        gaps=story.gaps * 3_000,
    )
    text = render_explain(crowd, PLAIN)
    assert "and 2,980 more" in text
    assert len(text.splitlines()) < 600


def test_an_observer_that_is_cut_off_says_so_in_place_of_no_finding() -> None:
    snapshot = contested().snapshot()
    text = render_explain(explain(snapshot, judge(snapshot), "watch-c"), PLAIN)
    assert "as an observer: 10.0.0.9 → twin-fra (fra), not twin-sin (sin)\n" in text
    assert "none touches it" not in text


def test_the_story_leads_on_to_who_is_affected_and_to_the_plan() -> None:
    text = render_explain(story_of("10.0.0.1"), PLAIN)
    for command in ("explain duplicate-address", "affected 10.0.0.1", "plan --address 10.0.0.1"):
        assert f"\n  wgaudit {command}\n" in text


def test_every_observer_is_named_where_everyone_is_asked_for() -> None:
    mesh = contested()
    for number in range(40):
        mesh.node(f"calm-{number:02}", f"10.1.0.{number + 1}", region="ams").picks(
            f"calm-{number:02}", "twin-sin"
        )
    snapshot = mesh.snapshot()
    text = render_explain(explain(snapshot, judge(snapshot), "10.0.0.9", everyone=True), PLAIN)
    assert all(f"calm-{number:02}" in text for number in range(40))
    assert " more\n" not in text


def test_checks_are_links_on_a_terminal_that_shows_them_and_only_there() -> None:
    """Of the place that the configuration names; the same text each time."""
    guide = Guide(docs_url="https://wiki.example/findings")
    link = "\x1b]8;;https://wiki.example/findings#duplicate-address\x1b\\"
    linked = Layout(colour=True, links=True, guide=guide)
    assert link in render_explain(story_of("10.0.0.1"), linked)
    assert render_explain(story_of("10.0.0.1"), linked) == render_explain(story_of("10.0.0.1"), linked)
    for layout in (
        Layout(colour=True, guide=guide),
        Layout(links=True, guide=guide),
        Layout(colour=True, links=True),
    ):
        assert "\x1b]8" not in render_explain(story_of("10.0.0.1"), layout)
    assert "https://wiki.example/findings" in render_explain(story_of("10.0.0.1"), Layout(guide=guide))


def test_a_filtered_story_says_so_and_keeps_who_claims_what_and_who_goes_where() -> None:
    story = story_of("10.0.0.1")
    page = render_explain(story, Layout(selection=Selection(checks=("split-routing",))))
    assert f"FILTERED by --check split-routing: 1 of {len(story.findings)} findings shown" in page
    assert "WHO CLAIMS IT" in page
    assert "WHO IS ROUTED WHERE" in page
    assert "· duplicate-address ·" not in page
    none = render_explain(story, Layout(selection=Selection(checks=("key-drift",))))
    assert "FINDINGS  none is shown" in none  # not that nothing touches it


def test_the_story_of_an_address_says_who_answers_there_beside_its_routes() -> None:
    """And on a line of its own what the routes do not explain."""
    told = story_of("10.0.0.1")
    (routing,) = told.routing
    asked = replace(routing, answers=sample.ANSWERS, disagreement=sample.DISAGREEMENT)
    text = render_explain(replace(told, routing=(asked,)), Layout(width=120))
    routes, answers = text.index("WHO IS ROUTED WHERE"), text.index("who answers at 10.0.0.1")
    assert routes < answers < text.index("\nFINDINGS")
    assert "NATS: of 12 asked, 9 reached edge-fra-1, 2 edge-sin-1, 1 timed out" in text
    assert f"\n  but       {sample.DISAGREEMENT}" in text


def test_the_story_takes_the_answers_from_the_finding_of_its_address() -> None:
    """As its routing is."""
    snapshot = fleet.snapshot()
    report = judge(snapshot)
    findings = tuple(
        replace(item, evidence=replace(item.evidence, answers=sample.ANSWERS))
        if item.subject == "10.0.0.1"
        else item
        for item in report.findings
    )
    told = explain(snapshot, replace(report, findings=findings), "10.0.0.1")
    assert told.routing[0].answers == sample.ANSWERS


def test_the_story_shows_questions_without_an_answer_apart() -> None:
    """They hide no node."""
    text = render_explain(replace(story_of("10.0.0.1"), gaps=(sample.UNANSWERED,)), PLAIN)
    assert "NOT HEARD  1 gap of witnesses" in text
    assert "NOT SEEN" not in text


def test_the_story_of_a_healthy_address_says_who_answered_there_too() -> None:
    """Where a sweep asked for it beside the contested ones."""
    mesh = Mesh().node("edge-fra-1", "10.0.0.1", region="fra").node("edge-sin-1", "10.0.0.2", region="sin")
    snapshot = mesh.asks("edge-sin-1", "10.0.0.1", "edge-fra-1").snapshot()
    text = render_explain(explain(snapshot, judge(snapshot), "10.0.0.1"), PLAIN)
    assert "NATS: of 1 asked, 1 reached edge-fra-1" in text


def test_a_finding_of_a_story_does_not_repeat_the_answers_that_are_drawn_above_it() -> None:
    """Each of an incident's findings would say them again."""
    told = story_of("10.0.0.1")
    said = replace(told.findings[0], answers_statement="Of 12 asked, 9 reached edge-fra-1.")
    asked = replace(told.routing[0], answers=sample.ANSWERS)
    drawn = render_explain(replace(told, findings=(said,), routing=(asked,)), Layout(width=120))
    alone = render_explain(replace(told, findings=(said,)), Layout(width=120))
    assert (drawn.count("9 reached edge-fra-1"), alone.count("9 reached edge-fra-1")) == (1, 1)
