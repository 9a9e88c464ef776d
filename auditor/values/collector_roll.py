"""PURE: who is there to look at nodes elsewhere: collectors as they describe themselves, and regions as they answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CollectorThere:
    """One collector, as it describes itself."""

    identity: str
    """Identity that it has on NATS, new at each of its connections."""
    region: str
    host: str
    pid: str
    version: str
    since: datetime
    """When it began to serve, by its own clock."""
    jobs: int | None
    """Jobs under way; None: it did not say."""
    nodes: int | None
    """Nodes that they are about."""
    most_jobs: int | None
    """Jobs that it takes at once."""


@dataclass(frozen=True, slots=True)
class RegionServed:
    """Answer to the question who takes jobs of a region, which only a collector with that region's key can give."""

    region: str
    collector: str = ""
    """Which one answered: host and process. Empty: none did."""
    version: str = ""
    detail: str = ""
    """Why none answered."""

    @property
    def served(self) -> bool:
        """Tell whether one answered."""
        return bool(self.collector)


@dataclass(frozen=True, slots=True)
class CollectorRoll:
    """Who is there, through one NATS server."""

    server: str
    user: str
    """Public nkey by which it was asked; "" for none."""
    asks_for_login: bool
    """False: the server lets everybody in."""
    collectors: tuple[CollectorThere, ...]
    """By region, host and process."""
    regions: tuple[RegionServed, ...]
    """Those that are configured, in that order."""
    left_out: int = 0
    """Answers that could not be read."""
    refused: str = ""
    """What the server did not permit; "" for nothing."""

    @property
    def missing(self) -> tuple[RegionServed, ...]:
        """Configured regions that no collector answered for."""
        return tuple(region for region in self.regions if not region.served)
