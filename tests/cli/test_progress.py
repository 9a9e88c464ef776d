"""Progress on stderr: a bar that leaves nothing behind, and lines that keep a log short."""

from __future__ import annotations

import io
import os
import pty
import sys
import time

import pyte
import pytest

from auditor.cli.progress import PLAIN_PAUSE, PlainProgress, duration_words, watching
from auditor.cli.progress_bar import UPDATES_PER_SECOND, TerminalProgress


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def screen_of(text: str, columns: int = 80) -> list[str]:
    """What a terminal shows after this output."""
    screen = pyte.Screen(columns, 10)
    stream = pyte.Stream(screen)
    stream.feed(text.replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


def test_the_bar_shows_nodes_done_gaps_rate_and_time_left() -> None:
    """On one line that fits the terminal."""
    stream, clock = io.StringIO(), Clock()
    with TerminalProgress(stream, colour=False, width=80, clock=clock) as progress:
        progress.phase("nodes")
        progress.registered(40)
        for number in range(10):
            clock.now += 0.1
            progress.node_done(number >= 2)
        progress.refresh()
        shown = screen_of(stream.getvalue())
    assert len(shown) == 1
    assert shown[0].startswith("nodes ")
    assert "10/40" in shown[0]
    assert "2 gaps" in shown[0]
    assert "10/s" in shown[0]
    assert shown[0].endswith("10/s  3 s left")


def test_no_time_left_is_promised_while_nobody_answers() -> None:
    """Nodes that hang may hang until their timeout: the bar says how long nobody has answered."""
    stream, clock = io.StringIO(), Clock()
    with TerminalProgress(stream, colour=False, width=80, clock=clock) as progress:
        progress.phase("nodes")
        progress.registered(40)
        for _ in range(38):
            clock.now += 0.1
            progress.node_done(True)
        progress.refresh()
        assert screen_of(stream.getvalue())[0].endswith("38/40  10/s  0 s left")
        clock.now += 12
        progress.refresh()
        (shown,) = screen_of(stream.getvalue())
        assert shown.endswith("38/40  no answer for 12 s")
        progress.node_done(True)
        progress.refresh()
        (shown,) = screen_of(stream.getvalue())
    # The pause counts from then on: 39 nodes took 15.8 seconds.
    assert shown.endswith("39/40  2/s  0 s left")


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60])
def test_the_bar_is_one_line_on_a_narrow_terminal_and_leaves_nothing_behind(width: int) -> None:
    """What does not fit is left out; a folded line would leave a torn one."""
    stream, clock = io.StringIO(), Clock()
    with TerminalProgress(stream, width=width, clock=clock) as progress:
        for phase in ("nodes", "waiting for a second look", "second look"):
            progress.phase(phase)
            progress.registered(12_345)
            for seen in (True, False, True):
                clock.now += 0.1
                progress.node_done(seen)
                progress.refresh()
                (shown,) = screen_of(stream.getvalue(), width)
                assert shown.startswith(phase[:8])
                assert "3/12345" in shown or "2/12345" in shown or "1/12345" in shown or width < 40
    assert screen_of(stream.getvalue(), width) == []


def test_a_narrow_terminal_keeps_what_matters_most() -> None:
    """Gaps and time left rather than the bar and the rate."""
    stream, clock = io.StringIO(), Clock()
    with TerminalProgress(stream, colour=False, width=40, clock=clock) as progress:
        progress.phase("second look")
        progress.registered(400)
        for number in range(10):
            clock.now += 0.1
            progress.node_done(number > 0)
        progress.refresh()
        (shown,) = screen_of(stream.getvalue(), 40)
    assert shown == "second look   10/400  1 gap  39 s left"


def test_the_bar_leaves_nothing_behind() -> None:
    """The report's summary must not stand below a dead bar."""
    stream = io.StringIO()
    with TerminalProgress(stream, width=80) as progress:
        progress.phase("nodes")
        progress.registered(3)
        progress.node_done(True)
    assert screen_of(stream.getvalue()) == []
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_the_bar_starts_again_with_each_phase() -> None:
    """The second look counts its own nodes."""
    stream = io.StringIO()
    with TerminalProgress(stream, colour=False, width=80) as progress:
        progress.phase("nodes")
        progress.registered(40)
        progress.node_done(False)
        progress.phase("second look")
        progress.registered(3)
        progress.node_done(True)
        progress.refresh()
        (shown,) = screen_of(stream.getvalue())
    assert shown.startswith("second look")
    assert "1/3" in shown
    assert "gap" not in shown


def test_the_bar_is_not_redrawn_for_each_node() -> None:
    """Ten thousand nodes must not mean ten thousand writes."""
    stream = io.StringIO()
    began = time.monotonic()
    with TerminalProgress(stream, width=80) as progress:
        progress.phase("nodes")
        progress.registered(10_000)
        for _ in range(10_000):
            progress.node_done(True)
    frames = stream.getvalue().count("\x1b[2K")
    assert frames <= UPDATES_PER_SECOND * (time.monotonic() - began) + 6


def test_an_interrupt_gives_the_terminal_back() -> None:
    """The cursor is shown again and the bar is gone, whatever ended the sweep."""
    stream = io.StringIO()

    def interrupted() -> None:
        with TerminalProgress(stream, width=80) as progress:
            progress.phase("nodes")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert screen_of(stream.getvalue()) == []
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")


def test_plain_progress_says_something_at_the_start_and_at_the_end() -> None:
    """A short sweep is two lines in cron's mail."""
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock=clock) as progress:
        progress.phase("registry")
        progress.phase("nodes")
        progress.registered(40)
        for number in range(40):
            clock.now += 0.1
            progress.node_done(number > 1)
        progress.phase("registry again")
    assert stream.getvalue().splitlines() == [
        "wgaudit: sweep started",
        "wgaudit: sweep ended after 4.0 s: 38 of 40 nodes seen",
    ]


def test_plain_progress_speaks_at_most_every_ten_seconds() -> None:
    """With nodes done, gaps, rate and time left."""
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock=clock) as progress:
        progress.phase("nodes")
        progress.registered(100)
        for number in range(50):
            clock.now += 0.5
            progress.node_done(number != 0)
    lines = stream.getvalue().splitlines()[1:-1]
    assert lines == [
        "wgaudit: nodes, 20 of 100 nodes, 1 gap, 2.0/s, about 40 s left",
        "wgaudit: nodes, 40 of 100 nodes, 1 gap, 2.0/s, about 30 s left",
    ]
    assert PLAIN_PAUSE == 10.0


def test_plain_progress_counts_the_fleet_and_not_the_second_look() -> None:
    """The last line is about all nodes."""
    stream = io.StringIO()
    with PlainProgress(stream) as progress:
        progress.phase("nodes")
        progress.registered(2)
        progress.node_done(True)
        progress.node_done(True)
        progress.phase("second look")
        progress.registered(1)
        progress.node_done(False)
    assert stream.getvalue().splitlines()[-1].endswith("2 of 2 nodes seen")


def test_plain_progress_is_plain() -> None:
    """No escape sequence gets into a log file."""
    stream = io.StringIO()
    with watching(stream=stream) as progress:
        progress.phase("nodes")
        progress.registered(1)
        progress.node_done(True)
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue()


def test_nobody_watches_where_no_progress_is_wanted() -> None:
    """--no-progress."""
    stream = io.StringIO()
    with watching(enabled=False, stream=stream) as progress:
        progress.phase("nodes")
        progress.registered(1)
        progress.node_done(True)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("term", "bar"), [("xterm", True), ("dumb", False)])
def test_a_terminal_gets_the_bar_and_a_dumb_one_gets_lines(
    term: str, bar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided by the stream and TERM, on a real terminal."""
    monkeypatch.setenv("TERM", term)
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream:
        with watching(stream=stream) as progress:
            progress.phase("nodes")
        stream.flush()
        written = os.read(outer, 65536)
    os.close(outer)
    assert (b"\x1b[" in written) == bar


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_progress_never_touches_stdout(
    term: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """stdout is the report's alone: nothing is added to it, and what is printed meanwhile still gets there."""
    monkeypatch.setenv("TERM", term)
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream, watching(stream=stream) as progress:
        progress.phase("nodes")
        sys.stdout.write("the report\n")
        progress.registered(1)
        progress.node_done(True)
    os.close(outer)
    assert capsys.readouterr().out == "the report\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (3.21, "3.2 s"), (45, "45 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    """The larger, the coarser."""
    assert duration_words(seconds) == words
