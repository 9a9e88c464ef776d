"""Report of a sweep: verdict, coverage, findings and gaps, for every format alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from auditor.values.addresses import PublicKey
from auditor.values.drains import Drained
from auditor.values.findings import Finding
from auditor.values.models import Gap, NodeId, OtherKeys


class Verdict(StrEnum):
    """Verdict of a sweep. Not seeing is not clean."""

    CLEAN = "clean"
    FINDINGS = "findings"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class RegionCoverage:
    """Nodes of one region, and the sources that say so: what one source alone says is checked against nothing."""

    region: str
    """"" for nodes of which no source names a region."""
    nodes: int
    checked: int
    """Of these, the ones whose region two or more sources name."""
    sources: Mapping[str, int]
    """Nodes by source: registration, name, address plan, node itself."""
    alone: Mapping[str, int]
    """Nodes that have one source alone, by that source."""

    @property
    def unchecked(self) -> int:
        """Number of nodes whose region at most one source names."""
        return self.nodes - self.checked


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of the fleet by a sweep."""

    registered: int
    """Nodes that the registry lists."""
    observed: int
    """Of these, the ones whose own device answered."""
    distinct_tables: int = 0
    undigested: int = 0
    """Nodes that sent their table at full cost because they could not digest it."""
    unreadable: int = 0
    """Of the registered, those that could not be asked because nothing in their registration leads to them."""
    regions: tuple[RegionCoverage, ...] = ()
    """Readable registrations by region, with the sources of their regions."""

    @property
    def share(self) -> float:
        """Share of nodes seen, 0 to 1; 0 where nothing is registered: an empty registry is not a covered one."""
        return self.observed / self.registered if self.registered else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Report of a sweep, for every format alike."""

    verdict: Verdict
    started_at: datetime
    finished_at: datetime
    coverage: Coverage
    findings: tuple[Finding, ...]
    """Worst first, in a fixed order. Those that were gone on a second look are in it, `confirmed` False."""
    gaps: tuple[Gap, ...]
    in_flight: tuple[NodeId, ...] = ()
    """Nodes that had not held still when the sweep ended: their registrations, or what shows a finding of theirs."""
    cut_short: str | None = None
    node_regions: Mapping[NodeId, str] = field(default_factory=dict)
    """Regions of the nodes that findings and gaps name, for display."""
    node_keys: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Registered keys of the nodes that findings name, for display."""
    ambiguous_names: frozenset[str] = frozenset()
    """Names that are registered in more than one datacenter."""
    registered: frozenset[NodeId] = frozenset()
    """Every node that the registry lists, readable or not, in flight or not."""
    retired: frozenset[NodeId] = frozenset()
    """Nodes that the registry lists as no longer in the mesh; none of them is in `registered`."""
    observed: frozenset[NodeId] = frozenset()
    """Nodes whose own device answered."""
    seen_enough: bool = True
    """True: the sweep saw enough to be clean: the registry whole, enough of its nodes, nothing withheld."""
    others: OtherKeys = field(default_factory=OtherKeys)
    """Keys under the registry's prefix that are no registrations."""
    covered: bool = True
    """True: enough nodes were seen, however much of the registry was read."""
    withheld: frozenset[str] = frozenset()
    """Fingerprints of findings that are withheld, because unseen nodes or registrations may explain them."""
    unsettled: tuple[Finding, ...] = ()
    """Findings that are withheld because what shows them had not been seen to hold still: a gap names them."""
    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Live keys of devices that differ from the registered ones, as seen now."""
    drained: Mapping[NodeId, Drained] = field(default_factory=dict)
    """Nodes that are out of production, by the state's memory, in order of their names. Empty without a state."""
    mesh: str = ""
    """Name of the mesh; "" where it has none."""
    version: str = ""
    """Version of wgaudit that made the report; "" where nobody said it."""

    def name(self, node: NodeId) -> str:
        """Name the node; with its datacenter only where the name alone is ambiguous."""
        return str(node) if node.name in self.ambiguous_names else node.name

    @property
    def not_seen(self) -> tuple[Gap, ...]:
        """Gaps of registry, nodes and sweep. What was not heard of witnesses hides none of these."""
        return tuple(gap for gap in self.gaps if not gap.of_witness)

    @property
    def not_heard(self) -> tuple[Gap, ...]:
        """Gaps of witnesses, such as questions without an answer, which say nothing of who is there."""
        return tuple(gap for gap in self.gaps if gap.of_witness)

    def drained_of(self, finding: Finding) -> tuple[NodeId, ...]:
        """List the nodes of a finding that are out of production, as the finding has them."""
        return tuple(node for node in finding.nodes if node in self.drained)

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Findings that count: not those that were gone when looked at again, nor those agreed on."""
        return tuple(item for item in self.findings if item.confirmed is not False and item.agreed is None)
