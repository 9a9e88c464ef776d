"""PURE: servers as CSV, a row each."""

from __future__ import annotations

import csv
from io import StringIO

from auditor.reports.node_rows import NodeList, NodeRow
from auditor.values.text import for_csv

COLUMNS = (
    "node",
    "datacenter",
    "region",
    "listing",
    "addresses",
    "public_key",
    "seen",
    "reason",
    "live_addresses",
    "live_public_key",
    "differs",
    "table",
    "table_digest",
    "host_key",
    "ssh_host",
    "ssh_port",
    "checks",
)
"""Header. Columns are added at the end, never renamed."""


def render_nodes_csv(listed: NodeList) -> str:
    """Render the rows. Lists stand in one cell, apart by blanks."""
    stream = StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    writer.writerows([for_csv(cell) for cell in _cells(row)] for row in listed.rows)
    return stream.getvalue()


def _cells(row: NodeRow) -> tuple[str, ...]:
    return (
        row.node.name,
        row.node.datacenter,
        row.region,
        row.listing.value,
        " ".join(row.registered_addresses),
        row.registered_key or "",
        _yes(row.seen),
        row.gap.reason.value if row.gap is not None else "",
        " ".join(row.live_addresses),
        row.live_key or "",
        _yes(row.differs),
        str(row.table) if row.table is not None else "",
        row.table_digest or "",
        row.host_key or "",
        row.ssh.host if row.ssh is not None else "",
        str(row.ssh.port) if row.ssh is not None and row.ssh.port is not None else "",
        " ".join(dict.fromkeys(str(finding.check) for finding in row.findings)),
    )


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
