"""The registry against a server that answers wrongly: each fault is a gap of its own, and no token leaks."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from pydantic import SecretStr

from auditor.errors import GapReason
from auditor.registry import agent as agent_module
from auditor.registry.consul import ConsulRegistry
from auditor.settings.consul import ConsulSettings
from auditor.values.models import Gap, RegistryReading
from tests.registry.records_of import PREFIX, record
from tests.registry.scripted_server import HEALTHY, Scripted, scripted_server

TOKEN = "planted-token-8d1f"
SHORT = 1.0
"""Seconds for a read that fails at each try: time for two or three."""


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted_server() as script:
        yield script


def registry(server: Scripted, **settings: object) -> ConsulRegistry:
    given = {"url": server.url, "timeout": 5.0, **settings}
    return ConsulRegistry(ConsulSettings.model_validate(given), SecretStr(TOKEN))


async def read(server: Scripted, **settings: object) -> RegistryReading:
    return await registry(server, **settings).read()


async def gap_of(server: Scripted, **settings: object) -> Gap:
    reading = await read(server, **settings)
    assert reading.registrations == ()
    assert reading.invalid == ()
    assert len(reading.gaps) == 1, reading.gaps
    assert TOKEN not in repr(reading)
    assert len(reading.gaps[0].detail) < 500
    return reading.gaps[0]


def rows(*names: str) -> bytes:
    return json.dumps(
        [
            {
                "Key": PREFIX + name,
                "Value": base64.b64encode(record(name)).decode(),
                "CreateIndex": 5,
                "ModifyIndex": 6,
            }
            for name in names
        ]
    ).encode()


async def test_a_whole_answer_gives_registrations_and_no_gap(server: Scripted) -> None:
    """The other tests here change one thing each of what this one answers."""
    server.body = rows("edge-sin-1")
    reading = await read(server)
    assert [one.node.name for one in reading.registrations] == ["edge-sin-1"]
    assert reading.gaps == ()


async def test_the_question_is_consistent_and_carries_the_token_in_a_header_only(server: Scripted) -> None:
    server.body = rows("edge-sin-1")
    await read(server, datacenters=["dc1"])
    assert server.asked == [f"/v1/kv/{PREFIX}?recurse=1&dc=dc1&consistent=1"]
    assert server.asked_headers[0]["X-Consul-Token"] == TOKEN


async def test_a_url_with_a_path_is_asked_under_that_path(server: Scripted) -> None:
    server.body = rows("edge-sin-1")
    reading = await ConsulRegistry(ConsulSettings(url=server.url + "/consul/"), None).read()
    assert len(reading.registrations) == 1
    assert server.asked[0].startswith(f"/consul/v1/kv/{PREFIX}?")


async def test_no_authorization_header_comes_from_a_netrc(
    server: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("default login someone password planted\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.body = rows("edge-sin-1")
    await read(server)
    assert "Authorization" not in server.asked_headers[0]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (403, b"Permission denied", GapReason.CONSUL_FORBIDDEN),
        (403, b"ACL not found", GapReason.CONSUL_FORBIDDEN),
        (400, b"Bad request", GapReason.CONSUL_HTTP),
        (401, b"ACL support disabled", GapReason.CONSUL_HTTP),
        (429, b"slow down", GapReason.CONSUL_HTTP),
        (500, b"rpc error making call: EOF", GapReason.CONSUL_HTTP),
        (500, b"No cluster leader", GapReason.CONSUL_NO_LEADER),
        (500, b"rpc error making call: No cluster leader", GapReason.CONSUL_NO_LEADER),
        (500, b"No path to datacenter", GapReason.CONSUL_HTTP),
        (502, b"<html>Bad gateway</html>", GapReason.CONSUL_HTTP),
        (503, b"", GapReason.CONSUL_HTTP),
        (204, b"", GapReason.CONSUL_HTTP),
    ],
)
async def test_a_refusal_is_a_gap_with_its_status_and_words(
    server: Scripted, status: int, body: bytes, reason: GapReason
) -> None:
    server.status, server.body = status, body
    gap = await gap_of(server, timeout=SHORT)
    assert gap.reason is reason
    assert f"{status} {body.decode()}".strip() in gap.detail


async def test_an_error_body_is_cut_and_shows_no_control_characters(server: Scripted) -> None:
    server.status, server.body = 500, b"\x1b[2J\r\n" + b"x" * 100_000
    gap = await gap_of(server, timeout=SHORT)
    assert gap.detail.isprintable()
    assert "x" * 100 in gap.detail
    assert "x" * 200 not in gap.detail


async def test_a_body_that_echoes_the_token_does_not_get_it_into_the_gap(server: Scripted) -> None:
    """Not whole, and not its first characters where the body is cut."""
    for padding in (0, 100):
        server.status, server.body = 403, b"y" * padding + f"token {TOKEN} is unknown".encode()
        gap = await gap_of(server)
        assert TOKEN[:8] not in gap.detail


async def test_a_404_that_is_not_consuls_own_is_no_missing_prefix(server: Scripted) -> None:
    server.status, server.headers, server.body = 404, {}, b"nginx: not found"
    assert (await gap_of(server)).reason is GapReason.CONSUL_HTTP


async def test_a_redirect_is_not_followed_with_the_token(server: Scripted) -> None:
    with scripted_server() as elsewhere:
        server.status = 302
        server.headers = {"Location": f"{elsewhere.url}/v1/kv/?secret=1"}
        gap = await gap_of(server)
        assert elsewhere.asked == []
    assert gap.reason is GapReason.CONSUL_HTTP
    assert f"redirected to {elsewhere.url}/v1/kv/;" in gap.detail
    assert "secret" not in gap.detail


async def test_an_answer_without_a_known_leader_is_a_gap_although_it_lists_nodes(server: Scripted) -> None:
    server.headers, server.body = {**HEALTHY, "X-Consul-KnownLeader": "false"}, rows("edge-sin-1")
    assert (await gap_of(server, timeout=SHORT)).reason is GapReason.CONSUL_NO_LEADER


@pytest.mark.parametrize(
    "header",
    [
        {"X-Cache": "HIT"},
        {"X-Cache": "Hit from cloudfront"},
        {"X-Cache": "MISS, TCP_MEM_HIT from edge"},
        {"X-Cache-Status": "STALE"},
        {"Cache-Status": "proxy; hit; ttl=30"},
        {"Age": "12"},
        {"X-Consul-LastContact": "1500"},
        {"X-Consul-Effective-Consistency": "stale"},
    ],
    ids=str,
)
async def test_an_answer_that_is_not_of_now_is_a_gap_although_it_lists_nodes(
    server: Scripted, header: dict[str, str]
) -> None:
    """What was written since is not in it."""
    server.headers, server.body = {**HEALTHY, **header}, rows("edge-sin-1")
    gap = await gap_of(server)
    assert gap.reason is GapReason.CONSUL_STALE
    assert next(iter(header.values())).lower() in gap.detail.lower()
    assert "set consul.url to the agent itself" in gap.detail


async def test_a_missing_prefix_out_of_a_cache_is_not_believed(server: Scripted) -> None:
    server.status, server.headers = 404, {**HEALTHY, "Age": "12"}
    assert (await gap_of(server)).reason is GapReason.CONSUL_STALE


@pytest.mark.parametrize(
    "header",
    [
        {"X-Cache": "MISS from hit.example.net"},
        {"Age": "0"},
        {"Cache-Status": "proxy; fwd=stale"},
        {"X-Consul-Effective-Consistency": "consistent"},
    ],
    ids=str,
)
async def test_a_cache_that_passed_the_question_on_is_no_gap(
    server: Scripted, header: dict[str, str]
) -> None:
    server.headers, server.body = {**HEALTHY, **header}, rows("edge-sin-1")
    assert (await read(server)).gaps == ()


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (403, HEALTHY, GapReason.CONSUL_FORBIDDEN),
        (404, HEALTHY, GapReason.PREFIX_NOT_FOUND),
        (200, HEALTHY, GapReason.REGISTRY_EMPTY),
        (200, {**HEALTHY, "X-Consul-Results-Filtered-By-ACLs": "true"}, GapReason.CONSUL_FILTERED),
    ],
)
@pytest.mark.parametrize("token", [None, SecretStr(TOKEN)], ids=["without", "with"])
async def test_that_no_token_was_sent_is_said_where_it_may_be_why(
    server: Scripted, status: int, headers: dict[str, str], reason: GapReason, token: SecretStr | None
) -> None:
    server.status, server.headers = status, headers
    reading = await ConsulRegistry(ConsulSettings(url=server.url), token).read()
    details = {gap.reason: gap.detail for gap in reading.gaps}
    assert ("no token was sent" in details[reason]) == (token is None)


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/dc1/kv", "/v1", "/v1/", "/v1/kv/wireguard"])
async def test_a_url_of_the_page_or_of_the_api_is_told_how_to_write_it(server: Scripted, path: str) -> None:
    """The page answers with HTML to whatever is asked."""
    server.headers, server.body = {"Content-Type": "text/html"}, b"<html>"
    gap = await gap_of(server, url=f"{server.url}{path}")
    assert f"does not belong there: write {server.url}" in gap.detail


async def test_a_url_with_another_path_gets_no_such_hint(server: Scripted) -> None:
    server.headers, server.body = {}, b"<html>"
    assert "does not belong there" not in (await gap_of(server, url=f"{server.url}/consul-ui/v10")).detail


# -- datacenters


async def test_a_datacenter_is_left_out_of_all_of_them(server: Scripted) -> None:
    server.body = b'["dc1", "lab"]'
    await read(server, datacenters=["*", "!lab"])
    assert [path.partition("&dc=")[2].partition("&")[0] for path in server.asked[1:]] == ["dc1"]


async def test_leaving_out_all_datacenters_is_a_gap(server: Scripted) -> None:
    server.body = b'["lab"]'
    gap = await gap_of(server, datacenters=["*", "!lab"])
    assert gap.reason is GapReason.REGISTRY_EMPTY
    assert "leaves all of them out" in gap.detail


async def test_a_datacenter_that_is_named_beside_all_is_asked_for_though_it_is_not_listed(
    server: Scripted,
) -> None:
    server.body = b'["dc1"]'
    await read(server, datacenters=["*", "dc2"])
    assert any("dc=dc2" in path for path in server.asked)


@pytest.mark.parametrize(
    ("datacenters", "missed"),
    [(["*"], ["dc2", "dc3"]), (["*", "!dc2"], ["dc3"]), (["*", "dc3"], ["dc2"]), (["dc1"], []), ([], [])],
)
async def test_a_datacenter_of_before_that_is_not_listed_any_more_is_a_gap(
    server: Scripted, datacenters: list[str], missed: list[str]
) -> None:
    """Only where every one is asked for, and for none that is left out."""
    server.body = b'["dc1"]'
    settings = ConsulSettings.model_validate({"url": server.url, "datacenters": datacenters})
    reading = await ConsulRegistry(settings, None).expecting(["", "dc1", "dc2", "dc3"]).read()
    gone = [gap for gap in reading.gaps if gap.reason is GapReason.DATACENTER_GONE]
    assert [gap.datacenter for gap in gone] == missed
    assert all(f'add "!{gap.datacenter}" to consul.datacenters' in gap.detail for gap in gone)


# -- other ways to the server


async def test_a_consul_behind_a_unix_socket_is_read(tmp_path: Path) -> None:
    with scripted_server(tmp_path / "consul.sock") as server:
        server.body = rows("edge-sin-1")
        reading = await read(server)
        assert (len(reading.registrations), reading.gaps) == (1, ())
        assert server.asked_headers[0]["X-Consul-Token"] == TOKEN
        assert server.asked[0].startswith(f"/v1/kv/{PREFIX}?")


async def test_a_unix_socket_that_is_not_there_is_unreachable(server: Scripted, tmp_path: Path) -> None:
    gap = await gap_of(server, url=f"unix://{tmp_path}/none.sock")
    assert gap.reason is GapReason.CONSUL_UNREACHABLE
    assert f"unix://{tmp_path}/none.sock:" in gap.detail
    assert "No such file or directory" in gap.detail


@pytest.mark.parametrize("index", [None, "", "seven", "-1", "1.5", "²"])
async def test_an_answer_without_a_usable_index_is_a_gap(server: Scripted, index: str | None) -> None:
    headers = {"X-Consul-KnownLeader": "true"}
    if index is not None:
        headers["X-Consul-Index"] = index
    server.headers, server.body = headers, rows("edge-sin-1")
    assert (await gap_of(server)).reason is GapReason.CONSUL_NO_INDEX


async def test_a_filtered_list_keeps_what_came_and_adds_a_gap(server: Scripted) -> None:
    server.headers = {**HEALTHY, "X-Consul-Results-Filtered-By-ACLs": "true"}
    server.body = rows("edge-sin-1")
    reading = await read(server)
    assert len(reading.registrations) == 1
    assert [gap.reason for gap in reading.gaps] == [GapReason.CONSUL_FILTERED]


async def test_an_empty_list_is_a_gap(server: Scripted) -> None:
    server.body = b"[]"
    assert (await gap_of(server)).reason is GapReason.REGISTRY_EMPTY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>welcome</html>",
        b'{"Key": "x"}',
        b"null",
        b"[1]",
        b'["x"]',
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        rows("edge-sin-1")[:-20],
        b'[{"Key": "elsewhere/x", "Value": null}]',
        b'[{"Key": 5, "Value": null}]',
        b'[{"Value": null}]',
        b'[{"Key": "wireguard/nodes/x", "Value": "x"}]',
        b'[{"Key": "wireguard/nodes/x", "Value": 7}]',
    ],
    ids=lambda body: body[:24].decode(errors="replace"),
)
async def test_a_body_that_is_no_list_of_keys_is_a_gap(server: Scripted, body: bytes) -> None:
    server.body = body
    assert (await gap_of(server)).reason is GapReason.CONSUL_UNREADABLE


@pytest.mark.parametrize(
    "body", [b'[{"Address": "x"}]', b'[{"Node": "x", "Meta": []}, 1]', b'[{"Node": "x", "Meta": {"ip": 5}}]']
)
async def test_a_catalog_body_that_is_no_list_of_nodes_is_a_gap(server: Scripted, body: bytes) -> None:
    server.body = body
    assert (await gap_of(server, layout="catalog")).reason is GapReason.CONSUL_UNREADABLE


@pytest.mark.parametrize("body", [b"[]", b"{}", b'["dc1", 5]', b'["dc1", ""]', b'["a\\u001bb"]'])
async def test_a_failure_to_list_datacenters_is_one_gap_without_a_datacenter(
    server: Scripted, body: bytes
) -> None:
    server.body = body
    gap = await gap_of(server, datacenters=["*"])
    assert (gap.reason, gap.datacenter) == (GapReason.CONSUL_UNREADABLE, None)


async def test_a_server_that_hangs_is_a_timeout(server: Scripted) -> None:
    def hang(handler: BaseHTTPRequestHandler) -> None:
        server.closing.wait(20)

    server.write = hang
    gap = await asyncio.wait_for(gap_of(server, timeout=0.3), 10)
    assert gap.reason is GapReason.CONSUL_TIMEOUT
    assert "0.3 s" in gap.detail


async def test_a_server_that_drips_is_a_timeout_too(server: Scripted) -> None:
    """Each byte comes well within the timeout; the whole never does."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in {**HEALTHY, "Content-Length": "1000000"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            for _ in range(100):
                server.closing.wait(0.05)
                handler.wfile.write(b" ")
        except OSError:
            return  # the client has gone, as it should

    server.write = drip
    started = time.monotonic()
    gap = await gap_of(server, timeout=0.5)
    assert gap.reason is GapReason.CONSUL_TIMEOUT
    assert time.monotonic() - started < 5


async def test_a_connection_that_ends_early_is_a_gap_although_the_json_so_far_is_whole(
    server: Scripted,
) -> None:
    def stop_halfway(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in {**HEALTHY, "Content-Length": "1000000"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(rows("edge-sin-1"))
        handler.close_connection = True

    server.write = stop_halfway
    assert (await gap_of(server, timeout=SHORT)).reason is GapReason.CONSUL_UNREACHABLE


async def test_a_chunked_answer_is_read_whole(server: Scripted) -> None:
    """Consul answers so as soon as the list is not small."""

    def in_chunks(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        for name, value in {**HEALTHY, "Transfer-Encoding": "chunked", "Connection": "close"}.items():
            handler.send_header(name, value)
        handler.end_headers()
        body = rows("edge-sin-1", "worker-fra-1")
        for start in range(0, len(body), 100):
            chunk = body[start : start + 100]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        handler.wfile.write(b"0\r\n\r\n")

    server.write = in_chunks
    assert len((await read(server)).registrations) == 2


async def test_an_endless_answer_is_a_gap_and_stays_out_of_memory(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 4 * 1024 * 1024
    monkeypatch.setattr(agent_module, "MAX_ANSWER", limit)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        for name, value in HEALTHY.items():
            handler.send_header(name, value)
        handler.end_headers()
        try:
            while not server.closing.is_set():
                handler.wfile.write(b" " * 65_536)
        except OSError:
            return  # the client has gone, as it should

    server.write = endless
    tracemalloc.start()
    gap = await gap_of(server, timeout=30.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert gap.reason is GapReason.CONSUL_UNREADABLE
    assert "larger than" in gap.detail
    assert peak < 4 * limit


async def test_a_server_that_is_no_http_server_is_unreachable(server: Scripted) -> None:
    def greet(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    server.write = greet
    assert (await gap_of(server)).reason is GapReason.CONSUL_UNREACHABLE


async def test_the_token_is_in_no_log_not_even_at_debug(
    server: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.body = rows("edge-sin-1")
    reader = registry(server)
    await reader.read()
    server.status = 403
    await reader.read()
    assert server.asked_headers[1]["X-Consul-Token"] == TOKEN
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(vars(reader))


async def test_no_leader_is_told_to_doctor(server: Scripted) -> None:
    server.body = b'""'
    answer = await registry(server).leader()
    assert isinstance(answer, Gap)
    assert answer.reason is GapReason.CONSUL_NO_LEADER


async def test_a_leader_that_is_no_text_is_told_to_doctor(server: Scripted) -> None:
    server.body = b"[]"
    answer = await registry(server).leader()
    assert isinstance(answer, Gap)
    assert answer.reason is GapReason.CONSUL_UNREADABLE
