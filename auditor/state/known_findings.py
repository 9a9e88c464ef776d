"""Findings that the state remembers, read without the library for the rest."""

from __future__ import annotations

import json
from datetime import datetime

from auditor.state.reading import Stored, TableReader, readable
from auditor.values.findings import Severity
from auditor.values.past_sweeps import PastFinding


def read_standing_findings(reader: TableReader, most: int) -> tuple[PastFinding, ...]:
    """Read findings that stand, the last seen first; at most so many. Raises `StateError`."""
    with readable():
        rows = reader.rows_of("history_findings", {"resolved_at": None}, order=("-last_seen",), most=most)
        return tuple(map(finding_of, rows))


def finding_of(row: Stored) -> PastFinding:
    """Make a finding of a stored row. Raises `ValueError` and `TypeError` for one that no version of ours wrote."""
    resolved = row["resolved_at"]
    return PastFinding(
        fingerprint=row["fingerprint"],
        check=row["check_ident"],
        severity=Severity(row["severity"]),
        subject=row["subject"],
        summary=row["summary"],
        nodes=tuple(json.loads(row["nodes"])),
        first_seen=datetime.fromisoformat(row["first_seen"]),
        last_seen=datetime.fromisoformat(row["last_seen"]),
        resolved_at=None if resolved is None else datetime.fromisoformat(resolved),
        caused_by=row["caused_by"],
        address=row["address"],
        regions=tuple(json.loads(row["regions"])),
    )
