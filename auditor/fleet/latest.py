"""The latest state of a snapshot: each node as it was last seen."""

from __future__ import annotations

from dataclasses import replace

from auditor.fleet.fleet import Fleet
from auditor.fleet.registered import Registered
from auditor.values.models import Snapshot


def latest_state(snapshot: Snapshot, registered: Registered | None = None) -> Snapshot:
    """The snapshot with each node as it was last seen, and no second look beside it.

    A node that was not seen again, or in whose place another server answered then, counts as it was first seen.
    `registered`: what a fleet made of the same registrations, so that it is not made again.
    """
    second = snapshot.second_look
    if second is None:
        return snapshot
    again = Fleet(replace(snapshot, observations=second.observations, second_look=None), registered).witnesses
    renewed = {item.node: item for item in again}
    newest = tuple(renewed.get(item.node, item) for item in snapshot.observations)
    return replace(snapshot, observations=newest, second_look=None)
