"""Past sweeps, and the life of each finding with its notifications, from the state."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.memory.notices import Row
from auditor.errors import UsageError
from auditor.service.alert_state import existing_state
from auditor.settings.file import Config
from auditor.state import history
from auditor.state.history import PastFinding, PastSweep


@dataclass(frozen=True, slots=True)
class Past:
    """Last sweeps and findings."""

    sweeps: tuple[PastSweep, ...]
    findings: tuple[PastFinding, ...]


@dataclass(frozen=True, slots=True)
class FindingLife:
    """Finding over time, and each notification of it, oldest first."""

    finding: PastFinding
    notifications: tuple[Row, ...]


def read_past(config: Config, limit: int, *, leading_only: bool) -> Past | None:
    """Read at most so many sweeps, newest first, and findings; None where there is no state.

    leading_only: without findings that follow from another. Raises `StateError`.
    """
    with existing_state(config.state.path) as state:
        if state is None:
            return None
        return Past(
            history.sweeps(state.connection, limit),
            history.findings(state.connection, limit, leading_only=leading_only),
        )


def read_life(config: Config, fingerprint: str) -> FindingLife:
    """Read the life of the one finding whose fingerprint begins so. Raises `UsageError` and `StateError`."""
    with existing_state(config.state.path) as state:
        finding = None if state is None else history.finding(state.connection, fingerprint)
        if state is None or finding is None:
            raise UsageError(
                f"history: no finding has the fingerprint {fingerprint[:40]}; `wgaudit history` lists them"
            )
        return FindingLife(finding, tuple(state.notifications.life(finding.fingerprint)))
