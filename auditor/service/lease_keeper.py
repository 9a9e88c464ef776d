"""Keeper of the lease: asks for it again and again beside all else, and knows whether this auditor tells people."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from auditor.errors import NotLeading, StateError
from auditor.service.alert_state import state_tables
from auditor.state.leadership import Leadership, LeaseRow
from auditor.state.lease import BegunTransaction, Lease, guard
from auditor.state.opening import open_store
from auditor.state.places import StatePlace
from auditor.values.leaders import Leader, TellingRole

SHORTEST_WAIT = 0.2
"""Seconds for which an answer of the database is waited for, at least."""


def holder_name() -> str:
    """Name this process for the other auditors' people."""
    return f"{socket.gethostname()[:64]}, process {os.getpid()}"


class LeaseKeeper:
    """Keeper of one auditor's lease, inside one event loop. Open it, and close it."""

    def __init__(self, place: StatePlace, seconds: float, turned: Callable[[], None]) -> None:
        """seconds: length of the lease. turned: called after each answer, and when one fails to come."""
        self._told, self._seconds = turned, seconds
        self._news = asyncio.Event()
        now = monotonic()
        self._knowledge = Leadership(seconds, awake_since=now, turned_at=now)
        self.within = max(self._knowledge.beat, SHORTEST_WAIT)
        """Seconds for which anything of the database is waited for."""
        self._lease = Lease(lambda: open_store(place, state_tables(), self.within), holder_name(), seconds)
        self._keeping: asyncio.Task[None] | None = None
        self.takes = True
        """False: a lease that is over is left to others."""

    @property
    def leader(self) -> Leader:
        """Who leads, and this auditor's role."""
        return self._knowledge.leader(monotonic())

    @property
    def role(self) -> TellingRole:
        """Role of this auditor now."""
        return self._knowledge.role(monotonic())

    @property
    def epoch(self) -> int | None:
        """Epoch that this auditor holds, as far as it knows; None: it holds none."""
        return self._knowledge.epoch

    @property
    def row(self) -> LeaseRow:
        """Lease as the database last had it."""
        return self._knowledge.row

    @property
    def answers(self) -> bool:
        """Tell whether the database answered when it was last asked."""
        return not self._knowledge.failed

    def answers_since(self, at: float) -> bool:
        """Tell whether the database answers, and did so to something that it was asked after this time."""
        return self.answers and self._knowledge.answered_at > at

    @property
    def tells(self) -> bool:
        """Tell whether this auditor is to tell people now."""
        return self.role is not TellingRole.FOLLOWS

    async def open(self) -> None:
        """Ask for the lease once, and begin to keep it."""
        await self.ask()
        self._keeping = asyncio.create_task(self._keep(), name="lease")

    async def close(self) -> None:
        """Give the lease back, if it is held, so that another auditor goes on at once."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if (epoch := self._knowledge.epoch) is not None and self.answers:
            with suppress(StateError, TimeoutError):  # it ends by itself, some seconds later
                await asyncio.wait_for(asyncio.to_thread(self._lease.release, epoch), self.within)
        self._knowledge = self._knowledge.lost()
        self._lease.close()

    def begin(self, transaction: BegunTransaction) -> None:
        """Begin a transaction under this auditor's epoch. Raises `NotLeading` where it tells nobody."""
        epoch = self._knowledge.epoch
        if epoch is None:
            raise NotLeading
        try:
            asked_at = guard(epoch, self._seconds)(transaction)
        except NotLeading:
            self._knowledge = self._knowledge.lost()
            self._turned()
            raise
        self._knowledge = self._knowledge.renewed(asked_at)

    async def wait_to_lead(self, within: float) -> None:
        """Wait until this auditor leads, or nobody can be asked; for so many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self.role is TellingRole.FOLLOWS and self.answers:
                    self._news.clear()
                    await self._news.wait()

    async def ask(self) -> None:
        """Ask for the lease, or renew it; note what the database says, or that it does not answer in time."""
        await self._answer(asyncio.ensure_future(self._asking()), monotonic())

    async def _asking(self) -> tuple[LeaseRow, bool]:
        return await asyncio.to_thread(self._lease.ask, self._knowledge.epoch, take=self.takes)

    async def _answer(self, asking: asyncio.Future[tuple[LeaseRow, bool]], asked_at: float) -> None:
        """Wait for an answer, turn by turn, to its end: a second question would only queue up behind it."""
        noted = False
        while True:
            done, _ = await asyncio.wait({asking}, timeout=self._knowledge.turn)
            now = monotonic()
            self._knowledge = self._knowledge.turned(now)
            if done:
                break
            if now - asked_at > self.within and not noted:
                noted = True
                self._silent()
        try:
            row, holds = asking.result()
        except StateError:
            self._silent()
        else:
            self._knowledge = self._knowledge.answered(row, asked_at, holds=holds)
            self._turned()

    def _turned(self) -> None:
        self._news.set()
        self._told()

    def _silent(self) -> None:
        self._knowledge = self._knowledge.silent()
        self._turned()

    async def _keep(self) -> None:
        while True:
            until = monotonic() + self._knowledge.next_beat(monotonic())
            while (left := until - monotonic()) > 0:
                await asyncio.sleep(min(left, self._knowledge.turn))
                self._knowledge = self._knowledge.turned(monotonic())
                self._turned()
            await self.ask()
