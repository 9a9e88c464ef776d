"""Comparison of two sweeps: what came, went and changed, and what one of the two could not see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from auditor.values.models import NodeId, Registration
from auditor.values.past_sweeps import SeenFinding, SeenGap, SweepContent
from auditor.values.report import Verdict


@dataclass(frozen=True, slots=True)
class ComparedSweep:
    """One side of a comparison: a recording, or a sweep of the history."""

    name: str
    """Name by which the caller asked for it."""
    number: int | None
    """Number in the history; None: a recording."""
    started_at: datetime
    finished_at: datetime
    verdict: Verdict
    registered: int
    observed: int
    content: SweepContent
    registrations: tuple[Registration, ...] | None = None
    """None: the history keeps none."""


@dataclass(frozen=True, slots=True)
class HiddenFinding:
    """Finding of one side alone whose places the other side did not see: it neither came nor went."""

    finding: SeenFinding
    nodes: tuple[NodeId, ...]
    """Nodes that the other side did not see, and that may have shown it."""
    datacenters: tuple[str, ...]
    """Registries that the other side did not read whole; "" for any."""


@dataclass(frozen=True, slots=True)
class ChangedFinding:
    """Finding of both sides that is not the same in both."""

    before: SeenFinding
    after: SeenFinding
    nodes_added: tuple[str, ...]
    nodes_removed: tuple[str, ...]
    nodes_not_seen: tuple[str, ...]
    """Nodes that B does not show in it, and did not see either."""


@dataclass(frozen=True, slots=True)
class ChangedRegistration:
    """Registration that is not the same in two recordings, as the readings of one node."""

    node: NodeId
    before: Registration | None
    """None: it came."""
    after: Registration | None
    """None: it went, or was not seen."""
    seen: bool = True
    """False: the side without it did not read that registry whole."""


@dataclass(frozen=True, slots=True)
class SweepDifference:
    """Difference from sweep A to sweep B."""

    a: ComparedSweep
    b: ComparedSweep
    came: tuple[SeenFinding, ...]
    """In B, and A could have seen them."""
    went: tuple[SeenFinding, ...]
    """In A, and B could have seen them."""
    changed: tuple[ChangedFinding, ...]
    hidden_in_a: tuple[HiddenFinding, ...]
    """In B alone, and A could not see them."""
    hidden_in_b: tuple[HiddenFinding, ...]
    """In A alone, and B could not see them."""
    gaps_came: tuple[SeenGap, ...]
    gaps_went: tuple[SeenGap, ...]
    registrations: tuple[ChangedRegistration, ...] | None
    """None: at least one side is no recording, so they cannot be compared."""

    @property
    def coverage_changed(self) -> bool:
        """Tell whether another number of nodes was registered or seen."""
        return (self.a.registered, self.a.observed) != (self.b.registered, self.b.observed)

    @property
    def same(self) -> bool:
        """Tell whether both sides show the same; times do not count."""
        return not (
            self.came
            or self.went
            or self.changed
            or self.hidden_in_a
            or self.hidden_in_b
            or self.gaps_came
            or self.gaps_went
            or self.registrations
            or self.coverage_changed
            or self.a.verdict is not self.b.verdict
        )


def compare(a: ComparedSweep, b: ComparedSweep) -> SweepDifference:
    """Compare two sweeps. What one of the two could not see has neither come nor gone."""
    before = {item.fingerprint: item for item in a.content.findings}
    after = {item.fingerprint: item for item in b.content.findings}
    went, hidden_in_b = _sorted_out((before[mark] for mark in before.keys() - after.keys()), a, b)
    came, hidden_in_a = _sorted_out((after[mark] for mark in after.keys() - before.keys()), b, a)
    changed = (
        _changed(before[mark], after[mark], b.content)
        for mark in before.keys() & after.keys()
        if _compared(before[mark]) != _compared(after[mark])
    )
    gaps = frozenset(a.content.gaps), frozenset(b.content.gaps)
    return SweepDifference(
        a=a,
        b=b,
        came=came,
        went=went,
        changed=tuple(sorted(changed, key=lambda item: _rank(item.after))),
        hidden_in_a=hidden_in_a,
        hidden_in_b=hidden_in_b,
        gaps_came=tuple(gap for gap in b.content.gaps if gap not in gaps[0]),
        gaps_went=tuple(gap for gap in a.content.gaps if gap not in gaps[1]),
        registrations=_registrations(a, b),
    )


def _sorted_out(
    findings: Iterable[SeenFinding], own: ComparedSweep, other: ComparedSweep
) -> tuple[tuple[SeenFinding, ...], tuple[HiddenFinding, ...]]:
    """Divide the findings of one side alone: those that the other could have seen, and those that it could not."""
    could, hidden = [], []
    for item in sorted(findings, key=_rank):
        found = _hidden(item, own.content, other.content)
        if found is None:
            could.append(item)
        else:
            hidden.append(found)
    return tuple(could), tuple(hidden)


def _hidden(finding: SeenFinding, own: SweepContent, other: SweepContent) -> HiddenFinding | None:
    """Name the places that the other sweep did not see and that may show the finding; None where it saw all."""
    nodes = finding.places & other.unseen
    if finding.by_observers:
        nodes |= other.unseen - own.unseen
    unread = other.unread if "" in other.unread else finding.datacenters & other.unread
    if not nodes and not unread and finding.fingerprint not in other.withheld:
        return None
    return HiddenFinding(finding, tuple(sorted(nodes)), tuple(sorted(unread)))


def _compared(finding: SeenFinding) -> tuple[object, ...]:
    return finding.severity, finding.nodes, finding.confirmed, finding.agreed, finding.caused_by


def _changed(before: SeenFinding, after: SeenFinding, content: SweepContent) -> ChangedFinding:
    names = {name for node in content.unseen for name in (node.name, str(node))}
    lost = [name for name in before.nodes if name not in after.nodes]
    return ChangedFinding(
        before,
        after,
        nodes_added=tuple(name for name in after.nodes if name not in before.nodes),
        nodes_removed=tuple(name for name in lost if name not in names),
        nodes_not_seen=tuple(name for name in lost if name in names),
    )


def _rank(finding: SeenFinding) -> tuple[int, str, str, str]:
    return finding.severity.rank, finding.check, finding.subject, finding.fingerprint


def _registrations(a: ComparedSweep, b: ComparedSweep) -> tuple[ChangedRegistration, ...] | None:
    if a.registrations is None or b.registrations is None:
        return None
    before, after = _by_place(a.registrations), _by_place(b.registrations)
    found = []
    for place in sorted(before.keys() | after.keys()):
        old, new = before.get(place), after.get(place)
        if old is not None and new is not None:
            if _facts(old) != _facts(new):
                found.append(ChangedRegistration(place[0], old, new))
            continue
        unread = (b if new is None else a).content.unread
        found.append(
            ChangedRegistration(
                place[0], old, new, seen="" not in unread and place[0].datacenter not in unread
            )
        )
    return tuple(found)


def _by_place(registrations: Iterable[Registration]) -> Mapping[tuple[NodeId, str], Registration]:
    return {(item.node, item.where): item for item in registrations}


def _facts(registration: Registration) -> tuple[object, ...]:
    return (
        registration.public_key,
        frozenset(registration.addresses),
        registration.region,
        registration.retired,
    )
