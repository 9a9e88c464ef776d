"""Who is affected, for a person at a terminal: observers by whom they reach, then by region, all by name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.text import Text

from auditor.explain.affected import Affected, OwnLosses
from auditor.explain.reach import AddressReach, Group
from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page, column
from auditor.reports.terminal.reach_words import losses_block, reached_words, with_region, with_regions
from auditor.values.addresses import format_prefix
from auditor.values.guide import Guide
from auditor.values.models import NodeId
from auditor.values.text import count, listed

_WIDEST_REGION = 24
_MOST_CLAIMANTS = 4
"""Claimants that the first line names."""
_EVERYBODY = "everybody"


def render_affected(found: Affected, layout: Layout) -> str:
    """Render the observers of a target as a page of text. Pure; no line is wider than the layout's columns."""
    page = Page(layout, _keys(found))
    page.line(page.clean(headline(found)), style="bold")
    if found.findings:
        subjects = [page.name(finding.subject) for finding in found.findings]
        page.labelled(found.findings[0].severity, ", ".join(subjects), 2)
    for places in _alike(found):
        _places(page, found, places)
    for own in found.own:
        _own(page, found, own)
    if found.unseen:
        page.heading("NOT SEEN", f"{count(len(found.unseen), 'node')}: whom they reach is not known")
        _by_region(page, found, found.unseen, 2)
    _next(page, found, layout.guide)
    return page.text()


def _next(page: Page, found: Affected, guide: Guide) -> None:
    """Lead on: to the story, and to the plan for an address that several nodes claim."""
    commands = [] if found.kind in ("region", "check") else [guide.command("explain", target=found.target)]
    contested = [place.address for place in found.places if len(place.claimants) > 1]
    if len(contested) == 1:
        commands.append(guide.command("plan", "--address", format_prefix(contested[0])))
    elif contested:
        commands.append(guide.command("plan"))
    spelled = [words for command in commands if (words := guide.spelled(command)) is not None]
    if spelled:
        page.heading("NEXT")
    for words in spelled:
        page.line(page.clean(words), 2, "bold")


def headline(found: Affected) -> str:
    """Sum up in one line: how many observers lose somebody, and whom."""
    losing = len(found.losing)
    subject = {"region": f"region {found.target}", "fingerprint": f"finding {found.target}"}.get(
        found.kind, found.target
    )
    observers = count(found.observers, "observer")
    if not losing:
        unknown = "" if found.seen_enough else ", as far as was seen"
        return f"{subject}: none of {observers} loses anybody{unknown}"
    if found.kind == "node":
        (own,) = found.own
        lost_by = _losing(found.places, own.node)
        itself = (
            f"loses somebody at {count(len(own.losses), 'address', 'addresses')}"
            if own.losses
            else "loses nobody"
        )
        return f"{subject}: {lost_by:,} of {observers} {'loses' if lost_by == 1 else 'lose'} it; itself it {itself}"
    whom = ""
    if len(found.places) == 1 and len(found.places[0].claimants) <= _MOST_CLAIMANTS:
        each = [
            f"{number:,} {'loses' if number == 1 else 'lose'} {found.name(node)}"
            for node in found.places[0].claimants
            if (number := _losing(found.places, node))
        ]
        whom = f": {listed(each)}" if each else ""
    return f"{subject}: {losing:,} of {observers} {'loses' if losing == 1 else 'lose'} somebody{whom}"


def _losing(places: Sequence[AddressReach], lost: NodeId) -> int:
    """Count the observers that lose one node."""
    return len(
        {
            observer
            for place in places
            for group in place.losing
            if lost in group.loses
            for observer in group.list_observers()
            if observer != lost
        }
    )


def _keys(found: Affected) -> set[str]:
    groups = [group for place in found.places for group in place.groups]
    groups += [loss.group for own in found.own for loss in own.losses]
    return {each.public_key for group in groups for each in group.destinations}


def _alike(found: Affected) -> list[list[AddressReach]]:
    """Put addresses together that the same observers have on no peer: one finding of a whole list of peers, say."""
    together: dict[object, list[AddressReach]] = defaultdict(list)
    for place in found.places:
        lost_alone = len(place.claimants) == 1 and all(
            group.loses and not group.itself and not group.destinations for group in place.groups
        )
        if lost_alone and _is_lost_by_all(found, place):
            together[_EVERYBODY].append(place)
        elif lost_alone:
            together[tuple(group.list_observers() for group in place.groups)].append(place)
        else:
            together[place.address].append(place)
    return list(together.values())


def _is_lost_by_all(found: Affected, place: AddressReach) -> bool:
    """Tell whether nobody reaches the one claimant but itself."""
    number = sum(group.number for group in place.groups)
    return number == found.observers or (
        number == found.observers - 1
        and not any(set(place.claimants) & set(group.list_observers()) for group in place.groups)
        and not set(place.claimants) & set(found.unseen)
    )


def _places(page: Page, found: Affected, places: Sequence[AddressReach]) -> None:
    place = places[0]
    if len(places) > 1:
        page.heading(count(len(places), "address", "addresses"), "that the same observers have on no peer")
        held = [
            f"{page.name(format_prefix(each.address))} {with_regions(page, found, each.claimants)}"
            for each in places
        ]
        page.line(listed(held, most=len(held), last=", "), 2)
        if _is_lost_by_all(found, place):
            # Their lists differ by each claimant itself: one of them stands for all.
            everybody = {node for each in places for group in each.groups for node in group.list_observers()}
            page.blank()
            page.line("No other node has them on a peer. Observers:", 2)
            _by_region(page, found, sorted(everybody), 4)
            return
    else:
        claimed = with_regions(page, found, place.claimants)
        page.heading(
            page.name(format_prefix(place.address)), f"claimed by {claimed or 'nobody that was seen'}"
        )
    for group in place.groups:
        page.blank()
        page.line(_group_words(page, found, group, len(places)), 2)
        _by_region(page, found, group.list_observers(), 4)
    if not place.groups:
        page.line("nobody routes it", 2)


def _group_words(page: Page, found: Affected, group: Group, addresses: int) -> Text:
    one = group.number == 1
    text = Text(count(group.number, "observer"), "bold")
    if group.itself:
        text.append(f" {'holds' if one else 'hold'} it {'itself' if one else 'themselves'}", "not bold")
        lost = "the other" if len(group.loses) == 2 else "the others"
    else:
        text.append(f" {_sending(page, found, group)}", "not bold")
        lost = with_regions(page, found, group.loses) if addresses == 1 else "each of them"
    if group.loses:
        text.append(f"{', and ' if group.itself else ', '}{'loses' if one else 'lose'} ", "not bold")
        text.append(lost, "red")
    return text


def _sending(page: Page, found: Affected, group: Group) -> str:
    """Word what observers of a group do, with the verb."""
    one = group.number == 1
    if not group.destinations:
        return f"{'has' if one else 'have'} it on no peer"
    arrives = any(each.arrives for each in group.destinations)
    verb = ("reaches" if one else "reach") if arrives else ("sends it to" if one else "send it to")
    return f"{verb} {reached_words(page, found, group)}"


def _by_region(page: Page, found: Affected, nodes: Sequence[NodeId], indent: int) -> None:
    """Write a row for each region, the largest first, with the names of all its nodes."""
    regions: dict[str, list[NodeId]] = defaultdict(list)
    for node in nodes:
        regions[found.region(node)].append(node)
    ordered = sorted(regions.items(), key=lambda item: (not item[0], -len(item[1]), item[0]))
    labels = [f"{page.name(region) if region else 'unknown'} {len(names):,}" for region, names in ordered]
    width = column(labels, _WIDEST_REGION)
    for label, (_, names) in zip(labels, ordered, strict=True):
        shown = [page.name(found.name(node)) for node in names]
        page.row([(Text(label, "dim"), width), (Text(", ".join(shown)), 0)], indent)


def _own(page: Page, found: Affected, own: OwnLosses) -> None:
    """Write what one node loses as an observer."""
    page.heading("AS AN OBSERVER", with_region(page, found, own.node))
    losses_block(page, found, own.node, own.losses)
    if not own.losses:
        page.line("it loses nobody", 2)
