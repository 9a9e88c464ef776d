"""PURE: health of the audit itself, which metrics say beside a report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
