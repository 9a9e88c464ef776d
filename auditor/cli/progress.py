"""Progress of a sweep on stderr: a live bar on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from auditor.cli import screen
from auditor.gather.sweep import SweepObserver, Unwatched
from auditor.values.text import count, duration

PLAIN_PAUSE = 10.0
"""Seconds between two plain lines: a log that is mailed by cron should stay short."""
PLAIN_LOOK = 1.0
"""Seconds between two looks at the counts where lines are written."""
LONG_VIEW, SHORT_VIEW = 10.0, 3.0
"""Seconds that a rate is taken over: the long view is steady; the short one is told while a phase is young,
for a fan-out starts slowly, and sees at the end that the long one holds no more."""
STALLED = 5.0
"""Seconds without an answer after which no rate and no time left is told: they would be wishes."""
_DUE = 4.0
"""So many answers overdue at the present rate mean the same, sooner, but not within the first second."""
_ENOUGH = 10.0
"""Answers that the short view must be able to expect before it may doubt the long one."""
_FORESIGHT = 20.0
"""In a young phase no time left is told that is so many times as long as what was seen of it."""
_LATE = 3.0
"""Seconds after which a phase's first gap tells how long it takes to give a node up."""

Clock = Callable[[], float]


class Reading(NamedTuple):
    """How fast it goes now."""

    rate: float = 0.0
    """Nodes a second; 0.0 where that is not what matters."""
    left: float | None = None
    """Seconds until the last node is done; None where that would be a wish."""
    silent: float | None = None
    """Seconds without an answer, where that is what matters."""


class RateMeter:
    """The rate of the last seconds, by looking at the counts now and then; nothing is done for each node.

    A fan-out starts slowly, and nodes that hang are given up together: an average since the start would be
    wrong most of the time. In the end a few are waited for that hang: no rate says how long that takes.
    """

    def __init__(self, now: float) -> None:
        self._began = self._changed = now
        self._looks: deque[tuple[float, int]] = deque(((now, 0),))
        self._giving_up: float | None = None
        """Seconds until the first gap; None before it."""

    def look(self, done: int, gaps: int, total: int, now: float) -> Reading:
        """What to say now, of `total` nodes; `now` in seconds, never going back."""
        if done != self._looks[-1][1]:
            self._changed = now
        if gaps and self._giving_up is None:
            self._giving_up = now - self._began
        self._looks.append((now, done))
        while len(self._looks) > 2 and self._looks[1][0] <= now - LONG_VIEW:
            self._looks.popleft()
        age, silent = now - self._began, now - self._changed
        young = age < LONG_VIEW
        rate = self._rate(SHORT_VIEW if young else LONG_VIEW)
        if silent >= (min(STALLED, max(1.0, _DUE / rate)) if rate else STALLED):
            # Who answers late may hang until a timeout: nobody knows how long it takes.
            return Reading(silent=silent)
        if not rate:
            return Reading()
        left = (total - done) / rate
        if young and left > _FORESIGHT * age:
            return Reading(rate)
        expected = rate * SHORT_VIEW
        if left < STALLED and expected >= _ENOUGH and self._rate(SHORT_VIEW) * 2 < rate:
            return Reading()  # the last few answer more slowly than the thousands before them
        if self._giving_up is not None and self._giving_up > _LATE:
            left += self._giving_up  # among the last asked there will be some that hang, too
        return Reading(rate, left)

    def _rate(self, seconds: float) -> float:
        now, done = self._looks[-1]
        earlier = (look for look in reversed(self._looks) if look[0] <= now - seconds)
        then, before = next(earlier, self._looks[0])
        return (done - before) / (now - then) if now > then else 0.0


class Ticker:
    """Calls `act` every so many seconds while the block runs, from a thread that ends with it."""

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
def watching(*, enabled: bool = True, stream: TextIO | None = None) -> Iterator[SweepObserver]:
    """Shows a sweep's progress on `stream` (default: stderr) while the block runs. Never on stdout."""
    if not enabled:
        yield Unwatched()
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
    """A line at the start, one every ten seconds, and one at the end. Writes to `stream` alone.

    `node_done` only counts; `refresh`, called about once a second, says what is due: also while no node answers.
    """

    def __init__(self, stream: TextIO, *, clock: Clock = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        """Held by whoever begins a phase or looks at it; counting a node needs none."""
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
        """A new part of the sweep begins."""
        with self._lock:
            self._keep_first()
            self._phase, self._phase_began = name, self._clock()
            self._total, self._done, self._gaps = None, 0, 0
            self._pace = RateMeter(self._phase_began)

    def registered(self, count: int) -> None:
        """So many nodes are going to be asked in this phase."""
        self._total = count

    def node_done(self, seen: bool) -> None:
        """One more node answered (`seen`) or became a gap."""
        self._done += 1
        self._gaps += not seen

    def refresh(self) -> None:
        """Says a line if one is due."""
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


def pace_words(reading: Reading, left: int) -> tuple[str, ...]:
    """Rate and time left (`412/s`, `25 s left`), or who is waited for; nothing where nobody is any more."""
    if not left:
        return ()
    if reading.left is not None:
        return (rate_words(reading.rate), left_words(reading.left))
    if reading.rate:
        return (rate_words(reading.rate),)
    waiting = f"waiting for {count(left, 'node')}"
    if reading.silent is None:
        return (waiting,)
    return (waiting, f"no answer for {duration(reading.silent // 1, whole=True)}")


def rate_words(rate: float) -> str:
    """`412/s`; where it is slow, `0.4/s`."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"


def left_words(seconds: float) -> str:
    """`25 s left`: rounded up, for what is left is never nothing."""
    return f"{duration(max(1, math.ceil(seconds)), whole=True)} left"
