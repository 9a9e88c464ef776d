"""Changes of registrations: what came, went or became another between two readings of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from auditor.values.models import NodeId, Registration

MOMENT = timedelta(seconds=1)
"""What lies between two readings that are no further apart is known to the moment."""


class RegistrationChangeKind(StrEnum):
    """Kind of a change of a registration."""

    ADDED = "added"
    CHANGED = "changed"
    """Another key, address, region, host or state."""
    REMOVED = "removed"


class ChangeSource(StrEnum):
    """Source that a change is known from."""

    SWEEP = "sweep"
    """Two readings differed, of alerted sweeps or of a watch that could not follow: it happened at some time between
    the two."""
    WATCH = "watch"
    """A watch was told of it when it was written: at most a moment before `not_after`."""


@dataclass(frozen=True, slots=True)
class RegistrationChange:
    """One change of one node's registration. Times are in UTC."""

    node: NodeId
    kind: RegistrationChangeKind
    before: Registration | None
    """None: it was added. Of a removed one, the whole record that is lost."""
    after: Registration | None
    """None: it was removed."""
    not_before: datetime
    """Time since which the registry may have been like this: the last reading that still showed `before`."""
    not_after: datetime
    """Time when it certainly was like this: the reading that showed it so had ended."""
    seen_by: ChangeSource = ChangeSource.SWEEP
    index: int | None = None
    """Consul's index of the write; None where it is not known, as of a removal that a sweep noticed."""
    sweep: int | None = None
    """Number of the sweep that noticed it; None: a watch did, between two."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that changed; none where it was added or removed."""
        return changed_fields(self.before, self.after) if self.before and self.after else ()


@dataclass(frozen=True, slots=True)
class KnownRegistration:
    """Newest form of a registration that the journal knows. Times are in UTC."""

    registration: Registration
    gone: RegistrationChange | None = None
    """Change that removed it; None: it is registered, as far as the last reading tells."""


@dataclass(frozen=True, slots=True)
class RegistrationHistory:
    """History of the registrations that a person asked for."""

    target: str
    known: tuple[KnownRegistration, ...]
    """Newest form of each node's registration, by node."""
    changes: tuple[RegistrationChange, ...]
    """Oldest first."""
    began_at: datetime | None = None
    """Time of the first reading that is remembered: what was registered then was registered before. None: there is
    none yet."""


_FIELDS = ("public_key", "addresses", "region", "endpoint", "ssh_host", "state")


def changed_fields(before: Registration, after: Registration) -> tuple[str, ...]:
    """Name the fields that differ: key, addresses in whatever order, region, hosts, state."""
    return tuple(name for name in _FIELDS if _value(before, name) != _value(after, name))


def _value(item: Registration, name: str) -> object:
    if name == "addresses":
        return frozenset(item.addresses)
    if name == "endpoint" and item.endpoint:
        return item.endpoint.rpartition(":")[0]  # a port changes with each NAT, and says nothing of the node
    return getattr(item, name)
