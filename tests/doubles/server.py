"""A real HTTP server on loopback that takes POSTs, remembers them, and can be told to fail in every way."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.parts.consul import TlsFiles


@dataclass(frozen=True)
class Call:
    """One call, as it came."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    at: float
    """Of `time.monotonic`."""
    method: str = "POST"


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Trouble(Enum):
    """What goes wrong without an answer."""

    RESET = "the connection is reset in the middle of a 200's body"
    REFUSAL_RESET = "the connection is reset in the middle of a 400's body"
    SILENCE = "no answer at all, until the server is stopped"
    FLOOD = "a 500 with a body that comes fast and does not end"
    DRIP = "a byte of the body every now and then, without an end"


class Double:
    """Serves on a free port of loopback while it is entered. Takes everything, unless told otherwise.

    `fault` answers every call; of `faults`, each answers one. Both leave `answer` out: what they answer
    counts as not received (`calls` has it, `taken` has not). `client_ca`: callers must show a certificate of it.
    """

    def __init__(
        self, *, tls: TlsFiles | None = None, client_ca: Path | None = None, reply: Reply | None = None
    ) -> None:
        self.calls: list[Call] = []
        self.taken: list[Call] = []
        self.fault: Reply | Trouble | None = None
        self.faults: deque[Reply | Trouble] = deque()
        self._reply = reply or Reply()
        self._tls = tls
        self._client_ca = client_ca
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._errors: list[BaseException] = []
        self._port = 0

    def answer(self, call: Call) -> Reply:  # noqa: ARG002  (others look at it)
        """What the vendor would answer. Called by one thread at a time."""
        return self._reply

    @property
    def url(self) -> str:
        """Base URL, without a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"

    def wait_for(self, count: int, within: float = 20.0) -> list[Call]:
        """The calls that were taken, as soon as there are `count` of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.taken) >= count, within):
                raise AssertionError(f"{len(self.taken)} calls in {within} s, not {count}")
            return list(self.taken)

    def wait_until(self, so: Callable[[], bool], what: str, within: float = 20.0) -> None:
        """Returns as soon as it is so; asked again with each call that was answered."""
        with self._changed:
            if not self._changed.wait_for(so, within):
                raise AssertionError(f"not within {within} s: {what}")

    def wait_for_call(self, within: float = 20.0) -> Call:
        """The first call of all, as soon as it came, whatever it will be answered."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self.calls), within):
                raise AssertionError(f"no call in {within} s")
            return self.calls[0]

    def __enter__(self) -> Self:
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                double._serve(self)

            def do_GET(self) -> None:
                double._serve(self)

            def do_PUT(self) -> None:
                double._serve(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
                """Keeps the test's output clean."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 100

            def handle_error(self, *_: Any) -> None:
                error = sys.exception()
                # A caller that gave up, or does not trust the certificate, is part of the tests.
                if error is not None and not isinstance(error, (ConnectionError, ssl.SSLError)):
                    double._errors.append(error)

        self._closing.clear()
        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_address[1]
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._tls.cert, self._tls.key)
            if self._client_ca is not None:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self._errors and error is None:
            raise self._errors[0]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", "0"))
        body = handler.rfile.read(length)
        if len(body) < length:
            return  # the caller died while it sent this: no server takes half a request
        headers = {name.lower(): value for name, value in handler.headers.items()}
        call = Call(handler.path, headers, body, time.monotonic(), handler.command)
        with self._changed:
            self.calls.append(call)
            outcome = self.faults.popleft() if self.faults else self.fault
            if outcome is None:
                outcome = self.answer(call)
                if outcome.status < 300:
                    self.taken.append(call)
            self._changed.notify_all()
        if isinstance(outcome, Reply):
            _write(handler, outcome)
        else:
            self._fail(handler, outcome)

    def _fail(self, handler: BaseHTTPRequestHandler, trouble: Trouble) -> None:
        if trouble is Trouble.SILENCE:
            self._closing.wait()
            return
        if trouble is Trouble.FLOOD:
            handler.send_response(500)
            handler.end_headers()
            while not self._closing.is_set():
                handler.wfile.write(b"x" * 4096)
            return
        handler.send_response(400 if trouble is Trouble.REFUSAL_RESET else 200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"ok")
        handler.wfile.flush()
        if trouble is Trouble.DRIP:
            while not self._closing.wait(0.02):
                handler.wfile.write(b" ")
        else:
            # Closing with unsent time left to linger of zero sends a reset in place of an end.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()


def _write(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        handler.wfile.write(reply.body)
