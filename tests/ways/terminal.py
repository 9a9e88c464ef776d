"""Terminal of 80 columns in which a test runs commands and types answers, as a person would see them."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyte
from rich.cells import cell_len

from tests.cli.command import clean_environment
from tests.cli.warm_start import starter

COLUMNS, LINES = 80, 50


class Shown(NamedTuple):
    """What a command left on the screen, and its exit code."""

    code: int
    lines: list[str]
    """All lines from the first, those that scrolled away included, without trailing blanks."""
    too_wide: list[str]
    """Lines that the program wrote beyond the last column, and the terminal broke."""
    written: str
    """All that was written, escape sequences included."""

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


def at_a_terminal(
    *words: str | Path,
    folder: Path,
    answers: Sequence[tuple[str, str]] = (),
    environment: Mapping[str, str] | None = None,
    seconds: float = 150,
) -> Shown:
    """Run `wgaudit` in a pseudo-terminal, its home in `folder`; fails where it does not end in `seconds`.

    A process of its own, forked from one that has started already: see `warm_start`.

    answers: the end of a text that asks, and what is typed then; in this order.
    """
    screen = pyte.HistoryScreen(COLUMNS, LINES, history=100_000, ratio=1)
    stream = pyte.ByteStream(screen)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    variables = {"TERM": "xterm-256color", **clean_environment(folder, environment)}
    waiting, written, answered_at = list(answers), b"", -1
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(1) as runs, os.fdopen(ours, "rb", buffering=0):
        with os.fdopen(theirs, "r+b", buffering=0) as file:
            files = (file, file, file)
            running = runs.submit(
                starter().run, list(map(str, words)), folder, variables, files, within=seconds
            )
            # From its first word on the command has the other end itself, so that ours sees when it ends.
            while not running.done() and not select.select([ours], [], [], 0.05)[0]:
                pass
        while chunk := _read(ours, end):
            written += chunk
            stream.feed(chunk)
            row = len(screen.history.top) + screen.cursor.y
            if waiting and row != answered_at and _asks(screen, waiting[0][0]):
                os.write(ours, f"{waiting.pop(0)[1]}\n".encode())
                answered_at = row
        try:
            code = running.result()
        except AssertionError as error:
            raise AssertionError(f"{error}:\n" + "\n".join(_lines(screen))) from None
    assert not waiting, f"never asked: {waiting}\n" + "\n".join(_lines(screen))
    return Shown(code, _lines(screen), _too_wide(written), written.decode(errors="replace"))


def _read(descriptor: int, end: float) -> bytes:
    """What comes next; nothing once the other side is closed, or the time is up."""
    if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
        return b""
    try:
        return os.read(descriptor, 65536)
    except OSError as error:
        if error.errno == errno.EIO:  # the other side of a pseudo-terminal is closed
            return b""
        raise


def _asks(screen: pyte.HistoryScreen, question: str) -> bool:
    return screen.display[screen.cursor.y][: screen.cursor.x].rstrip().endswith(question)


def _lines(screen: pyte.HistoryScreen) -> list[str]:
    above = ["".join(row[column].data for column in range(COLUMNS)) for row in screen.history.top]
    return [line.rstrip() for line in [*above, *screen.display]]


def _too_wide(written: bytes) -> list[str]:
    """Lines of words of more cells than columns, without escape sequences; one that is redrawn in place is none."""
    plain = pyte.Screen(10 * COLUMNS, 1)
    stream, wide = pyte.Stream(plain), []
    for line in written.decode(errors="replace").split("\n"):
        plain.reset()
        stream.feed(line)
        text = plain.display[0].rstrip()
        if (
            cell_len(text) > COLUMNS and " " in text.strip()
        ):  # a path alone is not broken, so that it can be copied
            wide.append(text)
    return wide
