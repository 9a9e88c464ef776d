"""The report's table on a terminal, redrawn as the fleet changes: whole screens, keys to scroll, `q` to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import ConsoleDimensions, Group
from rich.live import Live
from rich.text import Text

from auditor.cli import screen

RESIZE_LOOK = 0.25
"""Seconds between two looks at the terminal's size."""
_SMALL = ConsoleDimensions(80, 24)
_FRAME = 2  # lines: the head, and the foot
_LINES = {b"j": 1, b"\x1b[B": 1, b"\x1bOB": 1, b"k": -1, b"\x1b[A": -1, b"\x1bOA": -1}
_PAGES = {b" ": 1, b"\x1b[6~": 1, b"b": -1, b"\x1b[5~": -1}
_ENDS = (b"q", b"Q", b"\x04")


@dataclass(frozen=True, slots=True)
class Window:
    """Window on a text of lines that may be longer than the screen."""

    lines: Sequence[str]
    height: int
    """Rows of the screen."""
    first: int = 0

    @property
    def room(self) -> int:
        """Rows for the text."""
        return max(1, self.height - _FRAME)

    def moved(self, by: int) -> Window:
        """Move by so many lines, as far as there is text."""
        last = max(0, len(self.lines) - self.room)
        return Window(self.lines, self.height, min(max(0, self.first + by), last))

    @property
    def visible(self) -> Sequence[str]:
        """Lines in the window."""
        return self.lines[self.first : self.first + self.room]

    @property
    def foot(self) -> str:
        """Line below: what is out of sight, and the keys."""
        below = max(0, len(self.lines) - self.first - self.room)
        hidden = [
            f"{number:,} {where}" for number, where in ((self.first, "above"), (below, "below")) if number
        ]
        return " · ".join([*(["lines: " + ", ".join(hidden), "arrows scroll"] if hidden else []), "q ends"])


class LiveTable:
    """Table on the alternate screen of a terminal. Writes to `stream` alone."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._stream = stream
        self._console = screen.live_console(stream, colour=colour, width=None)
        self._console.size = self._terminal_size()
        self._live = Live(
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._head = ""
        self._window = Window((), 1)
        self._size = _SMALL
        self._gone = False
        """The terminal was closed, which is no reason to break off."""

    @property
    def width(self) -> int:
        """Columns of the terminal now."""
        return self._terminal_size().width

    @property
    def resized(self) -> bool:
        """Tell whether the terminal has another size than what is drawn was made for."""
        return self._terminal_size() != self._size

    def show(self, head: str, text: str) -> None:
        """Draw a text below a head. It was made for `width` columns."""
        self._head = head
        self._console.size = self._size = self._terminal_size()
        lines = text.rstrip("\n").split("\n")
        self._window = Window(lines, self._size.height, self._window.first).moved(0)
        self._draw()

    def press(self, keys: bytes) -> bool:
        """Take what was typed; False: the table is to end."""
        if keys in _ENDS:
            return False
        lines = _LINES.get(keys, 0) + _PAGES.get(keys, 0) * self._window.room
        if lines:
            self._window = self._window.moved(lines)
            self._draw()
        return True

    def _terminal_size(self) -> ConsoleDimensions:
        # rich would ask the standard streams, of which any may lead elsewhere.
        try:
            columns, rows = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return _SMALL  # the terminal was closed
        return ConsoleDimensions(columns or _SMALL.width, rows or _SMALL.height)

    def _draw(self) -> None:
        if self._gone:
            return
        head, foot = Text(self._head, "reverse"), Text(self._window.foot, "dim")
        rows = [Text.from_ansi(line, no_wrap=True, overflow="crop") for line in self._window.visible]
        rows += [Text()] * (self._window.room - len(rows))
        for line in (head, foot):
            line.truncate(max(1, self._size.width), overflow="ellipsis", pad=True)
        try:
            self._live.update(Group(head, *rows, foot), refresh=True)
        except OSError:
            self._gone = True

    def __enter__(self) -> LiveTable:
        """Go to the alternate screen."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Go back: what stood on the terminal stands there again."""
        with contextlib.suppress(OSError):  # the terminal was closed
            self._live.stop()


@contextlib.contextmanager
def keys(pressed: Callable[[bytes], None]) -> Iterator[None]:
    """Hand each key that is typed to `pressed`, inside the loop, without waiting for Enter; none without a terminal."""
    stream = sys.stdin
    if stream is None or not stream.isatty():
        yield
        return
    file, loop = stream.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(file)
    tty.setcbreak(file)

    def read() -> None:
        if typed := os.read(file, 64):
            pressed(typed)
        else:
            loop.remove_reader(file)  # the terminal was closed

    loop.add_reader(file, read)
    try:
        yield
    finally:
        loop.remove_reader(file)
        termios.tcsetattr(file, termios.TCSADRAIN, before)
