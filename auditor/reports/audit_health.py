"""PURE: health of the audit itself, which metrics say beside a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from auditor.values.leaders import Leader


@dataclass(frozen=True, slots=True)
class AuditHealth:
    """Health of the audit: earlier sweeps, and alerts that have reached nobody. None: not known."""

    state_readable: bool | None = None
    """False: the state database could not be used. None: there is none yet, or it was not asked."""
    last_clean_at: datetime | None = None
    """End of the last sweep that was clean, as far as the state remembers it."""
    waiting: int | None = None
    """Notifications in the outbox."""
    refused: int | None = None
    """Dead letters of standing incidents that nothing newer replaced."""
    handed_over: bool | None = None
    """Whether this sweep could hand over all of its alerts. None: it was not to alert."""
    perhaps_twice: Mapping[str, int] | None = None
    """By notifier: notifications that it took, and that may have come once more. None: not counted."""
    leader: Leader | None = None
    """Who of several auditors tells people. None: there is no other one."""
