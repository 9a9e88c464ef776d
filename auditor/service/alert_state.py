"""State of audit and alerts together: history and notification log in one database.

The library that writes it is loaded where the state is opened, so a sweep that only reads a little does not pay for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from auditor.service.parts import ENVIRONMENT
from auditor.settings.file import Config
from auditor.state import plain_reader
from auditor.state.places import StatePlace, place_name
from auditor.values.guide import INSTALLED, Guide
from auditor.values.stored_values import TableReader

if TYPE_CHECKING:
    from alerts.memory.notification_log import NotificationLog
    from auditor.state.state_store import StateStore, StateTables


def state_place(config: Config) -> StatePlace:
    """Find where the state is. Raises `ConfigError` where its URL cannot be read."""
    return config.state.resolved_url(ENVIRONMENT) if config.state.on_server else config.state.path


class AlertState(NamedTuple):
    """Opened state: `store.transaction()` covers history and notifications alike."""

    store: StateStore
    notifications: NotificationLog


def state_tables() -> StateTables:
    """List the tables of both parts."""
    from alerts.memory import tables
    from auditor.state import audit_tables

    return audit_tables.TABLES, tables.TABLES


def state_of(store: StateStore) -> AlertState:
    """Join history and notification log in an opened store."""
    from alerts.memory.notification_log import NotificationLog

    return AlertState(store, NotificationLog(store))


@contextmanager
def opened_state(place: StatePlace) -> Iterator[AlertState]:
    """Open the state; create it where there is none. Raises `StateError`."""
    from auditor.state.opening import open_store

    with closing(open_store(place, state_tables())) as store:
        yield state_of(store)


@contextmanager
def existing_state(place: StatePlace) -> Iterator[AlertState | None]:
    """Open the state to read it; None where there is none yet. Creates nothing. Raises `StateError`."""
    from auditor.state.opening import open_existing_store

    store = open_existing_store(place, state_tables())
    if store is None:
        yield None
        return
    with closing(store):
        yield state_of(store)


@contextmanager
def state_to_look_at(place: StatePlace) -> Iterator[AlertState]:
    """Open a state that this process holds open elsewhere, to read it in another thread. Raises `StateError`."""
    from auditor.state.opening import store_to_look_at

    with closing(store_to_look_at(place, state_tables())) as store:
        yield state_of(store)


def existing_tables(place: StatePlace) -> AbstractContextManager[TableReader | None]:
    """Open the state to read whole tables of it, at little cost; None where there is none yet. Raises `StateError`."""
    return plain_reader.existing_reader(place, lambda: _existing_store(place))


@contextmanager
def _existing_store(place: StatePlace) -> Iterator[TableReader | None]:
    with existing_state(place) as state:
        yield None if state is None else state.store


def no_state(config: Config, guide: Guide = INSTALLED) -> str:
    """Say that there is no state yet, and which command creates it."""
    name = place_name(state_place(config))
    return f"there is no state database {name} yet: {guide.mention('sweep', '--alert')} makes it"


def has_state(config: Config) -> bool:
    """Tell whether there is a state. Raises `StateError`."""
    with existing_tables(state_place(config)) as tables:
        return tables is not None
