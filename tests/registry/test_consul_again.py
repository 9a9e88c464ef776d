"""Reads of Consul that fail for a reason that passes are tried again in the time of one call; the others are not."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler

import pytest

from auditor.errors import GapReason
from auditor.registry.answers import retry_after
from auditor.registry.consul import ConsulRegistry
from auditor.settings.consul import ConsulSettings
from auditor.values.models import RegistryReading
from tests.registry.records_of import PREFIX, record
from tests.registry.scripted_server import HEALTHY, Scripted, scripted_server

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def server() -> Iterator[Scripted]:
    """A server that is told what to answer."""
    with scripted_server() as script:
        yield script


def said(status: int, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {**HEALTHY, "Content-Length": str(len(body)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return write


ROW = {"Key": f"{PREFIX}mine", "CreateIndex": 5, "ModifyIndex": 6}
WHOLE = said(200, json.dumps([{**ROW, "Value": base64.b64encode(record("mine")).decode()}]).encode())


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def hung_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


PASSING: dict[str, Answer] = {
    "no leader": said(500, b"No cluster leader"),
    "an answer without a leader": said(200, b"[]", {"X-Consul-KnownLeader": "false"}),
    "429": said(429, b"slow down", {"Retry-After": "0"}),
    "500": said(500, b"rpc error"),
    "502": said(502, b"bad gateway"),
    "503": said(503, b""),
    "504": said(504, b""),
    "a reset": reset,
    "a hang-up": hung_up,
    "a cut answer": said(200, b"[", {"Content-Length": "999"}),
}

LASTING: dict[str, Answer] = {
    "400": said(400, b"bad request"),
    "403": said(403, b"Permission denied"),
    "404": said(404, b"not found"),
    "501": said(501, b"not implemented"),
    "no path to the datacenter": said(500, b"No path to datacenter"),
    "no HTTP": no_http,
}


def answering(server: Scripted, *answers: Answer) -> None:
    """Have the server give the answers one after the other, the last one again and again."""
    server.write = lambda handler: answers[min(len(server.asked), len(answers)) - 1](handler)


async def read(server: Scripted, seconds: float = 3.0) -> RegistryReading:
    return await ConsulRegistry(ConsulSettings(url=server.url, timeout=seconds), None).read()


@pytest.mark.parametrize("fault", PASSING)
async def test_what_passes_is_tried_again_and_is_no_gap(server: Scripted, fault: str) -> None:
    answering(server, PASSING[fault], WHOLE)
    reading = await read(server)
    assert (len(reading.registrations), reading.gaps) == (1, ())
    assert len(server.asked) == 2


@pytest.mark.parametrize("fault", LASTING)
async def test_what_lasts_is_told_at_once(server: Scripted, fault: str) -> None:
    answering(server, LASTING[fault], WHOLE)
    assert len((await read(server)).gaps) == 1
    assert len([path for path in server.asked if "recurse" in path]) == 1


async def test_a_try_that_hangs_is_given_up_in_time_for_another(server: Scripted) -> None:
    def hang(_: BaseHTTPRequestHandler) -> None:
        server.closing.wait(20)

    answering(server, hang, WHOLE)
    reading = await read(server, 0.6)
    assert (len(reading.registrations), reading.gaps) == (1, ())


async def test_an_answer_that_has_begun_has_all_the_time_there_is(server: Scripted) -> None:
    """A large registry is not cut in half for being slow."""

    def late(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 2\r\n\r\n")
        handler.wfile.flush()
        server.closing.wait(0.5)
        handler.wfile.write(b"[]")

    answering(server, late)
    (gap,) = (await read(server, 0.8)).gaps
    assert gap.reason is GapReason.REGISTRY_EMPTY
    assert len(server.asked) == 1


async def test_tries_end_with_the_timeout_and_the_gap_counts_them(server: Scripted) -> None:
    answering(server, PASSING["502"])
    started = time.monotonic()
    (gap,) = (await read(server, 0.5)).gaps
    assert time.monotonic() - started < 1.5
    assert "502 bad gateway" in gap.detail
    assert f"tried {len(server.asked)} times" in gap.detail
    assert len(server.asked) > 1


async def test_what_consul_said_counts_for_more_than_that_time_ran_out(server: Scripted) -> None:
    def hang(_: BaseHTTPRequestHandler) -> None:
        server.closing.wait(20)

    answering(server, PASSING["no leader"], hang)
    (gap,) = (await read(server, 0.4)).gaps
    assert gap.reason is GapReason.CONSUL_NO_LEADER


async def test_who_asks_for_more_time_than_there_is_gets_no_second_question(server: Scripted) -> None:
    answering(server, said(429, b"slow down", {"Retry-After": "30"}), WHOLE)
    started = time.monotonic()
    (gap,) = (await read(server)).gaps
    assert time.monotonic() - started < 1
    assert "429 slow down; it asks to be left alone for 30 s" in gap.detail


def test_a_time_to_wait_is_read_as_seconds_or_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (retry_after(later) or 0) <= 60
    assert retry_after("7") == 7
    assert [retry_after(odd) for odd in ("", "-1", "soon", "²", "9" * 40)] == [None] * 5
