"""PURE: what the registry says by itself, before any device has it, and how it joins the report on the whole fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from auditor.checks.catalogue import CHECKS
from auditor.checks.idents import Ident
from auditor.fleet.fleet import Fleet
from auditor.judge import (
    find,
    finding_order,
    mark_agreed,
    named_in,
    registered_keys,
    unsettled_gap,
    with_causes,
)
from auditor.values.addresses import PublicKey
from auditor.values.findings import Finding
from auditor.values.models import NodeId, Snapshot
from auditor.values.report import Report, Verdict

IDENTS = frozenset({Ident.DUPLICATE_ADDRESS, Ident.DUPLICATE_PUBLIC_KEY, Ident.FALLBACK_ADDRESS})
"""Checks that the registry alone may answer: what stands in it is there, whatever a device shows. None of them rests
on an absence, and what they follow from is among them."""

_CHECKS = tuple(check for check in CHECKS if check.ident in IDENTS)


@dataclass(frozen=True, slots=True)
class RegistryFindings:
    """Findings of the registry alone, with what a report shows of their nodes."""

    findings: tuple[Finding, ...] = ()
    regions: Mapping[NodeId, str] = field(default_factory=dict)
    keys: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    at: datetime | None = None
    """Time of the snapshot that they are in; None: nothing was judged."""


def judge_alone(snapshot: Snapshot) -> RegistryFindings:
    """Judge a snapshot of the registry alone, as if everything in it stood."""
    fleet = Fleet(snapshot)
    findings = mark_agreed(find(fleet, _CHECKS), fleet, snapshot)
    named = {node for finding in findings for node in named_in(finding)}
    regions = {node: region for node in sorted(named) if (region := fleet.region(node))}
    return RegistryFindings(findings, regions, registered_keys(fleet, named), snapshot.finished_at)


def merged(report: Report, alone: RegistryFindings) -> Report:
    """Add to a report what the registry alone shows, and the report withholds or lacks.

    What the report has, it knows better: with all witnesses. What follows from an added finding follows from it here.
    The whole is as new as the newer of the two: nothing was first seen before it was written.
    """
    shown = {item.fingerprint for item in report.findings if item.confirmed is not False}
    added = [replace(item, confirmed=True) for item in alone.findings if item.fingerprint not in shown]
    if not added:
        return report
    new = {item.fingerprint for item in added}
    gone = [item for item in report.findings if item.confirmed is False and item.fingerprint not in new]
    standing = [item for item in report.findings if item.confirmed is not False]
    led = _agreed_with_their_cause(with_causes([*standing, *added]))
    left = tuple(item for item in report.unsettled if item.fingerprint not in new)
    outdated = set(unsettled_gap(report.unsettled))
    gaps = (*(gap for gap in report.gaps if gap not in outdated), *unsettled_gap(left))
    findings = tuple(sorted((*gone, *led), key=finding_order))
    merged_report = replace(
        report,
        finished_at=max(report.finished_at, alone.at or report.finished_at),
        findings=findings,
        gaps=gaps,
        unsettled=left,
        withheld=report.withheld - new,
        node_regions=dict(sorted({**alone.regions, **report.node_regions}.items())),
        node_keys=dict(sorted({**alone.keys, **report.node_keys}.items())),
    )
    return replace(merged_report, verdict=Verdict.FINDINGS if merged_report.standing else report.verdict)


def _agreed_with_their_cause(findings: list[Finding]) -> list[Finding]:
    """Mark what follows from an agreed finding about the same address as agreed, too."""
    by_mark = {item.fingerprint: item for item in findings}

    def agreed(item: Finding) -> str | None:
        cause = by_mark.get(item.caused_by or "")
        return cause.agreed if cause is not None and cause.address == item.address else item.agreed

    return [replace(item, agreed=agreed(item)) for item in findings]
