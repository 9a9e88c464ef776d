"""PURE: the split-brain picture of one address as numbers: regions on the left, who they send to on the right.

A template draws it. Heights and y are pixels. A band's x goes from 0, at the regions, to 100, at the destinations: the
page stretches that to the room that it has, while text keeps its size.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from auditor.reports.outline import NO_REGION, Claimant, OutlinedFinding, fullest_first
from auditor.reports.report_words import NameOf, share_words
from auditor.values.addresses import PublicKey
from auditor.values.findings import Pick
from auditor.values.models import NodeId
from auditor.values.text import count, for_terminal, listed

MOST_REGIONS = 12
"""Regions with a bar of their own; the smallest of more are one bar."""
MOST_DESTINATIONS = 8
"""Keys with a bar of their own, besides nobody."""

_LONGEST_NAME = 80
_LABEL = 36  # pixels that a label of two lines takes, so that no two overlap
_SHORTEST_FLOW, _LONGEST_FLOW = 128, 360  # pixels of all observers together
_MARGIN = 4
_THINNEST = 1.0
_EMPTY = 2.0  # height of a bar to which nobody sends
_LEFT_WIDE, _LEFT_NARROW = 18, 9  # columns of a name that the picture has room for
_RIGHT_WIDE, _RIGHT_NARROW = 26, 13
_SHORT_KEY = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """A region's observers, or those who send to one key."""

    name: str
    """Whole name, harmless for display."""
    wide: str
    """Name as far as a wide picture has room for it."""
    narrow: str
    """Name as far as a picture on a phone has room for it."""
    observers: int
    share: str
    mark: str = ""
    """Letter of the claimant; "" for regions, for nobody and for keys that are summed up."""
    tone: str = ""
    """Name of its colour: `1` to `8`, `nobody` or `others`; "" for regions."""
    y: float = 0.0
    height: float = 0.0

    @property
    def middle(self) -> float:
        """Height of its middle, where the label stands."""
        return round(self.y + self.height / 2, 1)


@dataclass(frozen=True, slots=True)
class Band:
    """Observers of one region who send to one key."""

    path: str
    """Path of SVG."""
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Split-brain picture of one address."""

    title: str
    description: str
    height: int
    regions: tuple[Bar, ...]
    destinations: tuple[Bar, ...]
    bands: tuple[Band, ...]
    numbers: tuple[tuple[int, ...], ...]
    """Observers by region and destination, for the table beneath."""
    observers: int
    summed_up: str
    """Says which bars stand for several; "" where none does."""


@dataclass(frozen=True, slots=True)
class _Destination:
    name: str
    mark: str
    tone: str
    regions: Mapping[str, int]

    @property
    def observers(self) -> int:
        return sum(self.regions.values())


def marks(claimants: Sequence[Claimant]) -> dict[PublicKey, str]:
    """Map each claimant's key to its letter, the same in the picture and beside the claimant's name."""
    keys = dict.fromkeys(item.public_key for item in claimants if item.public_key is not None)
    return {key: _letter(number) for number, key in enumerate(keys)}


def tones(claimants: Sequence[Claimant]) -> dict[PublicKey, str]:
    """Map each claimant's key to the name of its colour."""
    return {key: _tone(number) for number, key in enumerate(marks(claimants))}


def split_brain(item: OutlinedFinding, name_of: NameOf) -> Picture | None:
    """Lay out the picture of a contested address; None where no observer was seen to route it."""
    picks = item.finding.evidence.routing
    if not picks or not item.observers:
        return None
    everyone = _destinations(item.claimants, picks, name_of)
    destinations = _bounded(everyone)
    regions = _regions(destinations)
    names = list(regions)
    numbers = tuple(
        tuple(sum(goal.regions.get(name, 0) for name in regions[label]) for goal in destinations)
        for label in names
    )
    total = item.observers
    flow = min(_LONGEST_FLOW, max(_SHORTEST_FLOW, _LABEL * max(len(names), len(destinations)) * 0.8))
    thick = tuple(tuple(_thickness(number, total, flow) for number in row) for row in numbers)
    left = [
        _bar(label, sum(row), total, sum(heights), _LEFT_WIDE, _LEFT_NARROW)
        for label, row, heights in zip(names, numbers, thick, strict=True)
    ]
    right = [
        replace(
            _bar(
                goal.name,
                goal.observers,
                total,
                max(_EMPTY, sum(row[place] for row in thick)),
                _RIGHT_WIDE,
                _RIGHT_NARROW,
            ),
            mark=goal.mark,
            tone=goal.tone,
        )
        for place, goal in enumerate(destinations)
    ]
    height = max(_needed(left), _needed(right)) + 2 * _MARGIN
    left, right = _placed(left, height), _placed(right, height)
    subject = for_terminal(item.finding.subject, most=_LONGEST_NAME)
    seen = sum(1 for name in _all_regions(everyone) if name != NO_REGION)
    where = f" of {count(seen, 'region')}" if seen else ""
    split = sum(1 for goal in everyone if goal.observers and goal.tone != "nobody")
    return Picture(
        title=f"Who sends {subject} where: {count(total, 'observer')}{where}, {count(split, 'server')}",
        description=_description(destinations, total),
        height=int(height + 0.5),
        regions=tuple(left),
        destinations=tuple(right),
        bands=_bands(left, right, numbers, thick),
        numbers=numbers,
        observers=total,
        summed_up=_summed_up(everyone, destinations),
    )


# -- who is on the right


def _destinations(
    claimants: Sequence[Claimant], picks: Sequence[Pick], name_of: NameOf
) -> list[_Destination]:
    """List the claimants in their order, those nobody sends to included, then other keys, then nobody."""
    routed: dict[PublicKey, Counter[str]] = {}
    nobody: Counter[str] = Counter()
    nodes: dict[PublicKey, list[NodeId]] = {}
    unread: list[str] = []
    for claimant in claimants:
        if claimant.public_key is None:
            unread.append(_claimant_name(claimant.node, None, name_of))
            continue
        routed.setdefault(claimant.public_key, Counter())
        if claimant.node is not None:
            nodes.setdefault(claimant.public_key, []).append(claimant.node)
    for pick in picks:
        if pick.public_key is None:
            nobody.update(pick.regions)
            continue
        routed.setdefault(pick.public_key, Counter()).update(pick.regions)
        if pick.node is not None:
            nodes.setdefault(pick.public_key, []).append(pick.node)
    made = [
        _Destination(_names(nodes.get(key, ()), key, name_of), _letter(number), _tone(number), regions)
        for number, (key, regions) in enumerate(routed.items())
    ]
    made += [_Destination(f"{name}, key unread", "", "others", {}) for name in unread]
    if nobody:
        made.append(_Destination("nobody", "", "nobody", nobody))
    return made


def _names(nodes: Sequence[NodeId], key: PublicKey, name_of: NameOf) -> str:
    names = list(dict.fromkeys(_claimant_name(node, key, name_of) for node in nodes))
    return listed(names, most=3) if names else _claimant_name(None, key, name_of)


def _claimant_name(node: NodeId | None, key: PublicKey | None, name_of: NameOf) -> str:
    if node is not None:
        return for_terminal(name_of(node), most=_LONGEST_NAME) or "(no name)"
    return f"unknown node {key[:_SHORT_KEY]}…" if key is not None else "unknown node"


def _bounded(everyone: Sequence[_Destination]) -> list[_Destination]:
    """Keep the keys that most send to, in their order, and sum up the others; nobody always stands for itself."""
    somebody = [item for item in everyone if item.tone != "nobody"]
    nobody = [item for item in everyone if item.tone == "nobody"]
    if len(somebody) <= MOST_DESTINATIONS:
        return [*somebody, *nobody]
    fullest = sorted(range(len(somebody)), key=lambda place: (-somebody[place].observers, place))
    kept = sorted(fullest[: MOST_DESTINATIONS - 1])
    others = [somebody[place] for place in range(len(somebody)) if place not in set(kept)]
    regions: Counter[str] = Counter()
    for item in others:
        regions.update(item.regions)
    summed = _Destination(count(len(others), "other key"), "", "others", regions)
    return [*(somebody[place] for place in kept), summed, *nobody]


# -- who is on the left


def _all_regions(destinations: Sequence[_Destination]) -> Counter[str]:
    regions: Counter[str] = Counter()
    for goal in destinations:
        regions.update(goal.regions)
    return regions


def _regions(destinations: Sequence[_Destination]) -> dict[str, tuple[str, ...]]:
    """Map each bar's name to the regions that it stands for, the fullest first."""
    ordered = [name for name, _ in fullest_first(_all_regions(destinations))]
    known = [name for name in ordered if name != NO_REGION]
    most = MOST_REGIONS - (NO_REGION in ordered)
    kept, rest = (known, []) if len(known) <= most else (known[: most - 1], known[most - 1 :])
    labels: dict[str, tuple[str, ...]] = {}
    for name in kept:
        label = for_terminal(name, most=_LONGEST_NAME)
        labels[label] = (*labels.get(label, ()), name)
    if rest:
        others = f"{len(rest):,} others"
        labels[others] = (*labels.get(others, ()), *rest)
    if NO_REGION in ordered:
        labels["unknown"] = (*labels.get("unknown", ()), NO_REGION)
    return labels


# -- numbers


def _thickness(number: int, total: int, flow: float) -> float:
    return max(_THINNEST, flow * number / total) if number else 0.0


def _bar(name: str, observers: int, total: int, height: float, wide: int, narrow: int) -> Bar:
    return Bar(
        name, shortened(name, wide), shortened(name, narrow), observers, share_words(observers, total),
        height=round(height, 1),
    )  # fmt: skip


def _needed(bars: Sequence[Bar]) -> float:
    return sum(max(_LABEL, bar.height + _MARGIN) for bar in bars)


def _placed(bars: Sequence[Bar], height: float) -> list[Bar]:
    """Give each bar a slot that holds its label too, and spread the slots over the height."""
    spare = (height - 2 * _MARGIN - _needed(bars)) / len(bars)
    placed, top = [], float(_MARGIN)
    for bar in bars:
        slot = max(_LABEL, bar.height + _MARGIN) + spare
        placed.append(replace(bar, y=round(top + (slot - bar.height) / 2, 1)))
        top += slot
    return placed


def _bands(
    left: Sequence[Bar],
    right: Sequence[Bar],
    numbers: Sequence[Sequence[int]],
    thick: Sequence[Sequence[float]],
) -> tuple[Band, ...]:
    """Stack the bands of each bar in the order of the bars on the other side, so that few cross."""
    bands = []
    ends = [bar.y for bar in right]
    for row, region in enumerate(left):
        start = region.y
        for column, goal in enumerate(right):
            if not (height := thick[row][column]):
                continue
            words = f"{region.name} → {goal.name}: {count(numbers[row][column], 'observer')}"
            bands.append(Band(_path(start, ends[column], height), goal.tone, words))
            start += height
            ends[column] += height
    return tuple(bands)


def _path(start: float, end: float, height: float) -> str:
    a, b, c, d = (f"{y:.1f}" for y in (start, end, end + height, start + height))
    return f"M0 {a}C50 {a} 50 {b} 100 {b}V{c}C50 {c} 50 {d} 0 {d}Z"


def _description(destinations: Sequence[_Destination], total: int) -> str:
    """Say in words what the picture shows, for those who do not see it."""
    sentences = []
    for goal in destinations:
        verb = "sends" if goal.observers == 1 else "send"
        who = f"{count(goal.observers, 'observer')} ({share_words(goal.observers, total)}) {verb}"
        from_ = listed(
            [
                f"{for_terminal(name, most=_LONGEST_NAME) if name else 'an unknown region'} {number:,}"
                for name, number in fullest_first(goal.regions)
                if number
            ],
            most=MOST_REGIONS,
        )
        sentences.append(f"{who} to {goal.name}" + (f": {from_}." if from_ else "."))
    return " ".join(sentences)


def _summed_up(everyone: Sequence[_Destination], shown: Sequence[_Destination]) -> str:
    words = []
    regions = sum(1 for name in _all_regions(everyone) if name != NO_REGION)
    if regions > MOST_REGIONS:
        words.append(f"the smallest of {regions:,} regions are one bar")
    if len(everyone) > len(shown):
        keys = sum(1 for goal in everyone if goal.tone != "nobody")
        words.append(f"of {keys:,} keys, those that fewest observers send to are one bar")
    return "; ".join(words)


def shortened(name: str, columns: int) -> str:
    """Cut a name in its middle to so many columns: names of a fleet differ at their ends."""
    if _columns(name) <= columns:
        return name
    tail = _while_it_fits(name[::-1], columns // 2)[::-1]
    return f"{_while_it_fits(name, columns - 1 - _columns(tail))}…{tail}"


def _while_it_fits(text: str, columns: int) -> str:
    end = 0
    while end < len(text) and _columns(text[: end + 1]) <= columns:
        end += 1
    return text[:end]


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in text)


def _letter(number: int) -> str:
    """Return A to Z, then A2, B2 …"""
    again, place = divmod(number, 26)
    return chr(ord("A") + place) + (str(again + 1) if again else "")


def _tone(number: int) -> str:
    return str(number % 8 + 1)
