"""A real Prometheus for tests: one process on loopback that collects one metrics text from this process."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.parts import require
from tests.parts.with_parent import with_parent

_READY_WITHIN = 60.0
_POLL = 0.1
_BINARY = shutil.which("prometheus")


class PrometheusServer:
    """A running Prometheus with these rules, as a context manager. It collects metrics each second.

    `text`: the metrics, which an exporter of this process serves. `target`: HOST:PORT of an exporter that is there.
    """

    def __init__(self, folder: Path, text: str = "", rules: Sequence[Path] = (), *, target: str = "") -> None:
        require("prometheus", _BINARY is not None, "tests/parts/install, or the package prometheus")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._exporter = _exporter(text)
        self._url = f"http://127.0.0.1:{_free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [
                {
                    "job_name": "node",
                    "static_configs": [{"targets": [target or f"127.0.0.1:{self._exporter.server_port}"]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, each with `metric` and `value`. Raises `ValueError` where it is none."""
        answer = self._get("/api/v1/query", query=expression)
        found: list[dict[str, Any]] = answer["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Each rule with its health, its last error and its alerts."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def wait_until(self, what: str, so: Callable[[], bool], within: float = _READY_WITHIN) -> None:
        """Asks again and again until it is so; fails with the log's end if it does not become so."""
        deadline = time.monotonic() + within
        while not so():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"Prometheus died before {what}:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {within} s: {what}\n{self._log_tail()}")
            time.sleep(_POLL)

    def __enter__(self) -> PrometheusServer:
        threading.Thread(target=self._exporter.serve_forever, daemon=True).start()
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                with_parent(
                    [
                        str(_BINARY),
                        f"--config.file={self._folder / 'prometheus.yml'}",
                        f"--storage.tsdb.path={self._folder / 'data'}",
                        f"--web.listen-address={self._url.removeprefix('http://')}",
                    ]
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.wait_until("the metrics were collected", self._collected)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._exporter.shutdown()
        self._exporter.server_close()
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _collected(self) -> bool:
        try:
            return bool(self.query("up == 1"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self._url}{path}?{urllib.parse.urlencode(parameters)}"
        # Not through a proxy that the environment names.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            if error.code == 503:  # it is still starting
                raise ConnectionError(said) from None
            raise ValueError(said) from None

    def _log_tail(self) -> str:
        return (self._folder / "prometheus.log").read_text(errors="replace")[-2000:]


def _exporter(text: str) -> ThreadingHTTPServer:
    """Serves one text to whoever asks."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
            """Says nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Answer)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
