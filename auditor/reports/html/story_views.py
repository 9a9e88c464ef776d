"""PURE: one address or node as an HTML page shows it: what is said of it, who sends it where, and who loses whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from auditor.explain.affected import Affected
from auditor.explain.reach import AddressReach, Group, Loss, RoutedKey
from auditor.explain.story import Story
from auditor.reports.html.finding_views import FindingViews
from auditor.reports.html.templating import by_region_words, listed_names, name_words, text_words
from auditor.reports.outline import NO_REGION, Outline, OutlinedFinding, gap_groups
from auditor.reports.report_words import OBSTACLES
from auditor.values.addresses import Prefix, format_prefix
from auditor.values.guide import Guide
from auditor.values.models import NodeId, Observation, Registration
from auditor.values.text import count, listed

MOST_NAMES = 60
"""Observers of one kind and region that are named; the others are counted."""
_MOST_ITEMS = 20
_MOST_GROUPS = 12
_MOST_LOSSES = 50
_LONGEST = 200


class NamesAndRegions(Protocol):
    """Value that knows names and regions of its nodes."""

    def name(self, node: NodeId) -> str:
        """Name a node."""
        ...

    def region(self, node: NodeId) -> str:
        """Return a node's region; "" where it is not known."""
        ...


@dataclass(frozen=True, slots=True)
class SourceView:
    """What one source says of a node."""

    name: str
    link: str
    place: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GroupView:
    """Observers that send an address to one place."""

    words: str
    loses: str
    """Whom they lose; "": nobody."""
    regions: tuple[tuple[str, str], ...]
    """Region with its number, and names."""


@dataclass(frozen=True, slots=True)
class ReachView:
    """One address: who claims it, and whom its observers reach."""

    address: str
    link: str
    claimed_by: str
    groups: tuple[GroupView, ...]
    more_groups: int


@dataclass(frozen=True, slots=True)
class StoryView:
    """Story and reach of one target, in words."""

    headline: str
    registered: tuple[SourceView, ...]
    unreadable: tuple[tuple[str, str], ...]
    observed: tuple[SourceView, ...]
    losses: tuple[tuple[str, str], ...]
    """Where the node, as an observer, sends an address, and whom it so loses."""
    more_losses: int
    notes: tuple[str, ...]
    steps: tuple[str, ...]
    reach: tuple[ReachView, ...]
    unseen: str
    """Nodes whose routes are not known; "": none."""
    commands: tuple[tuple[str, str], ...]
    left_out: Mapping[str, int]
    """Numbers of registrations, devices and addresses that are not shown."""


def story_view(
    story: Story, found: Affected, views: FindingViews, address_link: Callable[[Prefix], str]
) -> StoryView:
    """Word a story and the reach of its target."""
    link = views.links.of_node
    return StoryView(
        headline=text_words(story.headline),
        registered=tuple(_registered(story, item, link) for item in story.registrations[:_MOST_ITEMS]),
        unreadable=tuple(
            (
                text_words(item.where),
                f"{text_words(item.reason)}: {text_words(item.excerpt[:_LONGEST]) or '(empty)'}",
            )
            for item in story.invalid[:_MOST_ITEMS]
        ),
        observed=tuple(_observed(story, item, link) for item in story.observations[:_MOST_ITEMS]),
        losses=tuple(_loss(story, each) for each in story.losses[:_MOST_LOSSES]),
        more_losses=max(0, len(story.losses) - _MOST_LOSSES),
        notes=tuple(map(text_words, story.notes[:_MOST_ITEMS])),
        steps=tuple(map(text_words, story.next_steps[:_MOST_ITEMS])),
        reach=tuple(_reach(found, place, address_link) for place in found.places[:_MOST_ITEMS]),
        unseen=_by_region_named(found, found.unseen),
        commands=_commands(story, views.guide),
        left_out={
            noun: number - _MOST_ITEMS
            for noun, number in (
                ("registration", len(story.registrations)),
                ("device", len(story.observations)),
                ("address", len(found.places)),
            )
            if number > _MOST_ITEMS
        },
    )


def story_outline(story: Story, whole: Outline) -> Outline:
    """Reduce an outline to what the story is about: its findings, or what they follow from, and its gaps."""
    marks = {finding.fingerprint for finding in story.findings}

    def touches(item: OutlinedFinding) -> bool:
        followers = (each.fingerprint for group in item.following for each in group.findings)
        return item.finding.fingerprint in marks or not marks.isdisjoint(followers)

    return replace(
        whole,
        contested=tuple(filter(touches, whole.contested)),
        rest=tuple(filter(touches, whole.rest)),
        agreed=(),
        agreed_sharing=(),
        gone=tuple(finding for finding in whole.gone if finding.fingerprint in marks),
        gaps=gap_groups(
            (gap for gap in story.gaps if not gap.of_witness), lambda node: story.regions.get(node, NO_REGION)
        ),
        unheard=gap_groups(
            (gap for gap in story.gaps if gap.of_witness), lambda node: story.regions.get(node, NO_REGION)
        ),
        in_flight=(),
        next_steps=(),
    )


def _commands(story: Story, guide: Guide) -> tuple[tuple[str, str], ...]:
    """Spell what leads on; what no shell can spell is left out."""
    commands = [
        ("The whole story, of a new look", guide.command("explain", target=story.target)),
        ("Every observer: whom it reaches and whom it loses", guide.command("affected", target=story.target)),
        ("What it was registered with before", guide.command("history node", target=story.target)),
    ]
    commands += [
        (
            f"Who keeps {format_prefix(prefix)}, who moves, and how",
            guide.command("plan", "--address", format_prefix(prefix)),
        )
        for prefix in story.contested[:_MOST_ITEMS]
    ]
    return tuple(
        (purpose, words) for purpose, command in commands if (words := guide.spelled(command)) is not None
    )


# -- what is said of it


def _registered(story: Story, item: Registration, link: Callable[[NodeId], str]) -> SourceView:
    place = [text_words(item.where)]
    if item.create_index is not None:
        place.append(f"created at index {item.create_index}")
    if item.modify_index is not None:
        place.append(f"changed at index {item.modify_index}")
    fields = [
        ("Address", _addresses(item.addresses) or "none that can be read"),
        ("Key", name_words(item.public_key or "none that can be read")),
    ]
    fields += [
        (label, text_words(value[:_LONGEST]))
        for label, value in (
            ("State", f"{item.state} (retired)" if item.retired else item.state),
            ("Region", item.region),
            ("Endpoint", item.endpoint),
            ("SSH host", item.ssh_host),
        )
        if value
    ]
    return SourceView(
        name_words(story.name(item.node)), link(item.node), " · ".join(filter(None, place)), tuple(fields)
    )


def _observed(story: Story, item: Observation, link: Callable[[NodeId], str]) -> SourceView:
    device = item.device
    fields = [
        ("Address", _addresses(device.addresses) or "none"),
        ("Key", name_words(device.public_key)),
        ("Link", {True: "up", False: "down", None: ""}[device.link_up]),
        ("Region", text_words(item.region or "")),
        ("Host key", text_words(item.host_key or "")),
    ]
    named = tuple((label, value) for label, value in fields if value)
    return SourceView(name_words(story.name(item.node)), link(item.node), name_words(device.name), named)


def _addresses(prefixes: Sequence[Prefix]) -> str:
    return listed_names([format_prefix(prefix) for prefix in prefixes])


# -- whom observers reach


def _reach(found: Affected, place: AddressReach, address_link: Callable[[Prefix], str]) -> ReachView:
    return ReachView(
        format_prefix(place.address),
        address_link(place.address),
        _with_regions(found, place.claimants) or "nobody that was seen",
        tuple(_group(found, group) for group in place.groups[:_MOST_GROUPS]),
        max(0, len(place.groups) - _MOST_GROUPS),
    )


def _group(found: Affected, group: Group) -> GroupView:
    one = group.number == 1
    words = count(group.number, "observer")
    if group.itself:
        words += f" {'holds' if one else 'hold'} it {'itself' if one else 'themselves'}"
        loses = "the other" if len(group.loses) == 2 else "the others" if group.loses else ""
    else:
        words += f" {_sending(found, group)}"
        loses = _with_regions(found, group.loses)
    regions: dict[str, list[NodeId]] = defaultdict(list)
    for node in group.list_observers():
        regions[found.region(node)].append(node)
    ordered = sorted(regions.items(), key=lambda item: (not item[0], -len(item[1]), item[0]))
    return GroupView(
        words,
        loses,
        tuple(
            (
                f"{name_words(region) if region else 'unknown'} {len(nodes):,}",
                listed_names([found.name(node) for node in nodes], MOST_NAMES),
            )
            for region, nodes in ordered[:_MOST_ITEMS]
        ),
    )


def _sending(named: NamesAndRegions, group: Group) -> str:
    one = group.number == 1
    if not group.destinations:
        return f"{'has' if one else 'have'} it on no peer"
    arrives = any(each.arrives for each in group.destinations)
    verb = ("reaches" if one else "reach") if arrives else ("sends it to" if one else "send it to")
    return f"{verb} {_destinations(named, group)}"


def _destinations(named: NamesAndRegions, group: Group) -> str:
    if not group.destinations:
        return "nobody"
    words = listed([_destination(named, each) for each in group.destinations])
    return f"{words} by {name_words(group.by)}" if group.by is not None else words


def _destination(named: NamesAndRegions, key: RoutedKey) -> str:
    if not key.nodes:
        return f"{name_words(key.public_key)}, a key that no node is known to have"
    names = listed([_with_region(named, node) for node in key.nodes], last=" or ")
    return f"{names}, {OBSTACLES[key.obstacle]}" if key.obstacle is not None else names


def _loss(story: Story, loss: Loss) -> tuple[str, str]:
    observer = loss.group.list_observers()[0]
    target = "itself" if loss.group.itself else _destinations(story, loss.group)
    return f"{format_prefix(loss.address)} → {target}", _with_regions(story, loss.group.lost_by(observer))


def _with_regions(named: NamesAndRegions, nodes: Sequence[NodeId]) -> str:
    return listed([_with_region(named, node) for node in nodes], most=_MOST_ITEMS)


def _with_region(named: NamesAndRegions, node: NodeId) -> str:
    region = named.region(node)
    return (
        f"{name_words(named.name(node))} ({name_words(region)})" if region else name_words(named.name(node))
    )


def _by_region_named(found: Affected, nodes: Sequence[NodeId]) -> str:
    if not nodes:
        return ""
    names = listed_names([found.name(node) for node in nodes])
    counts: dict[str, int] = defaultdict(int)
    for node in nodes:
        counts[found.region(node)] += 1
    return f"{names} ({by_region_words(counts)})" if len(nodes) > 1 else names
