"""State that two auditors share: the database, and this auditor's copy of it while the database is away."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import TypeVar

from alerts.memory.mirror import Mirror, stamp_of
from alerts.memory.mirrored_log import MirroredLog
from auditor.errors import NotLeading, StateError
from auditor.service.alert_planning import REMEMBERED, now
from auditor.service.alert_state import AlertState, state_of, state_tables
from auditor.service.lease_keeper import LeaseKeeper
from auditor.state.lease import BegunTransaction, hold_leader
from auditor.state.opening import open_store, store_in_memory
from auditor.state.places import StatePlace, place_name
from auditor.state.state_store import StateStore

T = TypeVar("T")

PAUSE = 10.0
"""Seconds before a database that answers and cannot be used is tried again."""
COPIED: timedelta = REMEMBERED
"""Age up to which notifications are copied, whatever became of them."""


class SharedState:
    """State in a database that others write, too. Used by one thread; nothing is written but under the lease.

    A copy of alerting's memory is kept at hand. While the database is away, this auditor goes on with it; when it is
    back, what was told meanwhile is brought there, and nothing of another auditor's is overwritten.
    """

    def __init__(self, place: StatePlace, keeper: LeaseKeeper, complain: Callable[[str], None]) -> None:
        """Open the database, or begin in memory. complain: told once of each change between the two."""
        self._place, self._keeper, self._complain = place, keeper, complain
        self.in_memory = False
        """True: the database cannot be used, and what is remembered ends with this process."""
        self.changed: Callable[[AlertState], None] | None = None
        """Called with the state that is used from now on."""
        self._written = False
        self._failed_at = -math.inf
        self._memory, self._mirror = self._emptied()
        try:
            self.current = self._opened()
        except StateError as error:
            self.current = self._memory
            self._in_memory_from_now_on(error)
            return
        self._renew_or_fail()

    def with_it(self, work: Callable[[AlertState], T]) -> T:
        """Do work on the state; where the database fails, on the copy in memory, or at last on an empty one.

        The work is whole or not at all: it is done again. Raises `NotLeading` where it writes, and another one leads.
        """
        try:
            result = work(self.current)
            if self._written and not self.in_memory:
                self._renew()
        except StateError as error:
            self.fail(error)
        else:
            return result
        try:
            return work(self.current)
        except StateError as error:
            # A record that cannot be read was copied along.
            self._memory, self._mirror = self._emptied()
            self._use(self._memory)
            self._complain(f"alerts: {error}; begun anew: what stands is told again")
        return work(self.current)

    def fail(self, error: StateError) -> None:
        """Go on in memory after this fault of the database."""
        if not self.in_memory:
            before = self.current
            self._mirror.begin_alone()
            self._use(self._memory)
            before.store.close()
            self._in_memory_from_now_on(error)

    def follow(self) -> None:
        """Copy what another auditor has told since the memory was last copied."""
        if self.in_memory:
            return
        try:
            if self._mirror.stamp != stamp_of(self.current.store):
                self._renew()
        except StateError as error:
            self.fail(error)

    def forget_copy(self) -> None:
        """Copy the memory anew when the other auditor is next followed: what stands in it is not to be trusted."""
        self._mirror.stamp = None

    @property
    def may_be_back(self) -> bool:
        """True: the database is away for this auditor, and has answered since."""
        return self.in_memory and self._keeper.answers_since(self._failed_at)

    def try_again(self) -> None:
        """Go back to the database, with what was told meanwhile, if it can be used."""
        try:
            disk = self._opened()
        except StateError:
            self._failed_at = monotonic() + PAUSE
            return  # said when it began
        leads = self._keeper.epoch is not None
        try:
            # Facts are written by whoever knows them; plans by the one who leads.
            disk.store.begun = self._begin if leads else hold_leader
            self._mirror.bring_back(disk.store, plans=leads)
            disk.store.begun = self._begin
            self._renew(disk.store)
        except BaseException as error:
            disk.store.close()
            if isinstance(error, NotLeading):
                return  # which the next turn knows
            self._failed_at = monotonic() + PAUSE
            if isinstance(error, StateError):
                return
            raise
        self.in_memory = False
        self._use(disk)
        self._complain(
            f"alerts: {place_name(self._place)} can be used again, and holds what was told meanwhile"
        )

    def close(self) -> None:
        """Close it; what is in memory alone is gone."""
        self.current.store.close()
        self._memory.store.close()

    # -- inside

    def _opened(self) -> AlertState:
        store = open_store(self._place, state_tables(), self._keeper.within)
        store.begun = self._begin
        return AlertState(store, MirroredLog(store, self._memory.store))

    def _begin(self, transaction: BegunTransaction) -> None:
        self._keeper.begin(transaction)
        self._written = True

    def _renew_or_fail(self) -> None:
        try:
            self._renew()
        except StateError as error:
            self.fail(error)

    def _renew(self, source: StateStore | None = None) -> None:
        self._mirror.renew(source or self.current.store, now() - COPIED)
        self._written = False

    def _emptied(self) -> tuple[AlertState, Mirror]:
        memory = state_of(store_in_memory(state_tables()))
        return memory, Mirror(memory.store)

    def _in_memory_from_now_on(self, error: StateError) -> None:
        self.in_memory, self._failed_at = True, monotonic()
        self._complain(f"alerts: {error}; goes on from memory, and tells people all the same where it has to")

    def _use(self, state: AlertState) -> None:
        self.current = state
        if self.changed is not None:
            self.changed(state)
