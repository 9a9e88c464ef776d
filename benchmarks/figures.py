"""Measured figures, with their targets."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its range. A ratio is computed run by run, with both sides from the same run."""

    name: str
    """What was measured: `client CPU a host, against clush`."""
    unit: str
    """`×` for ratios, `ms`, `MB`, `bytes` …"""
    samples: tuple[float, ...]
    """One value per run, in the order of the runs."""
    target: float | None = None
    """The target; None: reported without one."""
    kind: Kind = "at most"
    exact: bool = False
    """Whether it is the same on every machine (bytes, texts fetched, objects held), so that CI may judge it."""
    note: str = ""
    """How and on what it was measured, in a few words."""

    @property
    def median(self) -> float:
        """Return the median of the samples."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None without a target."""
        if self.target is None:
            return None
        return self.median <= self.target if self.kind == "at most" else self.median >= self.target


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot: what something costs at each N."""

    plot: str
    """The picture it belongs to: `CPU`, `bytes` or `memory`."""
    name: str
    """`wgaudit, in the incident`."""
    unit: str
    points: tuple[tuple[int, float], ...]
    """(N, value), by N."""


@dataclass(frozen=True, slots=True)
class Results:
    """Results of one part of the benchmarks."""

    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    """Whole sentences for results.md: a target that was missed and the profile that says why."""


class CannotRun(Exception):
    """Raised if this machine lacks something that a part needs. The text says what, and how to get it."""


Part = Callable[[bool], Results]
"""A part of the benchmarks. Its argument `quick` asks for exact figures only."""


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Return ours divided by theirs, run by run."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))
