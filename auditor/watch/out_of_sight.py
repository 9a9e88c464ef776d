"""PURE: findings that stood, are not shown any more, and may only be out of sight: they are withheld until it is known.

A registration that they rest on moved, and not all nodes that showed them were heard of since. Without them, a round
would say that they are over, and the next one that they are back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from auditor.fleet.showing import asked_first, moved_in
from auditor.judge import unsettled_gap
from auditor.values.findings import Finding
from auditor.values.models import Looks, Snapshot
from auditor.values.report import Report, Verdict


class OutOfSight:
    """Findings of the judgement before, by which the next one is completed."""

    def __init__(self) -> None:
        self._stood: Mapping[str, Finding] = {}
        """By fingerprint: what stood, was not over since, and may be shown again."""

    def withheld_in(self, report: Report, snapshot: Snapshot) -> Report:
        """Add to a report, as unsettled, what is out of sight in it; remember what stands. snapshot: what it is of."""
        shown = {item.fingerprint: item for item in report.standing}
        known = {item.fingerprint for item in report.findings} | report.withheld
        lost = {
            mark: item
            for mark, item in self._stood.items()
            if mark not in known and _unheard_since_move(item, snapshot)
        }
        hidden = {mark: item for mark, item in self._stood.items() if mark in report.withheld}
        self._stood = shown | hidden | lost
        if not lost:
            return report
        unsettled = (*report.unsettled, *(replace(item, caused_by=None) for item in lost.values()))
        outdated = set(unsettled_gap(report.unsettled))
        return replace(
            report,
            verdict=report.verdict if report.verdict is not Verdict.CLEAN else Verdict.INCONCLUSIVE,
            gaps=(*(gap for gap in report.gaps if gap not in outdated), *unsettled_gap(unsettled)),
            unsettled=unsettled,
            withheld=report.withheld | lost.keys(),
            seen_enough=False,
        )


def _unheard_since_move(finding: Finding, snapshot: Snapshot) -> bool:
    """Tell whether a registration that the finding rests on moved, and a node that showed it was not heard of since."""
    second = snapshot.second_look
    if second is None:
        return False
    moved = moved_in(finding, second.moved)
    return moved > 0 and any(
        second.looks.get(node, Looks(0, 0, moved + 1)).last <= moved for node in asked_first(finding)
    )
