"""A real Alertmanager for tests: one process on loopback, alone, with the configuration that the test gives."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.parts import require
from tests.parts.with_parent import with_parent

_READY_WITHIN = 60.0
_POLL = 0.1
_BINARY = shutil.which("prometheus-alertmanager")
_HOW = "tests/parts/install, or the package prometheus-alertmanager"


def require_alertmanager() -> None:
    """Skips, or fails in CI, where Alertmanager is missing."""
    require("prometheus-alertmanager", _BINARY is not None, _HOW)


class AlertmanagerServer:
    """A running Alertmanager, as a context manager. `receiver`: URL of the webhook that gets every group.

    `resolve_timeout`: seconds after which an alert without an `endsAt` of its own is taken for over.
    """

    def __init__(
        self,
        folder: Path,
        *,
        receiver: str = "",
        group_by: tuple[str, ...] = ("alertname", "address"),
        resolve_timeout: int = 300,
    ) -> None:
        require_alertmanager()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._port = _free_port()
        receivers = f'  webhook_configs: [{{url: "{receiver}", send_resolved: true}}]\n' if receiver else ""
        (folder / "alertmanager.yml").write_text(
            f"global:\n  resolve_timeout: {resolve_timeout}s\n"
            "route:\n  receiver: test\n"
            f"  group_by: [{', '.join(group_by)}]\n"
            "  group_wait: 100ms\n  group_interval: 200ms\n  repeat_interval: 1h\n"
            f"receivers:\n- name: test\n{receivers}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL, as the notifier wants it."""
        return f"http://127.0.0.1:{self._port}"

    def alerts(self) -> list[dict[str, Any]]:
        """`GET /api/v2/alerts`: those that stand."""
        found: list[dict[str, Any]] = self._get("/api/v2/alerts")
        return found

    def groups(self) -> list[dict[str, Any]]:
        """`GET /api/v2/alerts/groups`."""
        found: list[dict[str, Any]] = self._get("/api/v2/alerts/groups")
        return found

    def wait_until(self, what: str, so: Callable[[], bool], within: float = 60.0) -> None:
        """Asks again and again until it is so; fails with the log's end if it does not become so."""
        deadline = time.monotonic() + within
        while not so():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"Alertmanager died before {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within} s: {what}\n{self.log_tail()}")
            time.sleep(_POLL)

    def log_tail(self) -> str:
        """The last lines of its log, for a test that fails."""
        return (self.folder / "alertmanager.log").read_text(errors="replace")[-2000:]

    def __enter__(self) -> AlertmanagerServer:
        with (self.folder / "alertmanager.log").open("ab") as log:
            self._process = subprocess.Popen(
                with_parent(
                    [
                        str(_BINARY),
                        f"--config.file={self.folder / 'alertmanager.yml'}",
                        f"--storage.path={self.folder / 'data'}",
                        f"--web.listen-address=127.0.0.1:{self._port}",
                        "--cluster.listen-address=",  # alone: no gossip, no port for it
                    ]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.wait_until("it was ready", self._ready, _READY_WITHIN)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _ready(self) -> bool:
        try:
            with _open(f"{self.url}/-/ready") as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def _get(self, path: str) -> Any:
        with _open(self.url + path) as answer:
            return json.load(answer)


def _open(url: str) -> Any:
    # Not through a proxy that the environment names.
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
