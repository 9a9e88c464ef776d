"""PURE: report of a state that the judge failed on: what was found before stands, and a gap says so."""

from __future__ import annotations

from dataclasses import replace

from auditor.errors import GapReason
from auditor.service.version import VERSION
from auditor.values.models import Gap, NodeId, Snapshot
from auditor.values.report import Coverage, Report, Verdict


def not_judged(report: Report | None, snapshot: Snapshot, error: Exception) -> Report:
    """Make the report of a state that could not be judged: what was found before, and the gap."""
    before = report or Report(
        verdict=Verdict.INCONCLUSIVE,
        started_at=snapshot.started_at,
        finished_at=snapshot.finished_at,
        coverage=Coverage(0, 0),
        findings=(),
        gaps=snapshot.gaps,
        mesh=snapshot.policy.mesh,
        version=VERSION,
    )
    gap = Gap("sweep", GapReason.INTERNAL, f"what changed was not judged: {type(error).__name__}")
    return replace(
        before,
        verdict=Verdict.FINDINGS if before.standing else Verdict.INCONCLUSIVE,
        finished_at=snapshot.finished_at,
        gaps=tuple(dict.fromkeys((*before.gaps, gap))),
        observed=frozenset[NodeId](),
        unsettled=(),
        seen_enough=False,
    )
