"""Parts of a watch: what it follows, and the protocol of who tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from auditor.gather.collector import Follower
from auditor.gather.questioning import Questioning
from auditor.registry.interface import FollowedRegistry
from auditor.reports.audit_health import AuditHealth
from auditor.service.remembered import Remembered
from auditor.service.watch_telling import RoundOutcome
from auditor.values.models import AuditPolicy, LostRegistration, Snapshot
from auditor.values.report import Report

Lost = Callable[[Snapshot, Remembered], tuple[LostRegistration, ...]]


@dataclass(frozen=True, slots=True)
class WatchParts:
    """Parts of a watch that its settings decide."""

    registry: FollowedRegistry
    follower: Callable[[], Follower]
    """Builds what follows the nodes, whose stream can be opened once."""
    policy: AuditPolicy
    lost: Lost
    """Lists registrations that vanished from the registry; called in a thread."""
    questioning: Questioning | None = None
    """Asks witnesses who answers at mesh addresses; None: nobody is asked."""
    round_interval: float = 60.0
    """Seconds between two rounds."""
    catch_up: float = 3.0
    """Seconds after a change of a registration until a node's word counts as one that knows of it."""
    built_of: object = field(default_factory=object)
    """Settings that registry and follower were built of: where these are equal, both stay as they are."""


class Telling(Protocol):
    """Tells people. Nothing raises for a notifier or for the state."""

    def remembered(self) -> Remembered:
        """Read the memory that helps to judge."""
        ...

    async def tell(self, report: Report, *, arrived_at: datetime | None = None) -> Report:
        """Tell of incidents that are new or worse, between two rounds; return the report with silenced ones marked.

        arrived_at: time in UTC when the news that it was made of arrived.
        """
        ...

    async def round(self, report: Report, snapshot: Snapshot | None = None) -> RoundOutcome:
        """Plan a whole round: what resolved, changed, and was not seen, too; store it with its history."""
        ...

    def health(self) -> AuditHealth:
        """Read the health of the audit, as it is now."""
        ...
