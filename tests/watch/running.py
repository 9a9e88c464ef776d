"""`wgaudit watch` as a process, its page behind a socket file, and what it shows there."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

READY_WITHIN = 60.0
ENDS_WITHIN = 30.0

Report = Mapping[str, Any]


class _PageConnection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class WatchProcess:
    """A watch from its start to its end, as a context manager. Its log goes to a file.

    command: the words that start it. page: the socket file of `watch.listen`. It is entered when the watch says to its
    service manager that it is ready: the registry was read whole once.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, page: Path
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._page = page
        self._notices = folder / "notices"
        self._environment = dict(environment) | {"NOTIFY_SOCKET": str(self._notices)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """What it has said so far, of every start in this folder."""
        return self._folder / "watch.log"

    def __enter__(self) -> WatchProcess:
        self._notices.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self._notices))
            manager.settimeout(0.5)
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command,
                    env=self._environment,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            try:
                self._wait_until_ready(manager)
            except BaseException:
                self.kill()
                raise
        return self

    def _wait_until_ready(self, manager: socket.socket) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            try:
                if b"READY=1" in manager.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                if self._process is None or self._process.poll() is not None:
                    raise AssertionError(f"the watch ended before it was ready:\n{self.log()}") from None
        raise AssertionError(f"the watch was not ready within {READY_WITHIN:g} s:\n{self.log()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.log())
        self.end()

    def end(self) -> int:
        """SIGTERM; its exit code."""
        process = self._process
        assert process is not None
        process.terminate()
        try:
            return process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDS_WITHIN)

    def restart(self) -> None:
        """Has it end, and starts it anew."""
        code = self.end()
        assert code == 0, self.log()
        self.__enter__()

    def log(self) -> str:
        """The end of what it said."""
        return self.log_file.read_text(errors="replace")[-6000:]

    # -- its page

    def get(self, path: str) -> bytes:
        """What the page has there. Raises `AssertionError` for what is no 200."""
        connection = _PageConnection(self._page, 10.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        assert answer.status == 200, (path, answer.status, body[:300])
        return body

    def report(self) -> Report:
        """The report of now."""
        document = json.loads(self.get("/api/v1/report"))
        assert isinstance(document, dict)
        return document

    def metric(self, name: str) -> float:
        """One metric of it, all of its labels together."""
        lines = self.get("/metrics").decode().splitlines()
        rows = [line.rpartition(" ") for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        assert rows, f"no metric {name}"
        return sum(float(value) for _, _, value in rows)

    def until(self, so: Callable[[Report], bool], what: str, within: float = 30.0) -> Report:
        """The first report of which it is so; asked for with each event of the page, and no oftener."""
        deadline = time.monotonic() + within
        connection = _PageConnection(self._page, within)
        try:
            connection.request("GET", "/events")
            events = connection.getresponse()
            while True:
                report = self.report()
                if so(report):
                    return report
                _next_event(connection, events, deadline)
        except TimeoutError:
            raise AssertionError(f"not within {within:g} s: {what}; {_brief(report)}") from None
        finally:
            connection.close()


def _next_event(connection: _PageConnection, events: http.client.HTTPResponse, deadline: float) -> None:
    """Waits for the next view that the page tells of."""
    line = b""
    while line != b"event: view":
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(left)
        line = events.readline()
        assert line, "the page ended its events"
        line = line.strip()


def _brief(report: Report) -> str:
    findings = [(item["check"], item["subject"], item["confirmed"]) for item in report["findings"]]
    gaps = [(gap["node"], gap["reason"]) for gap in report["gaps"]]
    return f"{report['verdict']}: {findings}, {gaps}, {report['coverage']}"
