"""The live bar that a sweep shows on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column, Table
from rich.text import Text

from auditor.cli.progress import Clock, duration_words, gap_words

UPDATES_PER_SECOND = 8.0
STALLED = 5.0
"""Seconds without an answer after which no rate and no time left is told: they would be wishes."""
_SHORTEST_BAR = 8


class TerminalProgress:
    """A bar that is redrawn a few times a second and gone at the end. Writes to `stream` alone."""

    def __init__(
        self,
        stream: TextIO,
        *,
        colour: bool = True,
        width: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._gaps = 0
        self._clock = clock
        console = Console(
            file=stream,
            force_terminal=True,
            color_system="standard" if colour else None,
            no_color=not colour,
            width=width,
            legacy_windows=False,
        )
        self._progress = Progress(
            _Line(console),
            console=console,
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
            # rich would send what others print to stdout through its own console, so to stderr.
            redirect_stdout=False,
            redirect_stderr=False,
            get_time=clock,
        )
        self._task = self._progress.add_task("starting", total=None, gaps=0, answered=clock())

    def phase(self, name: str) -> None:
        """A new part of the sweep begins; how many nodes it asks is not known yet."""
        self._gaps = 0
        self._progress.reset(self._task, total=None, description=name, gaps=0, answered=self._clock())
        self._progress.refresh()

    def registered(self, count: int) -> None:
        """So many nodes are going to be asked in this phase."""
        self._progress.update(self._task, total=count)

    def node_done(self, seen: bool) -> None:
        """One more node answered (`seen`) or became a gap."""
        self._gaps += not seen
        self._progress.update(self._task, advance=1, gaps=self._gaps, answered=self._clock())

    def refresh(self) -> None:
        """Draws the bar now; it is drawn several times a second anyway."""
        self._progress.refresh()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _Word(NamedTuple):
    """A part of the line that is left out where there is no room; 0 is the last to go."""

    rank: int
    text: Text


class _Line(ProgressColumn):
    """`nodes ━━━━━━  10/40  2 gaps  41/s  3 s left`: one line, however narrow the terminal is.

    The bar is the first to go: a line that was folded would leave a torn one behind.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._console = console

    def render(self, task: Task) -> Table:
        """The line, as wide as the terminal is now."""
        total = f"{task.total:.0f}" if task.total is not None else "?"
        name = Text(task.description)
        count = Text(f"{task.completed:>{len(total)}.0f}/{total}", "progress.download")
        room = self._console.width - name.cell_len - count.cell_len - 2
        kept: list[_Word] = []
        words = _words(task)
        for word in sorted(words, key=lambda word: word.rank):
            if word.text.cell_len + 2 <= room:
                kept.append(word)
                room -= word.text.cell_len + 2
        cells: list[RenderableType] = [name, count, *(word.text for word in words if word in kept)]
        if room - 2 >= _SHORTEST_BAR:
            cells.insert(1, BarColumn(bar_width=room - 2).render(task))
        grid = Table.grid(*(Column(no_wrap=True) for _ in cells), padding=(0, 2, 0, 0), pad_edge=False)
        grid.add_row(*cells)
        return grid


def _words(task: Task) -> list[_Word]:
    """Gaps, rate and time left, each only where it is known."""
    words: list[_Word] = []
    if task.fields["gaps"]:
        words.append(_Word(0, Text(gap_words(task.fields["gaps"]), "yellow")))
    if not task.total or task.finished:
        return words
    silent = task.get_time() - task.fields["answered"]
    if silent > STALLED:
        # Who answers late may hang until a timeout: nobody knows how long it takes.
        words.append(_Word(1, Text(f"no answer for {duration_words(silent, whole=True)}", "yellow")))
    elif task.completed and task.elapsed:
        rate = task.completed / task.elapsed
        left = (task.total - task.completed) / rate
        words.append(_Word(2, Text(f"{rate:,.0f}/s" if rate >= 1 else f"{rate:.1f}/s")))
        words.append(_Word(1, Text(f"{duration_words(left, whole=True)} left")))
    return words
