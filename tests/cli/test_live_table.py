"""The table that is redrawn on a terminal: whole screens of any size, and the terminal as it was at the end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pyte
import pytest

from auditor.cli.live_table import LiveTable, Window, keys

COLUMNS, ROWS = 60, 12


class Terminal:
    """A pseudo-terminal, and what it shows."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.stream = os.fdopen(self.slave, "w", encoding="utf-8", closefd=False)
        self.screen = pyte.HistoryScreen(COLUMNS, ROWS)
        self._reader = pyte.ByteStream(self.screen)
        self.written = b""
        self.resize(COLUMNS, ROWS)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def rows(self) -> list[str]:
        """What is on it now."""
        self.stream.flush()
        try:
            while chunk := os.read(self.master, 65536):
                self.written += chunk
                self._reader.feed(chunk)
        except BlockingIOError:
            pass
        return [line.rstrip() for line in self.screen.display]

    def close(self) -> None:
        self.stream.close()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal()
    yield found
    found.close()


def lines(number: int) -> str:
    return "".join(f"line {place}\n" for place in range(number))


def test_a_text_that_fits_is_shown_whole_between_head_and_foot(terminal: Terminal) -> None:
    with LiveTable(terminal.stream, colour=False) as table:
        table.show("40 of 40 nodes followed", lines(3))
        rows = terminal.rows()
    assert rows[0] == "40 of 40 nodes followed"
    assert rows[1:4] == ["line 0", "line 1", "line 2"]
    assert rows[-1] == "q ends"


def test_a_longer_text_is_scrolled_by_keys_and_never_past_its_end(terminal: Terminal) -> None:
    with LiveTable(terminal.stream, colour=False) as table:
        table.show("head", lines(30))
        assert terminal.rows()[1:-1] == [f"line {place}" for place in range(10)]
        assert table.press(b"\x1b[B")
        assert terminal.rows()[1] == "line 1"
        for _ in range(5):
            table.press(b" ")
            terminal.rows()  # a terminal that nobody reads takes some 4 KB
        rows = terminal.rows()
        assert rows[1:-1] == [f"line {place}" for place in range(20, 30)]
        assert rows[-1] == "lines: 20 above · arrows scroll · q ends"
        for _ in range(25):
            table.press(b"k")
            terminal.rows()
        assert terminal.rows()[1] == "line 0"


def test_what_changed_is_drawn_over_what_was_there_without_clearing_the_screen(terminal: Terminal) -> None:
    """A screen that is cleared before it is drawn flickers."""
    with LiveTable(terminal.stream, colour=False) as table:
        table.show("first", lines(8))
        terminal.rows()
        before = len(terminal.written)
        table.show("second", lines(2))
        rows = terminal.rows()
        assert b"\x1b[2J" not in terminal.written[before:]
    assert rows[:4] == ["second", "line 0", "line 1", ""]


def test_a_terminal_that_changes_its_size_says_so_and_is_drawn_whole(terminal: Terminal) -> None:
    with LiveTable(terminal.stream, colour=False) as table:
        assert table.width == COLUMNS
        table.show("head", lines(30))
        assert not table.resized
        terminal.resize(40, 8)
        assert table.resized
        assert table.width == 40
        table.show("head", lines(30))
        assert not table.resized
        rows = terminal.rows()
    assert rows[1:7] == [f"line {place}" for place in range(6)]


def test_at_the_end_the_terminal_shows_what_it_showed_before(terminal: Terminal) -> None:
    with LiveTable(terminal.stream, colour=False) as table:
        table.show("head", lines(3))
    terminal.rows()
    assert terminal.written.count(b"\x1b[?1049h") == terminal.written.count(b"\x1b[?1049l") == 1
    assert terminal.written.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?25h" in terminal.written


@pytest.mark.parametrize("key", [b"q", b"Q", b"\x04"])
def test_q_and_the_end_of_input_end_it(key: bytes, terminal: Terminal) -> None:
    with LiveTable(terminal.stream, colour=False) as table:
        table.show("head", lines(3))
        assert table.press(b"x")
        assert not table.press(key)


def test_a_window_that_grows_beyond_its_text_shows_it_from_the_top() -> None:
    window = Window([str(number) for number in range(20)], 12).moved(20)
    assert window.first == 10
    assert Window(window.lines, 30, window.first).moved(0).first == 0


def test_keys_are_read_without_enter_and_the_terminal_is_as_it_was_afterwards(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = termios.tcgetattr(terminal.slave)
    stdin = os.fdopen(terminal.slave, "r", closefd=False)
    monkeypatch.setattr(sys, "stdin", stdin)

    async def typed() -> bytes:
        pressed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        with keys(pressed.set_result):
            os.write(terminal.master, b"q")
            return await pressed

    assert asyncio.run(typed()) == b"q"
    assert termios.tcgetattr(terminal.slave) == before


def test_without_a_terminal_no_key_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)

        async def nothing() -> None:
            with keys(lambda _: pytest.fail("a key")):
                await asyncio.sleep(0)

        asyncio.run(nothing())
