"""PURE: a report's findings as CSV, a row for each finding and node."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from auditor.reports.interface import Layout
from auditor.values.findings import Finding
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import for_csv

COLUMNS = (
    "check",
    "severity",
    "fingerprint",
    "subject",
    "address",
    "node",
    "datacenter",
    "region",
    "registered_key",
    "counts",
    "confirmed",
    "caused_by",
    "agreed",
    "silenced",
    "summary",
    "docs",
    "mesh",
    "version",
    "answers",
    "disagreement",
)
"""Header. Columns are added at the end, never renamed."""
_LAYOUT = Layout()


def render(report: Report, layout: Layout = _LAYOUT, /) -> str:
    """Render the findings. One that names no node is a row without one; the file has a header in any case."""
    stream = StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for finding in report.findings:
        if layout.selection.takes_finding(finding, report.node_regions):
            writer.writerows([for_csv(cell) for cell in row] for row in _rows(report, finding, layout))
    return stream.getvalue()


def _rows(report: Report, finding: Finding, layout: Layout) -> Iterator[tuple[str, ...]]:
    counts = finding.confirmed is not False and finding.agreed is None
    nodes: tuple[NodeId | None, ...] = finding.nodes or (None,)
    for node in nodes:
        yield (
            str(finding.check),
            finding.severity.value,
            finding.fingerprint,
            finding.subject,
            finding.address or "",
            node.name if node is not None else "",
            node.datacenter if node is not None else "",
            _region(report, finding, node),
            report.node_keys.get(node, "") if node is not None else "",
            "yes" if counts else "no",
            {True: "yes", False: "no", None: ""}[finding.confirmed],
            finding.caused_by or "",
            finding.agreed or "",
            finding.silenced or "",
            finding.summary,
            layout.guide.documentation(str(finding.check)),
            report.mesh,
            report.version,
            finding.answers_statement,
            finding.disagreement,
        )


def _region(report: Report, finding: Finding, node: NodeId | None) -> str:
    if node is None:
        return " ".join(finding.regions)
    return report.node_regions.get(node, "")
