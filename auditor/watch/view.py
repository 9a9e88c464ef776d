"""PURE: view of a fleet under watch at one moment, for those who show it: the page, the metrics, a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from auditor.reports.audit_health import AuditHealth
from auditor.values.models import Snapshot
from auditor.values.past_sweeps import PastNotice, PastSpan
from auditor.values.report import Report


class WatchCounter(StrEnum):
    """Counter of the watch, by the name of its metric without `_total`. Each counts since the watch began."""

    WAKES = "wgaudit_watch_wakes"
    """Answers of the registry that brought something new."""
    CHANGES = "wgaudit_watch_node_changes"
    """Nodes' words that brought something new."""
    JUDGEMENTS = "wgaudit_watch_judgements"
    ROUNDS = "wgaudit_watch_rounds"
    REGISTRY_RECONNECTIONS = "wgaudit_watch_registry_reconnections"
    """Times that following of a datacenter began anew, after an error, a restore or lost rights."""
    SESSION_RECONNECTIONS = "wgaudit_watch_session_reconnections"
    """Sessions of nodes that were opened again."""


@dataclass(frozen=True, slots=True)
class FollowedDatacenter:
    """Following of one datacenter of the registry. Times are in UTC."""

    name: str
    """"" is the agent's own."""
    readable: bool
    arrived_at: datetime
    """Time of its newest answer."""
    index: int | None = None
    registrations: int = 0
    event: str = ""
    """What last befell the following, in one line; "": nothing."""
    event_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sessions:
    """Numbers of nodes, by how they are seen."""

    followed: int = 0
    """With an open session that was heard of lately."""
    by_rounds: int = 0
    """Looked at once a round, for they cannot be followed."""
    gone: int = 0
    """Not seen: a gap each."""


@dataclass(frozen=True, slots=True)
class WatchView:
    """View of the fleet, and of the watch itself. Times are in UTC."""

    number: int
    """Grows by one with each view."""
    report: Report
    snapshot: Snapshot
    """What the report was made of."""
    taken_at: datetime
    started_at: datetime
    """Time when the watch began."""
    ready: bool = False
    """True: the registry was read whole once."""
    round_at: datetime | None = None
    """End of the last round; None: there was none yet."""
    datacenters: tuple[FollowedDatacenter, ...] = ()
    sessions: Sessions = Sessions()
    changed: frozenset[str] = frozenset()
    """Fingerprints of findings that are new, or not as in the view before."""
    gone: frozenset[str] = frozenset()
    """Fingerprints of findings that are in the view before, and not in this one."""
    health: AuditHealth = field(default_factory=AuditHealth)
    counters: Mapping[WatchCounter, float] = field(default_factory=dict)


class WatchViews(Protocol):
    """Source of the newest view."""

    @property
    def newest(self) -> WatchView | None:
        """Newest view; None: nothing was read yet."""
        ...

    async def after(self, number: int) -> WatchView:
        """Wait for a view of a higher number. Raises `WatchEnded` when the watch ends first."""
        ...


class WatchRecord(Protocol):
    """What the state remembers and the page shows. Its calls block: they are made in a thread, each few seconds."""

    def notices(self, most: int) -> tuple[PastNotice, ...]:
        """Return the newest notifications, newest first. Raises `StateError`."""
        ...

    def page_seconds(self, since: datetime) -> tuple[float, ...]:
        """Return the seconds from each news since then to its first acceptance. Raises `StateError`."""
        ...

    def spans(self, since: datetime, step: timedelta) -> tuple[PastSpan, ...]:
        """Return what rounds since then came to, oldest first, one value for each step. Raises `StateError`."""
        ...
