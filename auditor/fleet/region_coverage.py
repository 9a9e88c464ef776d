"""Coverage of regions by their sources: a region that one source alone names can disagree with nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from auditor.fleet.region_sources import RegionWitness
from auditor.values.report import RegionCoverage


def region_coverage(nodes: Iterable[Sequence[RegionWitness]]) -> tuple[RegionCoverage, ...]:
    """Count each region's nodes, and their sources; sorted by region, "" (no source) first.

    nodes: for each node what its sources say, the best one first, as `Fleet.region_witnesses` lists them.
    """
    counted: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    sources: dict[str, Counter[str]] = defaultdict(Counter)
    alone: dict[str, Counter[str]] = defaultdict(Counter)
    for words in nodes:
        region = words[0].region if words else ""
        named = {word.source for word in words}
        counted[region] += 1
        checked[region] += len(named) > 1
        sources[region].update(named)
        alone[region].update(named if len(named) == 1 else ())
    return tuple(
        RegionCoverage(
            region,
            number,
            checked[region],
            dict(sorted(sources[region].items())),
            dict(sorted(alone[region].items())),
        )
        for region, number in sorted(counted.items())
    )
