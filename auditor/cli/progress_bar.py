"""Live bar of a sweep's progress on a terminal."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from auditor.cli import screen
from auditor.cli.rates import Clock, RateMeter, Reading, pace_words
from auditor.values.text import count, duration, for_log

PAUSE = 0.125
"""Seconds between two looks at the count: the bar is drawn eight times a second at most."""
_SETTLED = 0.5
"""Seconds that a rate and a time left stand: figures that change eight times a second cannot be read."""
_SHORTEST_BAR = 8


class TerminalProgress:
    """Progress as a bar that is redrawn a few times a second, where it changed, and gone at the end.

    Writes to `stream` alone. `node_done` only counts; `refresh`, called every `PAUSE` seconds, draws.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        colour: bool = True,
        width: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        """Lock for beginning and drawing a phase; counting a node needs none."""
        self._console = screen.live_console(stream, colour=colour, width=width)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # rich would send what others print to stdout through its own console, so to stderr.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._drawn: tuple[_ProgressColumn, int] | None = None
        self._gone = False
        """True: the terminal was closed, which is no reason to end a sweep."""
        self._began = self._clock()
        self._phase = "starting"
        self._total: int | None = None
        self._done = self._gaps = 0
        self._pace = RateMeter(self._began)
        self._reading: Reading | None = None
        self._read_at = self._began

    def phase(self, name: str) -> None:
        """Begin a new part of the sweep; the number of nodes that it asks is not known yet."""
        with self._lock:
            self._phase, self._began = name, self._clock()
            self._total, self._done, self._gaps = None, 0, 0
            self._pace, self._reading = RateMeter(self._began), None

    def registered(self, count: int) -> None:
        """Take the number of nodes that this phase asks."""
        self._total = count

    def node_done(self, seen: bool) -> None:
        """Count one more node that answered (`seen`) or became a gap."""
        self._done += 1
        self._gaps += not seen

    def complain(self, line: str) -> None:
        """Print one line above the bar."""
        if self._gone:
            return
        try:
            self._console.print(Text(f"wgaudit: {for_log(line)}"), soft_wrap=True, highlight=False)
        except OSError:
            self._gone = True

    def refresh(self) -> None:
        """Draw the bar, where it changed."""
        with self._lock:
            line = self._line()
        # Drawn without the lock: a terminal that takes nothing (Ctrl-S) must not hold the sweep up.
        width = self._console.width
        if self._gone or (line, width) == self._drawn:
            return
        self._drawn = line, width
        try:
            self._live.update(_grid(line, width), refresh=True)
        except OSError:
            self._gone = True

    def _line(self) -> _ProgressColumn:
        now, total, done, gaps = self._clock(), self._total, self._done, self._gaps
        if total is None:
            return _ProgressColumn(self._phase, None, 0, 0, _since(now - self._began))
        reading = self._pace.look(done, gaps, total, now)
        if self._reading is None or now - self._read_at >= _SETTLED:
            self._reading, self._read_at = reading, now
        return _ProgressColumn(self._phase, total, done, gaps, _pace(self._reading, total - done))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._live.stop()
        except OSError:
            self._gone = True


class _Word(NamedTuple):
    """Part of the line that is left out where there is no room; 0 is the last to go."""

    rank: int
    text: str
    style: str = ""


class _ProgressColumn(NamedTuple):
    """Content of the line: drawn again only where it differs."""

    phase: str
    total: int | None
    done: int
    gaps: int
    words: tuple[_Word, ...]


def _since(seconds: float) -> tuple[_Word, ...]:
    """Word the time of a phase that asks no nodes, to show that it goes on."""
    return (_Word(1, f"for {duration(seconds // 1, whole=True)}"),) if seconds >= 1 else ()


def _pace(reading: Reading, left: int) -> tuple[_Word, ...]:
    """Word rate and time left, or the nodes waited for and since when: the second word is the last to go."""
    style = "yellow" if reading.silent is not None else ""
    words = pace_words(reading, left)
    return tuple(_Word(2 - index, word, style if index else "") for index, word in enumerate(words))


def _grid(line: _ProgressColumn, width: int) -> Table:
    """Lay out `nodes ━━━━━━  10/40  2 gaps  41/s  3 s left` in one line, however narrow the terminal is.

    The bar is the first to go: a line that was folded would leave a torn one behind.
    """
    name, done = Text(line.phase), Text()
    if line.total is not None:
        total = f"{line.total:,}"
        done = Text(f"{line.done:>{len(total)},}/{total}", "progress.download")
    room = width - name.cell_len - done.cell_len - 2
    if room < 0:
        done = Text(str(done).lstrip(), done.style)
        name.truncate(max(1, width - done.cell_len - 2), overflow="ellipsis")
    cells: list[RenderableType] = [name, done] if done else [name]
    words = list(line.words)
    if line.gaps:
        words.insert(0, _Word(0, count(line.gaps, "gap"), "yellow"))
    kept: set[_Word] = set()
    for word in sorted(words, key=lambda word: word.rank):
        if len(word.text) + 2 <= room:
            kept.add(word)
            room -= len(word.text) + 2
    cells += [Text(word.text, word.style) for word in words if word in kept]
    if line.total is not None and room - 2 >= _SHORTEST_BAR:
        drawn = ProgressBar(max(1, line.total), line.done, width=room - 2)
        cells.insert(1, drawn)
    grid = Table.grid(*(Column(no_wrap=True) for _ in cells), padding=(0, 2, 0, 0), pad_edge=False)
    grid.add_row(*cells)
    return grid
