"""The live bar that a sweep shows on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from auditor.cli.progress import Clock, duration_words, gap_words

UPDATES_PER_SECOND = 8.0


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
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Tail(),
            console=Console(
                file=stream,
                force_terminal=True,
                color_system="standard" if colour else None,
                no_color=not colour,
                width=width,
                legacy_windows=False,
            ),
            refresh_per_second=UPDATES_PER_SECOND,
            transient=True,
            # rich would send what others print to stdout through its own console, so to stderr.
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
            get_time=clock,
        )
        self._task = self._progress.add_task("starting", total=None, gaps=0)

    def phase(self, name: str) -> None:
        """A new part of the sweep begins; how many nodes it asks is not known yet."""
        self._gaps = 0
        self._progress.reset(self._task, total=None, description=name, gaps=0)
        self._progress.refresh()

    def registered(self, count: int) -> None:
        """So many nodes are going to be asked in this phase."""
        self._progress.update(self._task, total=count)

    def node_done(self, seen: bool) -> None:
        """One more node answered (`seen`) or became a gap."""
        self._gaps += not seen
        self._progress.update(self._task, advance=1, gaps=self._gaps)

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


class _Tail(ProgressColumn):
    """`2 gaps  41/s  3 s left`, each only where it is known."""

    def render(self, task: Task) -> Text:
        words = Text()
        gaps = task.fields["gaps"]
        if gaps:
            words.append(gap_words(gaps), "yellow").append("  ")
        if task.total is not None and task.speed:
            words.append(f"{task.speed:,.0f}/s" if task.speed >= 1 else f"{task.speed:.1f}/s")
            if task.time_remaining:
                words.append(f"  {duration_words(task.time_remaining, whole=True)} left")
        return words
