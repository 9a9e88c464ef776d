"""A `wgaudit watch`, or another daemon, that runs, and its log while it does."""

from __future__ import annotations

import queue
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command import installed, started

LONGEST = 30.0
"""Seconds that a test waits for what it waits for."""
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (.*)")


class Watching:
    """The process, and what it has said so far."""

    def __init__(
        self,
        folder: Path,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        command: str = "watch",
        prefix: Sequence[str] = (),
    ):
        self.process = (
            installed(command, *arguments, folder=folder, environment=environment, prefix=prefix)
            if prefix
            else started(command, *arguments, folder=folder, environment=environment)
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Waits until a line holds this, from now on."""
        end = time.monotonic() + LONGEST
        while (left := end - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise AssertionError(f"it ended before {pattern!r}: {self.said}")
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"nothing said {pattern!r}: {self.said}")

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Ends it by a signal. Returns its exit code, and the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=LONGEST)
        took = time.monotonic() - began
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self.said.append(line)
        return code, took

    def kill(self) -> None:
        """Ends it by SIGKILL, if it has not ended, and closes its pipes."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    @property
    def lines(self) -> list[str]:
        """What it said, without the times; fails where a line has none."""
        found = [LINE.fullmatch(line) for line in self.said]
        assert all(found), self.said
        return [match[1] for match in found if match]


@contextmanager
def watching(
    folder: Path,
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    command: str = "watch",
) -> Iterator[Watching]:
    """Runs a watch, or another daemon, while it is entered."""
    watch = Watching(folder, *arguments, environment=environment, command=command)
    try:
        yield watch
    finally:
        watch.kill()
