"""Progress of a sweep on stderr: a live bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO

from auditor.cli import screen
from auditor.cli.rates import Clock, RateMeter, pace_words
from auditor.cli.running import StderrObserver
from auditor.service.observer import ServiceObserver
from auditor.values.text import count, duration, for_log

PLAIN_PAUSE = 10.0
"""Seconds between two plain lines: a log that is mailed by cron should stay short."""
PLAIN_LOOK = 1.0
"""Seconds between two looks at the counts where lines are written."""


class Ticker:
    """Timer that calls `act` every so many seconds while the block runs, from a thread that ends with it."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self._seconds = seconds
        self._act = act
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="wgaudit-progress")

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            self._act()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def watching(*, enabled: bool = True, stream: TextIO | None = None) -> Iterator[ServiceObserver]:
    """Show a sweep's progress on `stream` (default: stderr) while the block runs. Never on stdout."""
    if not enabled:
        yield StderrObserver()
        return
    target = stream or sys.stderr
    watcher: PlainProgress | TerminalProgress
    if target.isatty() and os.environ.get("TERM") != "dumb":
        # Only a terminal needs the bar, and it is slow to import.
        from auditor.cli.progress_bar import PAUSE, TerminalProgress

        pause = PAUSE
        watcher = TerminalProgress(target, colour=screen.wants_colour("auto", True, os.environ))
    else:
        pause, watcher = PLAIN_LOOK, PlainProgress(target)
    # The beat ends first: nothing is drawn after the last word.
    with watcher, Ticker(pause, watcher.refresh):
        yield watcher


class PlainProgress:
    """Progress as lines: one at the start, one every ten seconds, and one at the end. Writes to `stream` alone.

    `node_done` only counts; `refresh`, called about once a second, prints a due line: also while no node answers.
    """

    def __init__(self, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        """Lock for beginning and drawing a phase; counting a node needs none."""
        self._started = self._said = self._phase_began = clock()
        self._pace = RateMeter(self._started)
        self._phase = "starting"
        self._total: int | None = None
        self._done = self._gaps = 0
        self._first: tuple[int, int] | None = None
        """Nodes seen and nodes asked in the first round, which is the one that covers the fleet."""
        self._unread = False
        """Nobody reads the stream any more: that is no reason to end a sweep."""

    def phase(self, name: str) -> None:
        """Begin a new part of the sweep."""
        with self._lock:
            self._keep_first()
            self._phase, self._phase_began = name, self._clock()
            self._total, self._done, self._gaps = None, 0, 0
            self._pace = RateMeter(self._phase_began)

    def registered(self, count: int) -> None:
        """Take the number of nodes that this phase asks."""
        self._total = count

    def node_done(self, seen: bool) -> None:
        """Count one more node that answered (`seen`) or became a gap."""
        self._done += 1
        self._gaps += not seen

    def complain(self, line: str) -> None:
        """Write one line at once."""
        self._write(for_log(line))

    def refresh(self) -> None:
        """Print a line if one is due."""
        with self._lock:
            now = self._clock()
            words = self._words(now)
        # Said without the lock: a pipe that nobody reads must not hold the sweep up.
        if now - self._said >= PLAIN_PAUSE:
            self._said = now
            self._write(", ".join(words))

    def _words(self, now: float) -> list[str]:
        total, done = self._total, self._done
        if total is None:
            return [self._phase, f"for {duration(now - self._phase_began, whole=True)}"]
        gaps = self._gaps
        reading = self._pace.look(done, gaps, total, now)
        counted = [f"{done:,} of {total:,} nodes", count(gaps, "gap")]
        return [self._phase, *counted, *pace_words(reading, total - done)]

    def __enter__(self) -> Self:
        self._started = self._said = self._phase_began = self._clock()
        self._write("sweep started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keep_first()
        took = duration(self._clock() - self._started)
        seen, total = self._first or (0, 0)
        ended = "sweep ended" if kind is None else "sweep broke off"
        self._write(f"{ended} after {took}: {seen:,} of {total:,} nodes seen")

    def _keep_first(self) -> None:
        if self._first is None and self._total is not None:
            self._first = (self._done - self._gaps, self._total)

    def _write(self, text: str) -> None:
        if self._unread:
            return
        try:
            self._stream.write(f"wgaudit: {text}\n")
            self._stream.flush()
        except OSError:
            self._unread = True
