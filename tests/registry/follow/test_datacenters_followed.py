"""Every datacenter that Consul knows, followed: the list itself changes, and may be unreadable."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest

from auditor.errors import GapReason
from auditor.registry.follow import datacenter_list
from tests.registry.follow.following import follower, following, names
from tests.registry.records_of import PREFIX, record
from tests.registry.scripted_server import HEALTHY, Scripted, scripted_server


class Datacenters:
    """A server of several datacenters, each with one node of its name; waiting queries wait."""

    def __init__(self, server: Scripted) -> None:
        self.listed: list[str] | None = ["dc1", "dc2"]
        """None: the list cannot be read."""
        self._server = server
        server.write = self._write

    def _write(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if parts.path == "/v1/catalog/datacenters":
            self._send(handler, 200 if self.listed is not None else 500, json.dumps(self.listed).encode())
        elif "recurse" not in query:
            self._send(handler, 404, b"")
        elif "index" in query:
            self._server.closing.wait(30)
        else:
            name = query["dc"][0]
            row = {
                "Key": PREFIX + name,
                "Value": base64.b64encode(record(name)).decode(),
                "CreateIndex": 5,
                "ModifyIndex": 6,
            }
            self._send(handler, 200, json.dumps([row]).encode())

    @staticmethod
    def _send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
        handler.send_response(status)
        for name, value in {**HEALTHY, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def datacenters(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Scripted, Datacenters]]:
    monkeypatch.setattr(datacenter_list, "AGAIN_AFTER", 0.05)
    with scripted_server() as server:
        yield server, Datacenters(server)


def test_the_list_is_read_often_enough() -> None:
    """A datacenter that goes, or comes, is noticed within 30 s."""
    assert datacenter_list.AGAIN_AFTER <= 30


async def test_a_datacenter_that_goes_is_a_gap_and_one_that_comes_is_followed(
    datacenters: tuple[Scripted, Datacenters],
) -> None:
    server, consul = datacenters
    async with following(follower(server.url, datacenters=["*", "!lab"])) as stream:
        await stream.until(lambda _: {"dc1", "dc2"} <= stream.latest.keys())
        consul.listed = ["dc1", "dc3", "lab"]
        await stream.until(lambda _: "dc3" in stream.latest and stream.latest["dc2"].reading.gaps)
        gone = stream.latest["dc2"]
        assert [(gap.reason, gap.datacenter) for gap in gone.reading.gaps] == [
            (GapReason.DATACENTER_GONE, "dc2")
        ]
        assert gone.event == "Consul lists dc2 no more"
        assert names(stream.latest["dc3"]) == ["dc3"]
        consul.listed = ["dc1", "dc2"]
        back = await stream.until(lambda news: news.datacenter == "dc2")
        assert (names(back), back.reading.gaps) == (["dc2"], ())
        assert "lab" not in stream.latest


async def test_a_list_that_cannot_be_read_is_a_gap_beside_what_is_followed(
    datacenters: tuple[Scripted, Datacenters],
) -> None:
    server, consul = datacenters
    async with following(follower(server.url, datacenters=["*"])) as stream:
        await stream.until(lambda _: {"dc1", "dc2"} <= stream.latest.keys())
        consul.listed = None
        unread = await stream.next()
        assert (unread.datacenter, [gap.reason for gap in unread.reading.gaps]) == (
            "",
            [GapReason.CONSUL_HTTP],
        )
        assert "Consul's list of datacenters cannot be read" in unread.event
        consul.listed = ["dc1", "dc2"]
        again = await stream.next()
        assert (again.datacenter, again.reading.gaps) == ("", ())
