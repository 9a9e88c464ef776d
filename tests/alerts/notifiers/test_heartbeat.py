"""The heartbeat: three addresses, one line when it fails, never an exception."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from pydantic import SecretStr

from alerts.notifiers.heartbeat import Heartbeat, HeartbeatKind, beat
from tests.doubles.server import Double, Reply, Trouble


@pytest.mark.parametrize(
    ("kind", "path"),
    [(HeartbeatKind.START, "/start"), (HeartbeatKind.SUCCESS, ""), (HeartbeatKind.FAILURE, "/fail")],
)
@pytest.mark.parametrize("slash", ["", "/"])
async def test_each_beat_has_its_address(kind: HeartbeatKind, path: str, slash: str, double: Double) -> None:
    """The convention of healthchecks.io."""
    assert await beat(SecretStr(f"{double.url}/ping/uuid{slash}"), kind, "findings: 2\nof 9") is None
    assert double.calls[0].path == f"/ping/uuid{path}"
    assert double.calls[0].body == b"findings: 2 of 9"


async def test_a_query_stays_behind_the_path(double: Double) -> None:
    """Such as a run's id."""
    await beat(SecretStr(f"{double.url}/ping/uuid?rid=7"), HeartbeatKind.START)
    assert double.calls[0].path == "/ping/uuid/start?rid=7"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Reply(404, b"not found"), "heartbeat: 404 Not Found: not found"),
        (Reply(200, b"OK (not found)"), "heartbeat: it was not counted: 200 OK: OK (not found)"),
        (Reply(500), "heartbeat: 500 Internal Server Error"),
        (Trouble.RESET, "heartbeat: the connection to"),
        (Trouble.SILENCE, "heartbeat: no whole answer from"),
    ],
    ids=str,
)
async def test_a_failure_is_one_line_and_nothing_more(
    fault: Reply | Trouble, says: str, double: Double
) -> None:
    """It never decides over the audit's own outcome."""
    double.fault = fault
    async with asyncio.timeout(10):
        said = await beat(SecretStr(f"{double.url}/ping/uuid"), HeartbeatKind.SUCCESS, timeout=0.5)
    assert said is not None
    assert said.startswith(says)
    assert said.isprintable()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_beat_comes_by_the_method_that_is_set(method: Literal["GET", "POST"], double: Double) -> None:
    heartbeat = Heartbeat(SecretStr(f"{double.url}/api/push/x?status=up"), method)
    assert await heartbeat.beat(HeartbeatKind.SUCCESS, "all well") is None
    (call,) = double.calls
    assert (call.method, call.path) == (method, "/api/push/x?status=up")
    assert call.body == (b"all well" if method == "POST" else b"")


async def test_kinds_that_a_service_does_not_know_are_not_sent(double: Double) -> None:
    heartbeat = Heartbeat(SecretStr(f"{double.url}/x"), kinds=frozenset({HeartbeatKind.SUCCESS}))
    for kind in HeartbeatKind:
        assert await heartbeat.beat(kind) is None
    assert [call.path for call in double.calls] == ["/x"]


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:9/x", "not a url"])
async def test_a_url_that_leads_nowhere_is_one_line(url: str) -> None:
    """Whatever is configured."""
    said = await beat(SecretStr(url), HeartbeatKind.START)
    assert said is not None
    assert said.startswith("heartbeat: ")
