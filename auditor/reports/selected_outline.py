"""PURE: an outline without what the reader did not ask to see."""

from __future__ import annotations

from dataclasses import replace

from auditor.reports.outline import NO_REGION, Outline, OutlinedFinding, gap_groups, gap_node
from auditor.reports.selection import Selection
from auditor.values.models import NodeId
from auditor.values.report import Report


def selected(grouped: Outline, report: Report, selection: Selection) -> Outline:
    """Leave out of the groups what was not selected; counts, coverage and gaps of the registry stay as they are.

    An incident is in it where it fits, or something that follows from it does. Gaps have no check and no severity.
    """
    if not selection:
        return grouped

    def taken(item: OutlinedFinding) -> bool:
        findings = (item.finding, *(each for group in item.following for each in group.findings))
        return any(selection.takes_finding(finding, report.node_regions) for finding in findings)

    def seen(node: NodeId) -> bool:
        return selection.takes_node(node, report.node_regions.get(node, NO_REGION))

    def region_of(node: NodeId) -> str:
        return report.node_regions.get(node, NO_REGION)

    agreed = tuple(item for item in grouped.agreed if selection.takes_finding(item, report.node_regions))
    subjects = {item.subject for item in agreed}
    gaps = [gap for gap in report.gaps if (node := gap_node(gap)) is None or seen(node)]
    return replace(
        grouped,
        contested=tuple(filter(taken, grouped.contested)),
        rest=tuple(filter(taken, grouped.rest)),
        agreed=agreed,
        agreed_sharing=tuple(item for item in grouped.agreed_sharing if item.subject in subjects),
        gone=tuple(item for item in grouped.gone if selection.takes_finding(item, report.node_regions)),
        gaps=gap_groups((gap for gap in gaps if not gap.of_witness), region_of),
        unheard=gap_groups((gap for gap in gaps if gap.of_witness), region_of),
        in_flight=tuple(filter(seen, grouped.in_flight)),
        drained=tuple(item for item in grouped.drained if seen(item[0])),
    )
