"""Progress of a sweep on stderr: a live bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO

from auditor.cli import screen
from auditor.sweep import SweepObserver, Unwatched

PLAIN_PAUSE = 10.0
"""Seconds between two plain lines: a log that is mailed by cron should stay short."""

Clock = Callable[[], float]


@contextmanager
def watching(*, enabled: bool = True, stream: TextIO | None = None) -> Iterator[SweepObserver]:
    """Shows a sweep's progress on `stream` (default: stderr) while the block runs. Never on stdout."""
    if not enabled:
        yield Unwatched()
        return
    target = stream or sys.stderr
    if target.isatty() and os.environ.get("TERM") != "dumb":
        # Only a terminal needs the bar, and it is slow to import.
        from auditor.cli.progress_bar import TerminalProgress

        with TerminalProgress(target, colour=screen.wants_colour("auto", True, os.environ)) as bar:
            yield bar
    else:
        with PlainProgress(target) as lines:
            yield lines


class PlainProgress:
    """A line at the start, one at most every ten seconds, and one at the end. Writes to `stream` alone."""

    def __init__(self, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._started = self._said = clock()
        self._phase_began = self._started
        self._phase = "starting"
        self._total: int | None = None
        self._done = self._gaps = 0
        self._first: tuple[int, int] | None = None
        """Nodes seen and nodes asked in the first round, which is the one that covers the fleet."""

    def phase(self, name: str) -> None:
        """A new part of the sweep begins."""
        self._keep_first()
        self._phase, self._phase_began = name, self._clock()
        self._total, self._done, self._gaps = None, 0, 0
        self._say_if_due()

    def registered(self, count: int) -> None:
        """So many nodes are going to be asked in this phase."""
        self._total = count
        self._say_if_due()

    def node_done(self, seen: bool) -> None:
        """One more node answered (`seen`) or became a gap."""
        self._done += 1
        self._gaps += not seen
        self._say_if_due()

    def __enter__(self) -> Self:
        self._started = self._said = self._phase_began = self._clock()
        self._write("sweep started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep_first()
        took = duration_words(self._clock() - self._started)
        seen, total = self._first or (0, 0)
        ended = "sweep ended" if kind is None else "sweep broke off"
        self._write(f"{ended} after {took}: {seen:,} of {total:,} nodes seen")

    def _keep_first(self) -> None:
        if self._first is None and self._total is not None:
            self._first = (self._done - self._gaps, self._total)

    def _say_if_due(self) -> None:
        now = self._clock()
        if now - self._said < PLAIN_PAUSE:
            return
        self._said = now
        words = [self._phase]
        if self._total is not None:
            words.append(f"{self._done:,} of {self._total:,} nodes")
            words.append(gap_words(self._gaps))
            rate = self._done / max(now - self._phase_began, 0.001)
            if rate:
                words.append(f"{rate:,.1f}/s")
                words.append(f"about {duration_words((self._total - self._done) / rate, whole=True)} left")
        self._write(", ".join(words))

    def _write(self, text: str) -> None:
        self._stream.write(f"wgaudit: {text}\n")
        self._stream.flush()


def gap_words(count: int) -> str:
    """`1 gap`, `2 gaps`."""
    return "1 gap" if count == 1 else f"{count:,} gaps"


def duration_words(seconds: float, *, whole: bool = False) -> str:
    """A time to be read at a glance: `3.2 s`, `45 s`, `12 min`, `2.1 h`. `whole` for estimates: `3 s`."""
    if seconds < 120:
        return f"{seconds:.0f} s" if whole or seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
