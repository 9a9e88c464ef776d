"""A tiny real HTTP server for the faults that a real Consul cannot be made to show on demand."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEALTHY = {"X-Consul-Index": "7", "X-Consul-KnownLeader": "true", "X-Consul-LastContact": "0"}


@dataclass
class Scripted:
    """What to answer next, and what was asked. Change it before the question."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: dict(HEALTHY))
    body: bytes = b"[]"
    write: Callable[[BaseHTTPRequestHandler], None] | None = None
    """Writes the whole answer by itself: for a server that hangs, drips or stops halfway."""
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: what a hanging `write` waits for."""
    asked: list[str] = field(default_factory=list)
    asked_headers: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def scripted_server(unix_socket: Path | None = None) -> Iterator[Scripted]:
    """Serves on a free port of loopback, or on a Unix socket, until the block ends."""
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.asked.append(self.path)
            script.asked_headers.append(dict(self.headers.items()))
            if script.write is not None:
                script.write(self)
                return
            self.send_response(script.status)
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(script.body)))
            self.end_headers()
            self.wfile.write(script.body)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
            """Keeps the test's output clean."""

    made: socketserver.BaseServer
    if unix_socket is not None:
        made, script.url = _UnixServer(str(unix_socket), Handler), f"unix://{unix_socket}"
    else:
        made = on_loopback = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        script.url = f"http://127.0.0.1:{on_loopback.server_address[1]}"
    with made as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            script.closing.set()
            server.shutdown()
            thread.join()
