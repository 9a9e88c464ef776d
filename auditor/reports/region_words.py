"""Words for regions that are checked against nothing, the same in every form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from auditor.values.report import RegionCoverage
from auditor.values.text import count

_MOST_REGIONS = 6


def unchecked_region_words(regions: Sequence[RegionCoverage]) -> tuple[str, ...]:
    """Word one line for nodes with one witness of their region, and one for nodes with none; none where all have two.

    The names of regions are foreign text.
    """
    nodes = sum(item.nodes for item in regions)
    alone: Counter[str] = Counter()
    by_region = {item.region: sum(item.alone.values()) for item in regions if item.alone}
    for item in regions:
        alone.update(item.alone)
    lines = []
    if one := alone.total():
        sources = next(iter(alone)) if len(alone) == 1 else _counts(alone)
        where = f": {_counts(by_region)}" if one < nodes else ""
        lines.append(
            f"region: one witness ({sources}), not checked, for {one:,} of {count(nodes, 'node')}{where}"
        )
    if nowhere := sum(item.nodes for item in regions if not item.sources):
        lines.append(f"region: no witness, not checked, for {nowhere:,} of {count(nodes, 'node')}")
    return tuple(lines)


def _counts(numbers: Mapping[str, int]) -> str:
    """Return `fra 3, sin 2`: the larger first, those beyond a few summed up."""
    ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {number:,}" for name, number in ordered[:_MOST_REGIONS]]
    if rest := sum(number for _, number in ordered[_MOST_REGIONS:]):
        shown.append(f"{len(ordered) - _MOST_REGIONS:,} others {rest:,}")
    return ", ".join(shown)
