"""Memory of alerted sweeps that helps to judge the next look, where there is a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from auditor.checks.idents import Ident
from auditor.errors import StateError
from auditor.service.alert_state import AlertState, existing_state
from auditor.state import history
from auditor.values.addresses import PublicKey
from auditor.values.models import Memory

MOST_GHOSTS = 10_000
"""Number of standing findings that are read for keys that were alerted."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """Memory of alerted sweeps for the next look."""

    memory: Memory = field(default_factory=Memory)
    datacenters: frozenset[str] = frozenset()
    """Those that were read whole."""


def remembered_in(state: AlertState) -> Remembered:
    """Read the memory from an opened state. Raises `StateError`."""
    standing = history.findings(state.connection, MOST_GHOSTS, standing_only=True)
    ghosts = frozenset(PublicKey(item.subject) for item in standing if item.check == Ident.UNREGISTERED_PEER)
    return Remembered(
        replace(state.notifications.memory(), ghosts=ghosts),
        frozenset(state.notifications.log().datacenters),
    )


def remembered(path: Path, complain: Callable[[str], None]) -> Remembered:
    """Read the memory from the state. A state that cannot be read is a complaint, and the memory is empty.

    Only `sweep --alert` and the watch write it; nothing is created here.
    """
    try:
        with existing_state(path) as state:
            return Remembered() if state is None else remembered_in(state)
    except StateError as error:
        complain(
            f"{error}; judged without what earlier sweeps saw; a datacenter that has left Consul's list is not missed"
        )
        return Remembered()
