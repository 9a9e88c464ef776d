"""Receiver of a webhook on loopback: stands for the person on call, and notes when a message arrived."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOOPBACK = "127.0.0.1"
MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the webhook."""

    arrived: float
    """Time of `time.monotonic`, in seconds."""
    notifications: tuple[dict[str, Any], ...]
    """As docs/alert-v1.schema.json has them."""


@contextmanager
def serve_person_on_call(receive: Callable[[Message], None]) -> Iterator[str]:
    """Serve the webhook on a free port; yield its URL. receive: called from another thread. Raises OSError."""

    class Inbox(_Webhook):
        def take(self, message: Message) -> None:
            receive(message)

    server = ThreadingHTTPServer((LOOPBACK, 0), Inbox)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    try:
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}/page"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Webhook(BaseHTTPRequestHandler):
    """Takes messages; HTTP/1.0, so that each connection ends with its answer."""

    timeout = 5.0

    def take(self, message: Message) -> None:
        """Hand a message on."""
        raise NotImplementedError

    def do_POST(self) -> None:
        """Take one message."""
        arrived = time.monotonic()
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > MOST_BYTES:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            document = json.loads(self.rfile.read(int(length)))
            notifications = tuple(dict(item) for item in document["notifications"])
        except (ValueError, TypeError, KeyError, RecursionError):
            self._answer(HTTPStatus.BAD_REQUEST)
            return
        self.take(Message(arrived, notifications))
        self._answer(HTTPStatus.OK)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's signature)
        """Say nothing on stderr, which is the demo's."""

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
