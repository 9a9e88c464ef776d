"""Findings that the state remembers, read without the library for the rest."""

from __future__ import annotations

from auditor.values.past_sweeps import PastFinding
from auditor.values.stored_values import TableReader, row_reader

finding_of = row_reader(PastFinding, "nodes", "regions", check="check_ident")


def read_standing_findings(reader: TableReader, most: int) -> tuple[PastFinding, ...]:
    """Read findings that stand, the last seen first; at most so many. Raises `StateError`."""
    rows = reader.rows_of("history_findings", {"resolved_at": None}, order=("-last_seen",), most=most)
    return tuple(map(finding_of, rows))
