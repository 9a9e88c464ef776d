"""Changes in the lives of findings, written with the sweep that showed them, and read in order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, func, insert, select

from auditor.state.audit_tables import CHANGES, FINDINGS
from auditor.state.state_store import StateStore
from auditor.values.findings import Severity
from auditor.values.past_sweeps import FindingChange, PastChange
from auditor.values.stored_values import TableReader, row_reader

_CHANGE = row_reader(PastChange, "nodes")
AT_ONCE = 500
"""Fingerprints that one statement names."""
_STANDING = FINDINGS.c.resolved_at.is_(None)
_LATEST = (
    select(func.max(CHANGES.c.id))
    .where(CHANGES.c.fingerprint.in_(select(FINDINGS.c.fingerprint).where(_STANDING)))
    .group_by(CHANGES.c.fingerprint)
)
Shown = Mapping[str, tuple[Severity, tuple[str, ...]]]
"""Severity and nodes of what is shown, by fingerprint."""


@dataclass(frozen=True, slots=True)
class StandingBefore:
    """Finding that stands, as the history last had it."""

    severity: Severity
    nodes: tuple[str, ...]
    caused_by: str | None


_STANDING_BEFORE = row_reader(StandingBefore, "nodes")


class FindingsBefore:
    """Findings as the history has them of earlier sweeps, before it takes over the new ones."""

    def __init__(self, store: StateStore, shown: Iterable[str]) -> None:
        """Read those that stand, and whether those that are shown are known. Raises `StateError`."""
        columns = FINDINGS.c.fingerprint, FINDINGS.c.severity, FINDINGS.c.nodes, FINDINGS.c.caused_by
        self.standing: Mapping[str, StandingBefore] = {
            row["fingerprint"]: _STANDING_BEFORE(row) for row in store.rows(select(*columns).where(_STANDING))
        }
        last = store.rows(select(CHANGES.c.fingerprint, CHANGES.c.change).where(CHANGES.c.id.in_(_LATEST)))
        self._last = {row["fingerprint"]: row["change"] for row in last}
        self._over: set[str] = set()
        others = [mark for mark in shown if mark not in self.standing]
        for begin in range(0, len(others), AT_ONCE):
            known = FINDINGS.c.fingerprint.in_(others[begin : begin + AT_ONCE])
            self._over |= {
                row["fingerprint"] for row in store.rows(select(FINDINGS.c.fingerprint).where(known))
            }

    def changes_by_sweep(
        self, at: datetime, sweep: int, shown: Shown, over: Collection[str]
    ) -> tuple[PastChange, ...]:
        """Compare a whole sweep with them. over: fingerprints that ended with it."""
        found = list(self.changes_of_shown(at, sweep, shown))
        for mark, before in self.standing.items():
            if mark not in shown:
                change = FindingChange.RESOLVED if mark in over else FindingChange.NOT_SEEN
                if change is FindingChange.RESOLVED or self._last.get(mark) != FindingChange.NOT_SEEN:
                    found.append(PastChange(at, mark, change, before.severity, before.nodes, sweep))
        return tuple(found)

    def changes_of_shown(self, at: datetime, sweep: int | None, shown: Shown) -> Iterator[PastChange]:
        """Yield the changes of what is shown. sweep: None between two rounds."""
        for mark, (severity, nodes) in shown.items():
            change = self._change_of_shown(mark, severity, nodes)
            if change is not None:
                yield PastChange(at, mark, change, severity, nodes, sweep)

    def _change_of_shown(self, mark: str, severity: Severity, nodes: Sequence[str]) -> FindingChange | None:
        before = self.standing.get(mark)
        if before is None:
            return FindingChange.CAME_BACK if mark in self._over else FindingChange.FIRST_SEEN
        if self._last.get(mark) == FindingChange.NOT_SEEN:
            return FindingChange.SEEN_AGAIN
        return None if (before.severity, before.nodes) == (severity, tuple(nodes)) else FindingChange.CHANGED


def keep_changes(store: StateStore, changes: Iterable[PastChange]) -> None:
    """Store changes. Raises `StateError`."""
    store.execute(insert(CHANGES), list(map(asdict, changes)))


def read_changes(reader: TableReader) -> tuple[PastChange, ...]:
    """Read all changes that are kept, in the order in which they were recorded. Raises `StateError`."""
    return tuple(map(_CHANGE, reader.rows_of("history_changes", order=("id",))))


def forget_changes(store: StateStore, before: datetime) -> None:
    """Delete changes older than that, but those of findings that stand. Raises `StateError`."""
    standing = select(FINDINGS.c.fingerprint).where(_STANDING)
    store.execute(delete(CHANGES).where(CHANGES.c.at < before, CHANGES.c.fingerprint.not_in(standing)))
