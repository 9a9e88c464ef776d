"""The story of one address, node or key for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.text import Text

from auditor.explain.story import Routing, Story
from auditor.reports.interface import Layout
from auditor.reports.outline import NO_REGION, claimants, gap_groups
from auditor.reports.registration_sentences import between, change_words
from auditor.reports.report_words import coverage_words, unheard_note
from auditor.reports.selected_story import selected_story
from auditor.reports.terminal.blocks import (
    answers_block,
    claim_colours,
    claims_block,
    filtered_line,
    finding_head,
    gaps_block,
    picked_most,
    routing_block,
)
from auditor.reports.terminal.page import Page
from auditor.reports.terminal.reach_words import losses_block
from auditor.values.addresses import format_prefix
from auditor.values.answer_words import asked
from auditor.values.findings import Finding
from auditor.values.guide import FINDINGS, Guide
from auditor.values.models import Observation, Registration
from auditor.values.text import count

_MOST_FINDINGS = 20
_MOST_ADDRESSES = 12
_MOST_CLAIMANTS = 20
_MOST_ITEMS = 20
"""Registrations, devices, notes or steps: a key that was cloned to a whole fleet has thousands."""
_NAMED_OBSERVERS = 12
_MOST_LOSSES = 12

T = TypeVar("T")


def render_explain(story: Story, layout: Layout) -> str:
    """Render the story as a page of text. Pure; no line is wider than the layout's columns."""
    page = Page(layout, _keys(story))
    page.line(page.clean(story.headline), style="bold")
    whole, story = story, selected_story(story, layout.selection)
    filtered_line(
        page,
        layout.selection,
        (len(story.findings), len(whole.findings)),
        (len(story.gaps), len(whole.gaps)),
    )
    if story.asked is not None:
        asked = story.asked
        page.line(page.clean(f"finding {asked.fingerprint}: {asked.check}, {asked.subject}"), 2, "dim")
    _registered(page, story)
    _observed(page, story)
    if story.claims:
        page.heading("WHO CLAIMS IT" if story.kind == "address" else "WHO CLAIMS ITS ADDRESSES")
        claims_block(
            page,
            claimants(story.claims),
            story.target,
            story.name,
            lambda node: story.regions.get(node, NO_REGION),
            2,
            _MOST_CLAIMANTS,
        )
    _routing(page, story)
    if story.changes:
        page.heading("REGISTRATION BEFORE", "as sweeps noticed it; all times in UTC")
        for change in story.changes[-_MOST_CHANGES:]:
            page.line(f"{between(change)}  {page.name(story.name(change.node))}", 2)
            page.line(change_words(change, page.clean), 4)
    if story.notes:
        page.heading("ALSO")
        for note in _first(page, story.notes):
            page.line(page.clean(note), 2)
    _findings(page, story, filtered=len(story.findings) < len(whole.findings))
    _not_seen(page, story)
    _next(page, story, layout.guide)
    page.blank()
    page.line(coverage_words(story.coverage, "registered node"), style="dim")
    return page.text()


def _not_seen(page: Page, story: Story) -> None:
    """Write gaps, and apart from them those of witnesses."""
    unseen = [gap for gap in story.gaps if not gap.of_witness]
    unheard = gap_groups((gap for gap in story.gaps if gap.of_witness), story.region)
    if unseen:
        page.heading("NOT SEEN", count(len(unseen), "gap"))
        gaps_block(page, gap_groups(unseen, story.region), story.name)
    if unheard:
        page.heading("NOT HEARD", unheard_note(unheard))
        gaps_block(page, unheard, story.name)


_MOST_CHANGES = 8
"""Changes of registrations that are shown, the last ones."""


def _next(page: Page, story: Story, guide: Guide) -> None:
    """Write what to do, what to read, and the commands that lead on."""
    page.heading("NEXT")
    for step in _first(page, story.next_steps):
        page.line(page.clean(step), 2)
    checks = dict.fromkeys(finding.check for finding in story.findings)
    if checks:
        page.line(page.documented(f"Read in {guide.docs_url or FINDINGS}:", checks), 2)
    # Its documentation needs no sweep, and no configuration.
    commands = [(*guide.program, "explain", check) for check in list(checks)[:1]]
    if any(len(routing.picks) > 1 for routing in story.routing) or story.losses:
        commands.append(guide.command("affected", target=_named(story)))
    commands += [guide.command("plan", "--address", format_prefix(prefix)) for prefix in story.contested]
    for command in _first(page, commands):
        if (words := guide.spelled(command)) is not None:
            page.line(page.clean(words), 2, "bold")


def _named(story: Story) -> str:
    """The target as a command takes it."""
    return story.asked.fingerprint if story.asked is not None else story.target


def _first(page: Page, items: Sequence[T]) -> Iterator[T]:
    """Yield the first items, then write how many are left out."""
    yield from items[:_MOST_ITEMS]
    if len(items) > _MOST_ITEMS:
        page.line(f"and {len(items) - _MOST_ITEMS:,} more", 2, "dim")


def _keys(story: Story) -> set[str]:
    keys: set[str] = {claim.public_key for claim in story.claims if claim.public_key is not None}
    for routing in story.routing:
        keys |= {pick.public_key for pick in routing.picks if pick.public_key is not None}
    for finding in story.findings:
        keys |= {claim.public_key for claim in finding.evidence.claims if claim.public_key is not None}
    return keys


def _registered(page: Page, story: Story) -> None:
    if not (story.registrations or story.invalid):
        return
    page.heading("REGISTERED")
    for registration in _first(page, story.registrations):
        _registration(page, story, registration)
    for invalid in _first(page, story.invalid):
        page.line(Text("unreadable", "red").append(f"  {page.clean(invalid.where, 200)}", "default"), 2)
        page.line(f"{page.clean(invalid.reason)}: {page.clean(invalid.excerpt, 200) or '(empty)'}", 4)


def _registration(page: Page, story: Story, registration: Registration) -> None:
    title = Text(page.name(story.name(registration.node)), "bold")
    place = [page.clean(registration.where, 200)]
    if registration.create_index is not None:
        place.append(f"created at index {registration.create_index}")
    if registration.modify_index is not None:
        place.append(f"changed at index {registration.modify_index}")
    page.line(title.append(f"  {page.dot.join(filter(None, place))}", "not bold dim"), 2)
    _field(
        page,
        "address",
        page.names([format_prefix(prefix) for prefix in registration.addresses], _MOST_ADDRESSES)
        or "none that can be read",
    )
    _field(page, "key", page.clean(registration.public_key or "none that can be read"))
    for label, value in (
        ("state", f"{registration.state} (retired)" if registration.retired else registration.state),
        ("region", registration.region),
        ("endpoint", registration.endpoint),
        ("ssh host", registration.ssh_host),
    ):
        if value:
            _field(page, label, page.clean(value, 200))


def _observed(page: Page, story: Story) -> None:
    if story.observations:
        page.heading("ON THE NODE")
    for observation in _first(page, story.observations):
        _observation(page, story, observation)


def _observation(page: Page, story: Story, observation: Observation) -> None:
    device = observation.device
    title = Text(page.name(story.name(observation.node)), "bold")
    page.line(title.append(f"  {page.name(device.name)}", "not bold dim"), 2)
    addresses = page.names([format_prefix(prefix) for prefix in device.addresses], _MOST_ADDRESSES)
    _field(page, "address", addresses or "none")
    _field(page, "key", page.clean(device.public_key))
    for label, value in (("region", observation.region), ("host key", observation.host_key)):
        if value:
            _field(page, label, page.clean(value, 200))


def _field(page: Page, label: str, value: str) -> None:
    page.labelled(label, value, 4)


def _routing(page: Page, story: Story) -> None:
    shown_routes = [routing for routing in story.routing if routing.picks or routing.notes or routing.answers]
    if not shown_routes:
        return
    page.heading("WHO IS ROUTED WHERE")
    colours = claim_colours(claimants(story.claims))
    for routing in shown_routes:
        total = sum(pick.observers for pick in routing.picks)
        words = f"{count(total, 'observer')} {'routes' if total == 1 else 'route'} {format_prefix(routing.prefix)} to"
        page.line(words, 2, "dim")
        routing_block(page, routing.picks, story.name, colours)
        total_keys = len(routing.picks)
        for pick in picked_most(routing.picks):
            # Who stands on the smaller side is what one logs in to look at.
            if pick.sample and (total_keys > 1 or pick.public_key is None or story.everyone):
                target = (
                    page.name(story.name(pick.node)) if pick.node is not None else page.key(pick.public_key)
                )
                names = [story.name(node) for node in pick.sample]
                listed = page.names(names, max(_NAMED_OBSERVERS, len(names)), pick.observers)
                page.line(f"to {target or 'nobody'} from: {listed}", 4, "dim")
        for note in routing.notes:
            page.line(page.clean(note), 4, "dim")
        _answers(page, story, routing)


def _answers(page: Page, story: Story, routing: Routing) -> None:
    """Write who answers at an address, and on a line of its own what its routes do not explain."""
    if routing.answers:
        page.line(f"who answers at {format_prefix(routing.prefix)}, asked over the mesh", 2, "dim")
        holders = claimants(claim for claim in story.claims if claim.prefix == routing.prefix)
        answers_block(page, asked(routing.answers), story.name, story.region, holders, 4)
    if routing.disagreement:
        page.labelled("but", Text(page.clean(routing.disagreement), "bold yellow"), 2)


def _findings(page: Page, story: Story, *, filtered: bool) -> None:
    alone = "none touches it" if not story.losses else "none is about it, but it does not reach everybody"
    if filtered:
        alone = "none is shown"
    page.heading("FINDINGS", count(len(story.findings), "finding") if story.findings else alone)
    if story.losses:
        losses = story.losses if story.everyone else story.losses[:_MOST_LOSSES]
        observer = losses[0].group.list_observers()[0]
        losses_block(page, story, observer, losses, "as an observer: ")
        if len(story.losses) > len(losses):
            page.line(
                f"and at {count(len(story.losses) - len(losses), 'more address', 'more addresses')}", 2, "dim"
            )
    drawn = {routing.prefix for routing in story.routing if routing.answers}
    for finding in story.findings[:_MOST_FINDINGS]:
        _finding(page, finding, story if story.everyone else None, answers=finding.address not in drawn)
    if len(story.findings) > _MOST_FINDINGS:
        page.more(f"and {len(story.findings) - _MOST_FINDINGS:,} more", "--format", "json")


def _finding(page: Page, finding: Finding, everyone_of: Story | None, *, answers: bool) -> None:
    """Write a finding; everyone_of: names all of its observers. answers: who answered is not drawn above."""
    finding_head(page, finding)
    said = finding.facts if answers else f"{finding.statement} {finding.routing_statement}".rstrip()
    page.line(page.clean(said), 10)
    if everyone_of is not None and finding.evidence.everyone is not None:
        names = [everyone_of.name(node) for node in finding.evidence.everyone()]
        page.labelled("on", page.names(names, len(names)), 10)
    if finding.guess is not None:
        page.labelled("guess", page.clean(finding.guess.sentence), 10)
    if finding.confirmed is False:
        page.line("gone on the second look; not counted", 10, "dim")
    if finding.agreed is not None:
        page.labelled("agreed", f"{page.clean(finding.agreed)}; not counted", 10)
    if finding.silenced is not None:
        page.labelled("silenced", page.clean(finding.silenced) or "by a silence", 10)
