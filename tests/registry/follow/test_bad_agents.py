"""Following through what a real Consul cannot be made to show: proxies that cut or drip, answers that lie."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from auditor.errors import GapReason
from auditor.registry import agent
from tests.parts.consul import ConsulServer, make_tls
from tests.registry.follow.following import follower, following, names
from tests.registry.records_of import PREFIX, record
from tests.registry.scripted_server import HEALTHY, Scripted, scripted_server

pytestmark = pytest.mark.xdist_group("consul")

QUIET = 0.5
"""Seconds in which nothing must come that would have come at once."""
Answers = Callable[[BaseHTTPRequestHandler, int], None]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as script:
        yield script


def rows(*nodes: str) -> bytes:
    return json.dumps(
        [
            {
                "Key": PREFIX + name,
                "Value": base64.b64encode(record(name, f"10.0.0.{number}")).decode(),
                "CreateIndex": 5,
                "ModifyIndex": 6,
            }
            for number, name in enumerate(nodes, start=1)
        ]
    ).encode()


def send(handler: BaseHTTPRequestHandler, index: int, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    given = {**HEALTHY, "X-Consul-Index": str(index), "Content-Length": str(len(body)), **headers}
    for name, value in given.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def scripted(server: Scripted, plain: Answers, waiting: Answers) -> list[dict[str, list[str]]]:
    """Have the server answer plain reads of the prefix and waiting ones so, each with its number; what was asked."""
    asked: list[dict[str, list[str]]] = []
    numbers = {True: 0, False: 0}

    def write(handler: BaseHTTPRequestHandler) -> None:
        query = parse_qs(urlsplit(handler.path).query, keep_blank_values=True)
        if "recurse" not in query:
            send(handler, 7, b"", 404)
            return
        asked.append(query)
        waits = "index" in query
        numbers[waits] += 1
        try:
            (waiting if waits else plain)(handler, numbers[waits])
        except OSError:
            return  # the follower has gone, as it may

    server.write = write
    return asked


def held(server: Scripted) -> Answers:
    """Hold the answer back until the test is over."""
    return lambda _handler, _number: server.closing.wait(30) and None


def always(*nodes: str, index: int = 7) -> Answers:
    return lambda handler, _number: send(handler, index, rows(*nodes))


async def test_the_waiting_query_asks_as_the_rules_say(server: Scripted) -> None:
    asked = scripted(server, always("a"), held(server))
    async with following(follower(server.url, "token", 15.0, datacenters=["dc2"])) as stream:
        await stream.next()
        await stream.within(QUIET)
    first, second = asked
    assert first == {"recurse": ["1"], "dc": ["dc2"], "consistent": ["1"]}
    assert second == {**first, "index": ["7"], "wait": ["15000ms"]}
    assert all(headers["X-Consul-Token"] == "token" for headers in server.asked_headers)


@pytest.mark.parametrize("answer", [(200, rows("a")), (200, b"[]"), (404, b"")], ids=["fewer", "none", "404"])
async def test_what_shrank_in_a_waiting_query_is_not_believed_against_a_plain_read(
    server: Scripted, answer: tuple[int, bytes]
) -> None:
    def waiting(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            send(handler, 10, answer[1], answer[0])
        else:
            server.closing.wait(30)

    scripted(server, always("a", "b", index=9), waiting)
    async with following(follower(server.url)) as stream:
        assert names(await stream.next()) == ["a", "b"]
        assert await stream.within(QUIET) is None


async def test_an_index_of_zero_is_asked_as_one_and_one_that_goes_back_begins_anew(server: Scripted) -> None:
    def waiting(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number == 1:
            send(handler, 20, rows("a", "b"))
        elif number == 2:
            send(handler, 3, rows("a"))
        else:
            server.closing.wait(30)

    def plain(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 0 if number == 1 else 3, rows("a") if number == 1 else rows("a", "c"))

    asked = scripted(server, plain, waiting)
    async with following(follower(server.url)) as stream:
        assert names(await stream.next()) == ["a"]
        assert names(await stream.next()) == ["a", "b"]
        anew = await stream.next()
        await stream.within(QUIET)
    assert (names(anew), anew.confirmed, anew.woken) == (["a", "c"], True, False)
    assert "Consul's index went back from 20 to 3" in anew.event
    assert [query.get("index", ["plain"])[0] for query in asked] == ["plain", "1", "20", "plain", "3"]


async def test_a_proxy_that_cuts_every_waiting_query_is_said_once_and_hides_no_change(
    server: Scripted,
) -> None:
    def cut(handler: BaseHTTPRequestHandler, _number: int) -> None:
        server.closing.wait(0.05)
        handler.close_connection = True

    def plain(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 7, rows("a") if number < 4 else rows("a", "b"))

    asked = scripted(server, plain, cut)
    async with following(follower(server.url)) as stream:
        await stream.next()
        said = await stream.next()
        assert (names(said), said.reading.gaps) == (["a"], ())
        assert "a waiting query ended without an answer" in said.event
        changed = await stream.next()
        assert (names(changed), changed.event, changed.woken) == (["a", "b"], "", False)
        assert await stream.within(QUIET) is None
    waits = [int(query["wait"][0].removesuffix("ms")) for query in asked if "wait" in query]
    assert (waits[0], min(waits)) == (15000, 4000)


async def test_an_agent_that_cannot_be_read_is_told_once_and_asked_again_ever_more_slowly(
    server: Scripted,
) -> None:
    at: list[float] = []

    def refuse(handler: BaseHTTPRequestHandler, _number: int) -> None:
        at.append(time.monotonic())
        send(handler, 7, b"No cluster leader", 500)

    scripted(server, refuse, refuse)
    async with following(follower(server.url)) as stream:
        news = await stream.next()
        assert [gap.reason for gap in news.reading.gaps] == [GapReason.CONSUL_NO_LEADER]
        assert "No cluster leader" in news.event
        assert await stream.within(1.5) is None
    assert 4 <= len(at) <= 7  # after 0.1 s, 0.2 s, 0.4 s, 0.8 s, each less a random part
    assert at[-1] - at[-2] > at[1] - at[0]


@pytest.mark.parametrize("reads", ["plain", "waiting"])
async def test_an_answer_that_drips_without_end_is_a_gap_in_time(server: Scripted, reads: str) -> None:
    def drip(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nX-Consul-KnownLeader: true\r\n\r\n[")
        while not server.closing.wait(0.02):
            handler.wfile.write(b" ")

    def first(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 7, rows("a")) if reads == "waiting" and number == 1 else drip(handler, number)

    scripted(server, first, drip)
    async with following(follower(server.url, timeout=0.3)) as stream:
        started = time.monotonic()
        news = await stream.until(lambda news: bool(news.reading.gaps))
        assert news.reading.gaps[0].reason is GapReason.CONSUL_TIMEOUT
        assert time.monotonic() - started < 3


async def test_an_answer_without_a_bound_is_a_gap(server: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "MAX_ANSWER", 100_000)
    scripted(server, lambda handler, _: send(handler, 7, b" " * 200_000), held(server))
    async with following(follower(server.url)) as stream:
        [gap] = (await stream.next()).reading.gaps
    assert (gap.reason, "larger than 100000 bytes" in gap.detail) == (GapReason.CONSUL_UNREADABLE, True)


@pytest.mark.parametrize(
    ("body", "encoding", "outcome"),
    [
        (gzip.compress(rows("a")), "gzip", ["a"]),
        (gzip.compress(b" " * 10_000_000), "gzip", "larger than"),
        (gzip.compress(gzip.compress(rows("a"))), "gzip, gzip", "packed as gzip, gzip"),
        (rows("a"), "gzip", "is marked as gzip and is none"),
    ],
    ids=["gzip", "a bomb", "twice", "none"],
)
async def test_gzip_that_nobody_asked_for_is_unpacked_within_bounds(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, body: bytes, encoding: str, outcome: object
) -> None:
    monkeypatch.setattr(agent, "MAX_ANSWER", 1_000_000)
    scripted(server, lambda handler, _: send(handler, 7, body, Content_Encoding=encoding), held(server))
    async with following(follower(server.url)) as stream:
        news = await stream.next()
    if isinstance(outcome, str):
        assert outcome in news.reading.gaps[0].detail
    else:
        assert names(news) == outcome


async def test_confirm_asks_again_where_a_failure_passes_and_says_what_stays(server: Scripted) -> None:
    def plain(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 7, rows("a")) if number == 2 else send(handler, 7, b"No cluster leader", 500)

    scripted(server, plain, held(server))
    news = await follower(server.url).confirm("")
    assert (names(news), news.confirmed, news.index) == (["a"], True, 7)
    gaps = (await follower(server.url, timeout=0.3).confirm("dc7")).reading.gaps
    assert [(gap.reason, gap.datacenter) for gap in gaps] == [(GapReason.CONSUL_NO_LEADER, "dc7")]


async def test_a_unix_socket_is_followed(tmp_path: Path) -> None:
    with scripted_server(tmp_path / "consul.sock") as server:
        scripted(server, always("a"), held(server))
        async with following(follower(server.url)) as stream:
            assert names(await stream.next()) == ["a"]


async def test_certificates_and_the_servers_name_are_checked(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    trust = {"ca_file": str(files.ca), "cert_file": str(files.client_cert), "key_file": str(files.client_key)}
    with ConsulServer(tmp_path / "consul", tls=files) as consul:
        consul.put(PREFIX + "a", record("a"))
        url = consul.url.replace("127.0.0.1", "localhost")
        for settings, seen in (
            ({"url": consul.url, **trust}, ["a"]),
            ({"url": url, **trust}, "not trusted"),
            ({"url": url, **trust, "tls_server_name": "server.dc1.consul"}, ["a"]),
            ({"url": consul.url, **{name: trust[name] for name in ("cert_file", "key_file")}}, "not trusted"),
        ):
            async with following(follower(**settings)) as stream:
                news = await stream.next()
            if isinstance(seen, str):
                assert (news.reading.gaps[0].reason, seen in news.event) == (GapReason.CONSUL_TLS, True)
            else:
                assert names(news) == seen
