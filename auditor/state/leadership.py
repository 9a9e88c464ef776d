"""PURE: what an auditor knows of the lease by which one of several tells people, and its role by that.

The database alone decides who leads, by its own clock. What stands here says what to do until it is asked again. All
times are seconds of the auditor's own steady clock, which counts on while the process is frozen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from auditor.values.leaders import Leader, TellingRole

BEATS = 3
"""Number of times that the lease is renewed within its length."""
SOON = 1.0
"""Seconds until a lease that is over, and could not be taken, is asked for again."""
LATE = 2.0
"""Number of turns of its keeper that an auditor must have missed to have been frozen."""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """Lease as the database has it."""

    holder: str
    epoch: int
    left: float
    """Seconds until it ends; 0 or less: it is over."""
    clock_ahead: float = 0.0
    """Seconds by which this machine's clock is ahead of the server's, for certain; negative: behind."""


@dataclass(frozen=True, slots=True)
class Leadership:
    """Knowledge of the lease, and of whether the database answers."""

    seconds: float
    """Length of a lease."""
    awake_since: float
    """Time since when this process runs without having been frozen."""
    turned_at: float
    """Time of its keeper's last turn."""
    answered_at: float = -math.inf
    """Time when that was asked which was answered last."""
    failed: bool = False
    """True: the database was asked since it last answered, and did not answer."""
    epoch: int | None = None
    """Epoch that this auditor holds, as far as it knows; None: it holds none."""
    until: float = -math.inf
    """Time until which that one lasts for certain."""
    row: LeaseRow = LeaseRow("", 0, 0.0)
    """Lease as the database last had it."""
    row_at: float = -math.inf
    """Time when it had it so."""

    @property
    def beat(self) -> float:
        """Seconds between two renewals, and for which an answer is waited for."""
        return self.seconds / BEATS

    @property
    def turn(self) -> float:
        """Seconds between two turns of the keeper."""
        return self.beat / 2

    def turned(self, now: float) -> Leadership:
        """Note a turn of the keeper. One that comes late was frozen: what it knew before says nothing of silence."""
        if self._frozen(now):
            return replace(self, turned_at=now, awake_since=now, failed=False)
        return replace(self, turned_at=now)

    def answered(self, row: LeaseRow, asked_at: float, *, holds: bool) -> Leadership:
        """Note an answer. asked_at: time before it was asked for. holds: whether the lease is this auditor's."""
        return replace(
            self,
            answered_at=asked_at,
            failed=False,
            epoch=row.epoch if holds else None,
            until=asked_at + self.seconds if holds else -math.inf,
            row=row,
            row_at=asked_at,
        )

    def renewed(self, asked_at: float) -> Leadership:
        """Note that a transaction under this auditor's epoch was begun, which renews the lease."""
        until = max(self.until, asked_at + self.seconds)
        return replace(self, until=until, answered_at=max(self.answered_at, asked_at), failed=False)

    def silent(self) -> Leadership:
        """Note that the database did not answer."""
        return replace(self, failed=True)

    def lost(self) -> Leadership:
        """Note that the database knows of a newer epoch, or that the lease is over."""
        return replace(self, epoch=None, until=-math.inf)

    def role(self, now: float) -> TellingRole:
        """Tell what this auditor is to do now."""
        if self.epoch is not None and now < self.until:
            return TellingRole.LEADS
        # Whoever was frozen has heard nothing for long, and is not cut off for that: it asks first.
        awake_since = now if self._frozen(now) else self.awake_since
        if self.failed and now - max(self.answered_at, awake_since) >= self.seconds:
            return TellingRole.ALONE
        return TellingRole.FOLLOWS

    def leader(self, now: float) -> Leader:
        """Return who leads, for people."""
        return Leader(self.role(now), self.row.holder, self.row.epoch)

    def next_beat(self, now: float) -> float:
        """Return the seconds until the database is to be asked again: a lease that ends is taken at once."""
        if self.epoch is not None or self.failed:
            return self.beat
        ends = self.row_at + self.row.left - now
        return min(ends if ends > 0 else SOON, self.beat)

    def _frozen(self, now: float) -> bool:
        return now - self.turned_at > LATE * self.beat
