"""What a NATS server says of itself, or something in its place: read whole, or one clear gap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import GapReason, ProbeError
from auditor.witnesses.nats import (
    MOST_INFO,
    MOST_VARZ,
    NatsServer,
    parse_info,
    parse_varz,
    read_info,
    read_varz,
    region_by_tag,
)

WHERE = "10.0.0.1:4222"
INFO = b'INFO {"server_id":"NABC","server_name":"edge-sin-1","version":"2.9.10","cluster":"sin"} \r\n'


class Said:
    """Connection from which these parts come."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = list(parts)
        self.read_bytes = 0
        self.sent = b""

    async def read(self, most: int) -> bytes:
        if not self._parts:
            return b""
        part, rest = self._parts[0][:most], self._parts[0][most:]
        self._parts[:1] = [rest] if rest else []
        self.read_bytes += len(part)
        return part

    def write(self, data: bytes) -> None:
        self.sent += data


def info_of(*parts: bytes) -> NatsServer:
    return asyncio.run(read_info(Said(parts), WHERE))


@given(st.lists(st.integers(1, len(INFO)), max_size=5))
def test_the_line_is_read_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(INFO)]
    parts = [INFO[a:b] for a, b in pairwise(places) if a < b]
    assert info_of(*parts, b"PING\r\n") == NatsServer("edge-sin-1", "sin")


def test_nothing_is_sent_to_the_client_port() -> None:
    said = Said([INFO])
    asyncio.run(read_info(said, WHERE))
    assert said.sent == b""


TOO_DEEP = "nested too deep|not JSON: Expecting value"
"""Python 3.13 reads on where 3.11 gives up, and comes to the end."""


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        (b"", GapReason.NO_ANSWER, "hung up without a word"),
        (b"INFO {", GapReason.UNREADABLE_ANSWER, "hung up within a line"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", GapReason.UNREADABLE_ANSWER, "not the INFO line"),
        (b"\x16\x03\x01\x02\n", GapReason.UNREADABLE_ANSWER, "not the INFO line"),
        (b"INFO \n", GapReason.UNREADABLE_ANSWER, "not JSON"),
        (b"INFO [1]\n", GapReason.UNREADABLE_ANSWER, "not a JSON object"),
        (b"INFO {}\n", GapReason.UNREADABLE_ANSWER, "neither server_name nor server_id"),
        (b'INFO {"server_name": 5}\n', GapReason.UNREADABLE_ANSWER, "server_name"),
        (b'INFO {"server_name":"a","server_name":"b"}\n', GapReason.UNREADABLE_ANSWER, "twice"),
        (b'INFO {"server_name":"\\u001b[2J\\u001b]0;x"}\n', GapReason.UNREADABLE_ANSWER, "server_name"),
        (b'INFO {"server_name":"a\\u202eb"}\n', GapReason.UNREADABLE_ANSWER, "server_name"),
        (b'INFO {"server_name":"a","cluster":["sin"]}\n', GapReason.UNREADABLE_ANSWER, "cluster"),
        (b'INFO {"server_name":"a","port":' + b"9" * 4000 + b"}\n", GapReason.UNREADABLE_ANSWER, "number"),
        (b'INFO {"a":' + b"[" * 4000 + b"\n", GapReason.UNREADABLE_ANSWER, TOO_DEEP),
        (b'INFO {"server_name":"' + b"a" * 300 + b'"}\n', GapReason.UNREADABLE_ANSWER, "server_name"),
        (b'INFO {"server_name":"\xff\xfe"}\n', GapReason.UNREADABLE_ANSWER, "not JSON"),
    ],
)
def test_what_is_no_info_line_is_one_clear_gap(said: bytes, reason: GapReason, words: str) -> None:
    with pytest.raises(ProbeError, match=words) as caught:
        info_of(said)
    assert caught.value.reason is reason
    assert caught.value.detail.startswith(WHERE)
    assert caught.value.detail.isprintable()


def test_a_line_without_end_is_read_no_further_than_its_bound() -> None:
    said = Said([b"INFO " + b"a" * 100_000])
    with pytest.raises(ProbeError, match="a line of more than 4,096 bytes"):
        asyncio.run(read_info(said, WHERE))
    assert said.read_bytes == MOST_INFO


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"INFO {" + rest))
def test_no_bytes_bring_anything_but_a_server_or_a_gap(line: bytes) -> None:
    found: list[str] = []
    try:
        found.append(parse_info(line, WHERE).name)
    except ProbeError as error:
        found += [error.detail, error.reason.value]
    assert all(text.isprintable() for text in found)
    assert len(found) == 1 or found[1] == GapReason.UNREADABLE_ANSWER


def test_a_server_without_a_name_is_called_by_its_id() -> None:
    assert parse_info(b'INFO {"server_id":"NABC"}', WHERE).name == "NABC"


# /varz


def varz(body: object, status: str = "200 OK") -> bytes:
    return f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\n\r\n{json.dumps(body)}".encode()


def test_varz_tells_tags_and_cluster() -> None:
    said = Said([varz({"server_name": "a", "tags": ["region:sin", "x"], "cluster": {"name": "sin"}})])
    assert asyncio.run(read_varz(said, WHERE)) == NatsServer("a", "sin", ("region:sin", "x"))
    assert said.sent.startswith(b"GET /varz HTTP/1.0\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\n",
        b"INFO {}\r\n\r\n{}",
        varz({"server_name": "a"}, "404 Not Found"),
        varz([]),
        varz({"server_name": "a", "tags": "region:sin"}),
        varz({"server_name": "a", "tags": [5]}),
        varz({"server_name": "a", "cluster": "sin"}),
        varz({"server_name": "a", "cluster": {"name": "a\x1b[2J"}}),
    ],
)
def test_what_is_no_answer_to_varz_is_one_clear_gap(answer: bytes) -> None:
    with pytest.raises(ProbeError) as caught:
        parse_varz(answer, WHERE)
    assert caught.value.reason is GapReason.UNREADABLE_ANSWER
    assert caught.value.detail.isprintable()


def test_an_endless_answer_to_varz_is_read_no_further_than_its_bound() -> None:
    said = Said([b"HTTP/1.0 200 OK\r\n\r\n" + b" " * (2 * MOST_VARZ)])
    with pytest.raises(ProbeError, match="more than 262,144 bytes"):
        asyncio.run(read_varz(said, WHERE))
    assert said.read_bytes <= MOST_VARZ + 1


@pytest.mark.parametrize(
    ("tags", "region"),
    [
        (("region:sin",), "sin"),
        (("Region: sin", "x:y"), "sin"),
        (("region:sin", "region:fra"), None),
        (("region:",), None),
        (("zone:sin",), None),
        (("region:" + "a" * 80,), None),
        ((), None),
    ],
)
def test_a_region_is_what_one_tag_names(tags: tuple[str, ...], region: str | None) -> None:
    assert region_by_tag(tags, "region:") == region


def test_without_a_beginning_tags_name_no_region() -> None:
    assert region_by_tag(("region:sin",), "") is None
