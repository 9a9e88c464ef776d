"""State of a watch: the database, and a copy in memory for as long as the database cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from auditor.errors import StateError, UsageError
from auditor.service.alert_state import AlertState, state_of, state_tables
from auditor.state.opening import copied_to_memory, open_store, store_in_memory, written_back
from auditor.state.places import StatePlace, place_name
from auditor.state.state_store import StateStore

T = TypeVar("T")


class WatchState:
    """State that goes on working where its disk is full, read-only or damaged.

    A page is worth more than its memory: what could not be remembered on disk is remembered until the process ends, and
    written back once the database can be used again. It is used by one thread.
    """

    def __init__(self, place: StatePlace, complain: Callable[[str], None]) -> None:
        """Open the database, or begin in memory. complain: told once of each change between the two."""
        self._place, self._complain = place, complain
        self.in_memory = False
        """True: the database cannot be used, and what is remembered ends with this process."""
        self.changed: Callable[[AlertState], None] | None = None
        """Called with the state that is used from now on."""
        try:
            self.current = state_of(open_store(place, state_tables()))
        except StateError as error:
            self.current = state_of(_empty())
            self._in_memory_from_now_on(error)

    def with_it(self, work: Callable[[AlertState], T]) -> T:
        """Do work on the state; where the state fails, on a copy of it in memory, or at last on an empty one.

        The work is whole or not at all: it is done again.
        """
        try:
            return work(self.current)
        except StateError as error:
            self.fail(error)
        try:
            return work(self.current)
        except StateError as error:
            # A record that cannot be read was copied along.
            self._use(_empty())
            self._complain(f"alerts: {error}; begun anew: what stands is told again")
        return work(self.current)

    def fail(self, error: StateError) -> None:
        """Go on in memory after this fault of the database; with what is in memory, if it is used already."""
        if self.in_memory:
            return
        try:
            copy = copied_to_memory(self.current.store)
        except StateError:
            copy = _empty()
        self._use(copy)
        self._in_memory_from_now_on(error)

    def try_again(self) -> None:
        """Go back to the database, with all that was remembered meanwhile, if it can be used."""
        if not self.in_memory:
            return
        try:
            disk = open_store(self._place, state_tables())
        except StateError:
            return  # said when it began
        name = place_name(self._place)
        if not isinstance(self._place, Path):
            # Others may have written there meanwhile, and nothing of theirs is written over.
            words = f"{name} can be used again; what began to stand meanwhile is told again"
        else:
            try:
                for silence in state_of(disk).notifications.silences():
                    with suppress(UsageError):  # it is known here, too
                        self.current.notifications.add_silence(silence)
                written_back(self.current.store, disk)
            except StateError:
                disk.close()
                return
            words = f"{name} can be used again, and holds what was remembered meanwhile"
        self._use(disk)
        self.in_memory = False
        self._complain(f"alerts: {words}")

    def close(self) -> None:
        """Close it; what is in memory alone is gone."""
        self.current.store.close()

    def _in_memory_from_now_on(self, error: StateError) -> None:
        self.in_memory = True
        self._complain(
            f"alerts: {error}; people are told all the same, from memory: after a restart, what stands is told again"
        )

    def _use(self, store: StateStore) -> None:
        before, self.current = self.current, state_of(store)
        before.store.close()
        if self.changed is not None:
            self.changed(self.current)


def _empty() -> StateStore:
    return store_in_memory(state_tables())
