"""Health of the audit itself, from the state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from alerts.memory.notices import Row, State
from auditor.errors import StateError
from auditor.reports.audit_health import AuditHealth
from auditor.service.alert_state import AlertState, existing_state
from auditor.state import history
from auditor.state.places import StatePlace
from auditor.values.leaders import Leader


def health_in(state: AlertState) -> AuditHealth:
    """Read the health from an opened state. Raises `StateError`."""
    return health_with(state, state.notifications.undelivered())


def health_with(state: AlertState, undelivered: Iterable[Row]) -> AuditHealth:
    """Read the health from an opened state whose undelivered notifications are at hand. Raises `StateError`."""
    counted = Counter(row.state for row in undelivered)
    return AuditHealth(
        state_readable=True,
        last_clean_at=history.last_clean(state.store),
        waiting=counted[State.PENDING],
        refused=counted[State.DEAD],
    )


def shared_health(health: AuditHealth, state: AlertState, leader: Leader) -> AuditHealth:
    """Add to the health what there is to say where several auditors share the state. Raises `StateError`."""
    return replace(health, leader=leader, perhaps_twice=state.notifications.perhaps_twice())


def health_of(place: StatePlace, complain: Callable[[str], None]) -> AuditHealth:
    """Read the health from the state, if there is one. Creates nothing; an unreadable state is a complaint."""
    try:
        with existing_state(place) as state:
            return AuditHealth() if state is None else health_in(state)
    except StateError as error:
        complain(f"{error}; the metrics are without what it says")
        return AuditHealth(state_readable=False)
