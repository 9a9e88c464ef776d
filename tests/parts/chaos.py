"""An HTTP proxy in front of a real server that loses, delays, cuts and falsifies answers, as networks do."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from urllib.parse import urlsplit

_LONGEST_BODY = 1 << 24


class Fault(StrEnum):
    """What may happen to one request. The server behind sees it, or not, as the name says."""

    ERROR_BEFORE = "500, and the server never saw it"
    ERROR_AFTER = "500, and the server has done it"
    RESET_BEFORE = "reset, and the server never saw it"
    RESET_DURING = "reset, and the server does it a moment later"
    RESET_AFTER = "reset, and the server has done it"
    TRUNCATED = "half an answer, and the server has done it"
    DELAY = "late, within the client's patience"
    LATE_ANSWER = "answered after the client's timeout, done at once"
    LATE_WRITE = "done after the client's timeout"


Rates = Mapping[Fault, float]
"""Share of the requests that meet each fault; what is left passes unharmed."""

EVERYTHING: Rates = {
    Fault.ERROR_BEFORE: 0.03,
    Fault.ERROR_AFTER: 0.03,
    Fault.RESET_BEFORE: 0.02,
    Fault.RESET_DURING: 0.02,
    Fault.RESET_AFTER: 0.02,
    Fault.TRUNCATED: 0.02,
    Fault.DELAY: 0.02,
    Fault.LATE_ANSWER: 0.005,
    Fault.LATE_WRITE: 0.005,
}
"""Every kind of fault: one request in six, and the slow kinds seldom, for each costs a client's timeout."""


class ChaosProxy:
    """A proxy on loopback, as a context manager; `url` is what clients are given.

    Which fault a request meets comes from `seed` and from the order in which requests come; of parallel
    clients that order is not theirs to say. `reads` are rates for GET, `writes` for all else; both may be set
    anew at any time. `late`: seconds that LATE_… takes, longer than the client's timeout.
    """

    def __init__(
        self,
        upstream: str,
        *,
        seed: int = 1,
        reads: Rates | None = None,
        writes: Rates | None = None,
        late: float = 1.5,
        delay: float = 0.2,
    ) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._random = random.Random(seed)  # noqa: S311  (chooses faults, guards nothing)
        self.reads: Rates = reads or {}
        self.writes: Rates = writes or {}
        self._late = late
        self._waits_before: Mapping[Fault | None, float] = {
            Fault.DELAY: delay,
            Fault.RESET_DURING: delay,
            Fault.LATE_WRITE: late,
        }
        self.requests: Counter[str] = Counter()
        """By method."""
        self.injected: Counter[tuple[str, Fault]] = Counter()
        """By `read` or `write`, and fault."""
        self.unreachable = 0
        """Requests for which the server behind was not there."""
        self._quiet = threading.Condition()
        self._under_way = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)
        self._port = 0
        self._up = threading.Event()

    @property
    def url(self) -> str:
        """Base URL of the proxy."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> ChaosProxy:
        self._thread.start()
        self._up.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def peace(self) -> None:
        """No more faults, and returns once every request that was under way has come to its end."""
        self.reads = self.writes = {}
        with self._quiet:
            if not self._quiet.wait_for(lambda: not self._under_way, timeout=30 + self._late):
                raise RuntimeError(f"{self._under_way} requests are still under way")

    def told(self) -> str:
        """What was injected, for a test's output."""
        total = sum(self.injected.values())
        lines = [f"{total:,} of {sum(self.requests.values()):,} requests met a fault:"]
        for fault in Fault:
            reads, writes = self.injected["read", fault], self.injected["write", fault]
            lines.append(f"  {fault.value}: {reads:,} reads, {writes:,} writes")
        if self.unreachable:
            lines.append(f"  the server was not there: {self.unreachable:,}")
        return "\n".join(lines)

    # -- in the proxy's own thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._client, "127.0.0.1", 0))
        self._port = server.sockets[0].getsockname()[1]
        self._up.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in self._handlers:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._handlers, return_exceptions=True))
            self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            goes_on = True
            while goes_on:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(_header(head, b"content-length") or 0)
                body = await reader.readexactly(min(length, _LONGEST_BODY))
                with self._quiet:
                    self._under_way += 1
                try:
                    goes_on = await self._serve(head, body, writer)
                finally:
                    with self._quiet:
                        self._under_way -= 1
                        self._quiet.notify_all()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # the client has gone, or the proxy ends
        finally:
            self._handlers.discard(task)
            writer.transport.abort()

    async def _serve(self, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> bool:
        """One request. False: its connection is over."""
        method = head.split(b" ", 1)[0].decode()
        self.requests[method] += 1
        fault = self._drawn(method)
        if fault in (Fault.RESET_BEFORE, Fault.RESET_DURING):
            _reset(writer)
        if fault is Fault.RESET_BEFORE:
            return False
        if fault is Fault.ERROR_BEFORE:
            return await _answer(writer, _error())
        await asyncio.sleep(self._waits_before.get(fault, 0.0))
        try:
            answer = await self._ask(head, body)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.unreachable += 1
            _reset(writer)
            return False
        if fault is Fault.LATE_ANSWER:
            await asyncio.sleep(self._late)
        if fault in (Fault.RESET_AFTER, Fault.RESET_DURING):
            _reset(writer)
            return False
        if fault is Fault.ERROR_AFTER:
            answer = _error()
        if fault is Fault.TRUNCATED:
            answer = answer[: len(answer) - len(answer) // 3]
        return await _answer(writer, answer) and fault is not Fault.TRUNCATED

    def _drawn(self, method: str) -> Fault | None:
        kind, rates = ("read", self.reads) if method == "GET" else ("write", self.writes)
        point = self._random.random()
        for fault, share in rates.items():
            point -= share
            if point < 0:
                self.injected[kind, fault] += 1
                return fault
        return None

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """The server's whole answer, with its length. HTTP/1.0, so that the end of the stream is its end."""
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            line, _, headers = head.partition(b"\r\n")
            kept = [
                one for one in headers.split(b"\r\n") if one and not one.lower().startswith(b"connection:")
            ]
            writer.write(b"\r\n".join([line.replace(b"HTTP/1.1", b"HTTP/1.0"), *kept, b"", b""]) + body)
            await writer.drain()
            whole = await reader.read(-1)
        finally:
            writer.transport.abort()
        answered, separator, content = whole.partition(b"\r\n\r\n")
        if not separator:
            raise ValueError("no answer")
        said = _header(answered + b"\r\n", b"content-length")
        if said is not None and int(said) != len(content):
            raise ValueError("the answer is not whole")
        status, *given = answered.split(b"\r\n")
        dropped = (b"connection:", b"content-length:", b"transfer-encoding:")
        kept = [one for one in given if not one.lower().startswith(dropped)]
        status = status.replace(b"HTTP/1.0", b"HTTP/1.1")
        return b"\r\n".join([status, *kept, b"Content-Length: %d" % len(content), b"", b""]) + content


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _error() -> bytes:
    body = b"rpc error: leadership lost while committing log"
    head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


async def _answer(writer: asyncio.StreamWriter, answer: bytes) -> bool:
    writer.write(answer)
    await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    """The connection ends with a RST, at once."""
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
