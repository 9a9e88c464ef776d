"""One measured figure, and what it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["at most", "at least"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A median with its range. A ratio is taken run by run, both sides of it in the same run."""

    name: str
    """What was measured, in the issue's words: `client CPU a host, against clush`."""
    unit: str
    """`×` for ratios, `ms`, `MB`, `bytes` …"""
    samples: tuple[float, ...]
    """One value a run, in the order of the runs."""
    target: float | None = None
    """What it should reach; None: told for what it is."""
    kind: Kind = "at most"
    exact: bool = False
    """Whether it is the same on every machine (bytes, texts fetched, objects held), so that CI may judge it."""
    note: str = ""
    """How it was measured, and on what, in a few words."""

    @property
    def median(self) -> float:
        """The middle of the samples."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the target; None where there is none."""
        if self.target is None:
            return None
        return self.median <= self.target if self.kind == "at most" else self.median >= self.target


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot: what something costs at each N."""

    plot: str
    """`CPU`, `bytes` or `memory`: which picture it belongs to."""
    name: str
    """`wgaudit, in the incident`."""
    unit: str
    points: tuple[tuple[int, float], ...]
    """(N, value), by N."""


@dataclass(frozen=True, slots=True)
class Results:
    """What one part of the benchmarks found."""

    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    """Whole sentences for results.md: a target that was missed and the profile that says why."""


class CannotRun(Exception):
    """This machine lacks what a part needs. The text says what, and how to get it."""


Part = Callable[[bool], Results]
"""A part of the benchmarks. The argument says whether the quick form is wanted: exact figures alone."""


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Run by run, ours over theirs."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))
