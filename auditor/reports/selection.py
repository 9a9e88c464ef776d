"""PURE: selection of what a page shows, by node, region, check and severity. It decides no verdict and no exit code."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from auditor.values.findings import Finding, Severity
from auditor.values.models import NodeId
from auditor.values.past_sweeps import PastFinding

_MOST_NEAR = 3


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection by up to four kinds of values. Of each kind that is given one must fit; none given: all fit."""

    nodes: tuple[str, ...] = ()
    """Names, with or without `@datacenter`, or patterns as a shell takes them: `edge-*`."""
    regions: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether it may leave something out."""
        return bool(self.nodes or self.regions or self.checks or self.severities)

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the command line that make it, word by word."""
        kinds = {
            "--node": self.nodes,
            "--region": self.regions,
            "--check": self.checks,
            "--severity": tuple(severity.value for severity in self.severities),
        }
        return tuple(word for option, values in kinds.items() for value in values for word in (option, value))

    def takes_node(self, node: NodeId, region: str) -> bool:
        """Tell whether a node fits. region: "" where it is not known. Checks and severities are not asked."""
        return self._fits_nodes((node.name, str(node))) and self._fits_regions((region,))

    def takes_finding(self, finding: Finding, node_regions: Mapping[NodeId, str]) -> bool:
        """Tell whether a finding fits, with its nodes and their regions."""
        regions = {*finding.regions, *(node_regions.get(node, "") for node in finding.nodes)}
        names = {name for node in finding.nodes for name in (node.name, str(node))}
        return (
            self._fits_kind(str(finding.check), finding.severity)
            and self._fits_nodes(names)
            and self._fits_regions(regions)
        )

    def takes_past(self, finding: PastFinding) -> bool:
        """Tell whether a finding of the history fits."""
        return (
            self._fits_kind(finding.check, finding.severity)
            and self._fits_nodes({*finding.nodes, *(name.partition("@")[0] for name in finding.nodes)})
            and self._fits_regions(finding.regions)
        )

    def _fits_kind(self, check: str, severity: Severity) -> bool:
        return (not self.checks or check in self.checks) and (
            not self.severities or severity in self.severities
        )

    def _fits_nodes(self, names: Iterable[str]) -> bool:
        return not self.nodes or any(fnmatchcase(name, glob) for name in names for glob in self.nodes)

    def _fits_regions(self, regions: Iterable[str]) -> bool:
        return not self.regions or not set(self.regions).isdisjoint(regions)

    def strangers(self, nodes: Collection[NodeId], regions: Iterable[str]) -> Iterator[Stranger]:
        """Yield what fits none of these nodes and regions: a misspelt name, perhaps."""
        plain, full = {node.name for node in nodes}, {str(node) for node in nodes}
        for glob in self.nodes:
            if not any(fnmatchcase(name, glob) for name in plain | full):
                yield Stranger("--node", glob, near(glob, full if "@" in glob else plain))
        known = set(regions)
        for region in self.regions:
            if region not in known:
                yield Stranger("--region", region, near(region, known))


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Stranger:
    """Value of a selection that nobody has."""

    option: str
    value: str
    near: tuple[str, ...]
    """Values that somebody has and that look alike, the likest first."""


def near(value: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return known values that look like this one, the likest first."""
    return tuple(difflib.get_close_matches(value, sorted(set(known)), n=_MOST_NEAR))
