"""Progress on stderr: a bar that leaves nothing behind, and lines that keep a log short."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import io
import os
import pty
import random
import sys
import threading
import time

import pyte
import pytest

from auditor.cli.progress import (
    PLAIN_PAUSE,
    PlainProgress,
    Ticker,
    watching,
)
from auditor.cli.progress_bar import PAUSE, TerminalProgress
from auditor.cli.rates import RateMeter, pace_words


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
        assert screen_of(stream.getvalue())[0].endswith("38/40  10/s  1 s left")
        clock.now += 12
        progress.refresh()
        (shown,) = screen_of(stream.getvalue())
        assert shown.endswith("38/40  waiting for 2 nodes  no answer for 12 s")
        progress.node_done(True)
        clock.now += 0.5
        progress.refresh()
        (shown,) = screen_of(stream.getvalue())
    # One node in the last ten seconds and a bit: the 38 before them say nothing of the last one.
    assert shown.endswith("39/40  0.1/s  13 s left")


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
                assert "3/12,345" in shown or "2/12,345" in shown or "1/12,345" in shown or width < 40
    assert screen_of(stream.getvalue(), width) == []


def test_a_narrow_terminal_keeps_what_matters_most() -> None:
    """Gaps and time left rather than the bar and the rate."""
    stream, clock = io.StringIO(), Clock()
    with TerminalProgress(stream, colour=False, width=40, clock=clock) as progress:
        progress.phase("second look")
        progress.registered(200)
        for number in range(10):
            clock.now += 0.1
            progress.node_done(number > 0)
        progress.refresh()
        (shown,) = screen_of(stream.getvalue(), 40)
    assert shown == "second look   10/200  1 gap  19 s left"


def test_the_bar_leaves_nothing_behind() -> None:
    """The report's summary must not stand below a dead bar."""
    stream = io.StringIO()
    with TerminalProgress(stream, width=80) as progress:
        progress.phase("nodes")
        progress.registered(3)
        progress.node_done(True)
        progress.refresh()
        assert screen_of(stream.getvalue()) != []
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


class Frames(io.StringIO):
    """A stream that counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def write(self, text: str) -> int:
        self.written += bool(text)
        return super().write(text)


def test_the_terminal_is_written_to_at_most_ten_times_a_second_whatever_the_fleet_does() -> None:
    """5,000 answers a second for four seconds, by the clock: eight short lines a second."""
    stream, clock = Frames(), Clock()
    with TerminalProgress(stream, width=80, clock=clock) as progress:
        progress.phase("nodes")
        progress.registered(20_000)
        before, length = stream.written, len(stream.getvalue())
        for number in range(20_000):
            clock.now += 1 / 5_000
            progress.node_done(True)
            if number % (5_000 * PAUSE) == 0:
                progress.refresh()
        frames, size = stream.written - before, len(stream.getvalue()) - length
    assert 0 < frames <= 4 * 10
    assert size <= 4 * 10 * 200


def test_a_line_that_says_the_same_is_not_drawn_again() -> None:
    """No flicker, and nothing to send over a slow connection, while nodes hang."""
    stream, clock = Frames(), Clock()
    with TerminalProgress(stream, width=80, clock=clock) as progress:
        progress.phase("nodes")
        progress.registered(100)
        for _ in range(80):
            clock.now += PAUSE
            progress.refresh()
        frames = stream.written
    # In ten seconds: the count, then each second from the fifth on how long nobody has answered.
    assert frames <= 12


@pytest.mark.parametrize("make", [TerminalProgress, PlainProgress])
def test_a_node_costs_microseconds(make: type[TerminalProgress] | type[PlainProgress]) -> None:
    """No lock, no clock, no drawing: counting is all that the sweep's loop does for it."""
    with make(io.StringIO()) as progress:
        progress.phase("nodes")
        progress.registered(100_000)
        began = time.thread_time()
        for _ in range(100_000):
            progress.node_done(True)
        took = time.thread_time() - began
    assert took / 100_000 < 5e-6


def answers(total: int, *, hanging: float, timeout: float = 10.0) -> list[tuple[float, bool]]:
    """When each node of a fleet is done and whether it is a gap: a fan-out that starts with 10 and finds 400."""
    chance, now, width, asked = random.Random(4), 0.0, 10, 0  # noqa: S311  (no secret)
    under_way: list[tuple[float, bool]] = []
    done: list[tuple[float, bool]] = []
    while len(done) < total:
        while asked < total and len(under_way) < width:
            gap = chance.random() < hanging
            heapq.heappush(under_way, (now + (timeout if gap else chance.uniform(0.1, 0.5)), gap))
            asked += 1
        now, gap = heapq.heappop(under_way)
        done.append((now, gap))
        width = min(400, width + (not gap))
    return done


@pytest.mark.parametrize("hanging", [0.0, 0.05, 0.3])
def test_the_time_left_comes_true(hanging: float) -> None:
    """10,000 nodes, none, 5% or 30% of which hang. After the start, no promise is broken by more than 5 s.

    A long one may be kept early. Where no rate holds any more, none is told.
    """
    done = answers(10_000, hanging=hanging)
    end = done[-1][0]
    pace, count, gaps, now, promised, broken = RateMeter(0.0), 0, 0, 0.0, 0, 0.0
    while now + PAUSE < end:
        now += PAUSE
        while count < len(done) and done[count][0] <= now:
            gaps += done[count][1]
            count += 1
        left = pace.look(count, gaps, len(done), now).left
        if left is not None and now > 0.45 * end:
            promised += 1
            broken = max(broken, end - now - left)
            assert left < 1.5 * (end - now) + 11
    assert promised * PAUSE > 0.2 * end
    assert broken < 5


def test_at_the_end_it_says_how_many_are_waited_for() -> None:
    """What took 400 a second does not say how long the last 20 take."""
    pace = RateMeter(0.0)
    for step in range(1, 81):
        pace.look(step * 50, 0, 4_020, step * PAUSE)
    assert pace_words(pace.look(4_000, 0, 4_020, 10.1), 20) == ("396/s", "1 s left")
    for step in range(1, 24):
        pace.look(4_000 + step // 4, 0, 4_020, 10.1 + step * PAUSE)
    assert pace_words(pace.look(4_006, 0, 4_020, 13.2), 14) == ("waiting for 14 nodes",)
    assert pace_words(pace.look(4_006, 0, 4_020, 15.2), 14) == (
        "waiting for 14 nodes",
        "no answer for 2 s",
    )


def test_no_time_left_is_made_of_the_first_moments() -> None:
    """Ten answers in the first second of 10,000: the fan-out has only begun, and it is not 17 minutes."""
    assert pace_words(RateMeter(0.0).look(10, 0, 10_000, 1.0), 9_990) == ("10/s",)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """Not the average since a slow start."""
    pace = RateMeter(0.0)
    for second in range(1, 31):
        reading = pace.look(second if second <= 15 else 15 + (second - 15) * 100, 0, 9_999, float(second))
    assert reading.rate == 100


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


def test_plain_progress_speaks_every_ten_seconds() -> None:
    """With nodes done, gaps, rate and time left."""
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock=clock) as progress:
        progress.phase("nodes")
        progress.registered(10_000)
        for number in range(50):
            clock.now += 0.5
            for _ in range(100):
                progress.node_done(number != 0)
            progress.refresh()
    lines = stream.getvalue().splitlines()[1:-1]
    assert lines == [
        "wgaudit: nodes, 2,000 of 10,000 nodes, 100 gaps, 200/s, 40 s left",
        "wgaudit: nodes, 4,000 of 10,000 nodes, 100 gaps, 200/s, 30 s left",
    ]
    assert PLAIN_PAUSE == 10.0


def test_plain_progress_speaks_while_nothing_happens() -> None:
    """A registry that takes long, and a fleet that hangs: a log without a line looks like a dead program."""
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(stream, clock=clock) as progress:
        progress.phase("registry")
        for second in range(30):
            clock.now += 1
            progress.refresh()
            if second == 10:
                progress.phase("nodes")
                progress.registered(500)
    assert stream.getvalue().splitlines()[1:-1] == [
        "wgaudit: registry, for 10 s",
        "wgaudit: nodes, 0 of 500 nodes, 0 gaps, waiting for 500 nodes, no answer for 9 s",
        "wgaudit: nodes, 0 of 500 nodes, 0 gaps, waiting for 500 nodes, no answer for 19 s",
    ]


async def test_a_log_gets_its_line_from_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody calls the observer while every node hangs, and there is a line all the same."""
    monkeypatch.setattr("auditor.cli.progress.PLAIN_PAUSE", 0.0)
    monkeypatch.setattr("auditor.cli.progress.PLAIN_LOOK", 0.01)
    said = threading.Event()

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for 7 nodes" in text or "0 of 7 nodes" in text:
                said.set()
            return super().write(text)

    before = threading.active_count()
    with watching(stream=Log()) as progress:
        progress.phase("nodes")
        progress.registered(7)
        assert await asyncio.to_thread(said.wait, 10)
    assert threading.active_count() <= before + 1  # the one that waited for the line
    assert not [thread for thread in threading.enumerate() if thread.name == "wgaudit-progress"]


def test_a_beat_ends_with_its_block_whatever_ends_that() -> None:
    """No thread outlives the progress that it serves."""
    beats = threading.Semaphore(0)

    def interrupted() -> None:
        with Ticker(0.001, beats.release):
            assert beats.acquire(timeout=10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [thread for thread in threading.enumerate() if thread.name == "wgaudit-progress"]


@pytest.mark.parametrize("make", [TerminalProgress, PlainProgress])
def test_a_terminal_that_went_away_does_not_end_the_sweep(
    make: type[TerminalProgress] | type[PlainProgress],
) -> None:
    """A closed window, a reader that left: the report is still to come, and goes elsewhere."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream:
        clock = Clock()
        with make(stream, clock=clock) as progress:
            os.close(outer)
            progress.phase("nodes")
            progress.registered(3)
            for seen in (True, False, True):
                clock.now += 11
                progress.node_done(seen)
                progress.refresh()
        with contextlib.suppress(OSError):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # for what the stream still holds


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
