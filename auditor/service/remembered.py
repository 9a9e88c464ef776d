"""Memory of alerted sweeps that helps to judge the next look, where there is a state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from auditor.checks.idents import Ident
from auditor.errors import StateError
from auditor.service.alert_state import AlertState, existing_state
from auditor.state import history
from auditor.values.addresses import PublicKey
from auditor.values.models import Memory

MOST_GHOSTS = 10_000
"""Number of standing findings that are read for keys that were alerted."""


def memory_of(state: AlertState) -> Memory:
    """Read the memory from an opened state. Raises `StateError`."""
    standing = history.findings(state.connection, MOST_GHOSTS, standing_only=True)
    ghosts = frozenset(PublicKey(item.subject) for item in standing if item.check == Ident.UNREGISTERED_PEER)
    return replace(state.notifications.memory(), ghosts=ghosts)


def remembered(path: Path, complain: Callable[[str], None]) -> Memory:
    """Read the memory from the state. A state that cannot be read is a complaint, and the memory is empty.

    Only `sweep --alert` and the watch write it; nothing is created here.
    """
    try:
        with existing_state(path) as state:
            return Memory() if state is None else memory_of(state)
    except StateError as error:
        complain(f"{error}; judged without what earlier sweeps saw")
        return Memory()
