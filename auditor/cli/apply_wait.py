"""Counts of a wait for observers: one line that is redrawn on a terminal, a few plain lines anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TextIO

from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from auditor.cli import screen
from auditor.cli.progress import PLAIN_PAUSE
from auditor.repair.apply.waiting import PeerWait
from auditor.values.text import for_terminal


def open_counts(print_line: Callable[[str], None]) -> WaitLines | WaitLine:
    """Choose the form for where stderr goes. print_line: prints one line where a log is written."""
    stream = sys.stderr
    if stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb":
        return WaitLine(stream, colour=screen.wants_colour("auto", True, os.environ))
    return WaitLines(print_line)


class WaitLines:
    """Counts as plain lines: the first look, and then one every ten seconds, where something is still missing."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        self._print_line = print_line
        self._next = 0.0

    def show(self, wait: PeerWait) -> None:
        """Print the counts, where a line is due."""
        if wait.waited < self._next:
            return
        self._next = wait.waited + PLAIN_PAUSE
        self._print_line(f"{wait.counts} · {wait.time}")

    def close(self) -> None:
        """End this wait: the next one begins with a line."""
        self._next = 0.0


class WaitLine:
    """Counts as one line of a terminal that is redrawn, and gone at the end. Writes to `stream` alone."""

    def __init__(self, stream: TextIO, *, colour: bool = True, width: int | None = None) -> None:
        self._console = screen.live_console(stream, colour=colour, width=width)
        self._ascii_only = not screen.speaks_unicode(stream)
        self._live: Live | None = None
        self._gone = False
        """The terminal was closed, which is no reason to end what is being done to nodes."""

    def show(self, wait: PeerWait) -> None:
        """Draw the counts in the longest form that fits, with the time; a form that is still too long is cut."""
        if self._gone:
            return
        time = Text(f"{'-' if self._ascii_only else '·'} {wait.time}", "dim")
        room = max(1, self._console.width - time.cell_len - 2)
        forms = [Text(for_terminal(form, ascii_only=self._ascii_only)) for form in wait.forms]
        counts = next((form for form in forms if form.cell_len <= room), forms[-1])
        counts.truncate(room, overflow="ellipsis")
        grid = Table.grid(Column(no_wrap=True), Column(no_wrap=True), padding=(0, 1, 0, 0), pad_edge=False)
        grid.add_row(counts, time)
        try:
            if self._live is None:
                self._live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()
            self._live.update(grid, refresh=True)
        except OSError:
            self._gone = True

    def close(self) -> None:
        """Take the line away."""
        live, self._live = self._live, None
        if live is not None and not self._gone:
            try:
                live.stop()
            except OSError:
                self._gone = True
