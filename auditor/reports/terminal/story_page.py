"""The story of one address, node or key for a person at a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.text import Text

from auditor.explain.story import Story
from auditor.reports.interface import Layout
from auditor.reports.outline import NO_REGION, claimants, gap_groups
from auditor.reports.terminal.blocks import (
    claim_colours,
    claims_block,
    coverage_words,
    finding_head,
    gaps_block,
    picked_most,
    routing_block,
)
from auditor.reports.terminal.page import Page
from auditor.values.addresses import format_prefix
from auditor.values.models import Finding, Observation, Registration
from auditor.values.text import count

_MOST_FINDINGS = 20
_MOST_ADDRESSES = 12
_MOST_CLAIMANTS = 20
_MOST_ITEMS = 20
"""Registrations, devices, notes or steps: a key that was cloned to a whole fleet has thousands."""
_NAMED_OBSERVERS = 12

T = TypeVar("T")


def render_explain(story: Story, layout: Layout) -> str:
    """Render the story as a page of text. Pure; no line is wider than the layout's columns."""
    page = Page(layout, _keys(story))
    page.line(page.clean(story.headline), style="bold")
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
    if story.notes:
        page.heading("ALSO")
        for note in _first(page, story.notes):
            page.line(page.clean(note), 2)
    _findings(page, story)
    if story.gaps:
        page.heading("NOT SEEN", count(len(story.gaps), "gap"))
        groups = gap_groups(story.gaps, lambda node: story.regions.get(node, NO_REGION))
        gaps_block(page, groups, story.name)
    page.heading("NEXT")
    for step in _first(page, story.next_steps):
        page.line(page.clean(step), 2)
    page.blank()
    page.line(coverage_words(story.coverage, "registered node"), style="dim")
    return page.text()


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
        page.line(Text("unreadable", "red").append(f"  {page.clean(invalid.where, 200)}", "not red"), 2)
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
    shown_routes = [routing for routing in story.routing if routing.picks or routing.notes]
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
            if pick.sample and (total_keys > 1 or pick.public_key is None):
                target = (
                    page.name(story.name(pick.node)) if pick.node is not None else page.key(pick.public_key)
                )
                names = [story.name(node) for node in pick.sample]
                listed = page.names(names, _NAMED_OBSERVERS, pick.observers)
                page.line(f"to {target or 'nobody'} from: {listed}", 4, "dim")
        for note in routing.notes:
            page.line(page.clean(note), 4, "dim")


def _findings(page: Page, story: Story) -> None:
    page.heading("FINDINGS", count(len(story.findings), "finding") if story.findings else "none touches it")
    for finding in story.findings[:_MOST_FINDINGS]:
        _finding(page, finding)
    if len(story.findings) > _MOST_FINDINGS:
        page.more(f"and {len(story.findings) - _MOST_FINDINGS:,} more", "--format", "json")


def _finding(page: Page, finding: Finding) -> None:
    finding_head(page, finding)
    page.line(page.clean(finding.facts), 10)
    if finding.guess is not None:
        page.labelled("guess", page.clean(finding.guess.sentence), 10)
    if finding.confirmed is False:
        page.line("gone on the second look; not counted", 10, "dim")
    if finding.agreed is not None:
        page.labelled("agreed", f"{page.clean(finding.agreed)}; not counted", 10)
    if finding.silenced is not None:
        page.labelled("silenced", page.clean(finding.silenced) or "by a silence", 10)
