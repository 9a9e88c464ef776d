"""Reads of Consul against servers that never come to an end: each call ends when its time is over, and says so."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler

import pytest
from pydantic import SecretStr

from auditor.errors import GapReason, RegistryError, StoreError
from auditor.registry import agent as agent_module
from auditor.registry.consul import ConsulRegistry
from auditor.registry.interface import Create
from auditor.registry.store import ConsulStore
from auditor.registry.workloads import read_services, read_workloads
from auditor.settings.consul import ConsulSettings
from auditor.values.models import Gap, NodeId
from tests.registry.scripted_server import HEALTHY, Scripted, scripted_server

TIMEOUT = 0.2
SPARE = 1.0
"""Seconds after the timeout in which a call must have ended."""

STATUS = b"HTTP/1.1 200 OK\r\n"
HEADERS = b"".join(f"{name}: {value}\r\n".encode() for name, value in HEALTHY.items())
CHUNKED = STATUS + HEADERS + b"Transfer-Encoding: chunked\r\n\r\n"

ENDLESS = {
    "a header of one byte at a time": (STATUS + b"X-Slow: ", b"x"),
    "one header after the other": (STATUS, b"X-More: 1\r\n"),
    "a status line of one byte at a time": (b"HTTP/1.1 200 ", b"O"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (CHUNKED + b"2\r\n[]\r\n0\r\n", b"X-More: 1\r\n"),
    "an extension of a chunk": (CHUNKED + b"2;", b"x"),
    "blanks as chunks": (CHUNKED, b"1\r\n \r\n"),
    "a size of a chunk": (CHUNKED, b"0"),
    "a body": (STATUS + HEADERS + b"\r\n", b" "),
    "a refusal": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9999\r\n\r\n", b" "),
    "nothing": (b"", b""),
}


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that is told what to answer."""
    with scripted_server() as script:
        yield script


def dripping(server: Scripted, head: bytes, drop: bytes, pause: float) -> None:
    """Have the server answer with the head, and then drop by drop until the client has gone."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.wfile.write(head)
            while not server.closing.wait(pause):
                handler.wfile.write(drop)
        except OSError:
            return  # the client has gone, as it should

    server.write = write


def settings_for(server: Scripted, timeout: float = TIMEOUT) -> ConsulSettings:
    return ConsulSettings(url=server.url, timeout=timeout)


async def read_gap(server: Scripted, seconds: float = TIMEOUT) -> Gap:
    (gap,) = (await ConsulRegistry(settings_for(server, seconds), None).read()).gaps
    return gap


@pytest.mark.parametrize(
    ("kind", "pause"),
    [
        *((kind, 0.02) for kind in ENDLESS),
        *((kind, 0.0) for kind in ("100 Continue", "trailers", "blanks as chunks")),
    ],
)
async def test_an_answer_without_end_is_a_gap_in_time(server: Scripted, kind: str, pause: float) -> None:
    dripping(server, *ENDLESS[kind], pause)
    started = time.monotonic()
    gap = await read_gap(server)
    assert time.monotonic() - started < TIMEOUT + SPARE
    assert gap.reason is GapReason.CONSUL_TIMEOUT


async def test_a_tls_handshake_that_is_never_answered_is_a_gap_in_time() -> None:
    """The kernel takes the connection, and nobody speaks."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = ConsulSettings(url=f"https://127.0.0.1:{silent.getsockname()[1]}", timeout=TIMEOUT)
        started = time.monotonic()
        (gap,) = (await ConsulRegistry(settings, None).read()).gaps
    assert time.monotonic() - started < TIMEOUT + SPARE
    assert gap.reason is GapReason.CONSUL_TIMEOUT


async def test_a_read_that_was_given_up_leaves_no_thread_behind(server: Scripted) -> None:
    """A fleet of hanging reads would fill a daemon's memory."""
    dripping(server, *ENDLESS["100 Continue"], 0.0)
    await read_gap(server)
    left = [thread for thread in threading.enumerate() if thread.name == "wgaudit-consul"]
    for thread in left:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in left)


def store(server: Scripted) -> ConsulStore:
    return ConsulStore(settings_for(server), SecretStr("token"))


CALLS: dict[str, Callable[[Scripted], object]] = {
    "read a key": lambda server: store(server).read("k"),
    "list keys": lambda server: store(server).list("k/"),
    "write": lambda server: store(server).commit([Create("k", b"v")]),
    "read services": lambda server: read_services(settings_for(server), None, [NodeId("", "a")]),
    "read workloads": lambda server: read_workloads(settings_for(server), None, "", "nomad"),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_other_call_ends_in_time_too(server: Scripted, call: str) -> None:
    """`allocate` and `doctor` have no deadline of a sweep around them."""
    dripping(server, *ENDLESS["100 Continue"], 0.02)
    started = time.monotonic()
    with pytest.raises((StoreError, RegistryError), match="no whole answer within"):
        CALLS[call](server)
    assert time.monotonic() - started < TIMEOUT + SPARE


@pytest.mark.parametrize("ask", [ConsulRegistry.leader, ConsulRegistry.listed])
async def test_what_doctor_asks_ends_in_time(
    server: Scripted, ask: Callable[[ConsulRegistry], object]
) -> None:
    dripping(server, *ENDLESS["trailers"], 0.02)
    started = time.monotonic()
    answer = await partial(ask, ConsulRegistry(settings_for(server), None))()  # type: ignore[misc]
    assert time.monotonic() - started < TIMEOUT + SPARE
    assert isinstance(answer, Gap)
    assert answer.reason is GapReason.CONSUL_TIMEOUT


async def test_redirects_in_a_circle_are_one_question_and_one_gap(server: Scripted) -> None:
    server.status, server.headers = 302, {"Location": f"{server.url}/v1/kv/again"}
    gap = await read_gap(server)
    assert "redirected to" in gap.detail
    assert len(server.asked) == 1


async def test_a_redirect_with_an_endless_body_is_not_read(server: Scripted) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n"
    dripping(server, head, b" " * 65_536, 0.0)
    gap = await read_gap(server, 5.0)
    assert "redirected to /elsewhere" in gap.detail


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_compressed_answer_that_unpacks_to_too_much_is_a_gap(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, layers: int
) -> None:
    """Plain text was asked for."""
    monkeypatch.setattr(agent_module, "MAX_ANSWER", 1024 * 1024)
    body = b" " * (64 * 1024 * 1024)
    for _ in range(layers):
        body = gzip.compress(body, 1)
    encoding = ", ".join(["gzip"] * layers)
    server.headers, server.body = {**HEALTHY, "Content-Encoding": encoding}, body
    gap = await read_gap(server, 5.0)
    assert (gap.reason, "larger than" in gap.detail) == (GapReason.CONSUL_UNREADABLE, True)
