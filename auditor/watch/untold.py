"""Telling of a watch that tells nobody: of what the state remembers, it only reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from auditor.reports.audit_health import AuditHealth
from auditor.service.remembered import Remembered, remembered, with_silences
from auditor.service.watch_telling import RoundOutcome
from auditor.state.places import StatePlace
from auditor.values.models import Snapshot
from auditor.values.report import Report


class Untold:
    """Marks silenced findings, and tells nobody. It takes no lock, and writes nothing."""

    def __init__(self, place: StatePlace, complain: Callable[[str], None]) -> None:
        """place: where the state is. complain: told once of a database that cannot be read."""
        self._place = place
        self._complain = complain
        self._complaints: set[str] = set()
        self._remembered = Remembered()

    def remembered(self) -> Remembered:
        """Read the memory of sweeps with alerts, or of the watch that tells."""
        self._remembered = remembered(self._place, self._complain_once)
        return self._remembered

    async def tell(self, report: Report, *, arrived_at: datetime | None = None) -> Report:  # noqa: ARG002  (see `Telling`)
        """Return the report with silenced findings marked."""
        return with_silences(report, self._remembered.silences, datetime.now(UTC))

    async def round(self, report: Report, snapshot: Snapshot | None = None) -> RoundOutcome:  # noqa: ARG002  (see `Telling`)
        """Return the report with silenced findings marked."""
        return RoundOutcome(await self.tell(report), self.health())

    def health(self) -> AuditHealth:
        """Return a health of which nothing is known: nobody is told from here."""
        return AuditHealth()

    def _complain_once(self, line: str) -> None:
        if line not in self._complaints:
            self._complaints.add(line)
            self._complain(line)
