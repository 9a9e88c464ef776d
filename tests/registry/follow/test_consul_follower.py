"""Following a real Consul: what is written is told at once, and what only looks like a change is not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.errors import GapReason
from auditor.registry.follow.datacenter_follower import WAIT
from tests.parts.consul import ConsulServer
from tests.registry.follow.following import Stream, follower, following, names
from tests.registry.records_of import PREFIX, record

pytestmark = pytest.mark.xdist_group("consul")

AT_ONCE = 1.0
"""Seconds in which a write is told; it takes some 20 ms."""
SHORT_WAIT = 1.0
QUIET = 0.6
"""Seconds in which nothing must come that would have come at once."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("followed")) as running:
        yield running


@pytest.fixture
def consul(server: ConsulServer) -> Iterator[ConsulServer]:
    """The shared server with two nodes."""
    server.put(PREFIX + "a", record("a"))
    server.put(PREFIX + "b", record("b", "10.0.0.2"))
    yield server
    server.delete("", recurse=True)


async def begun(stream: Stream) -> None:
    """Take the first news, and wait until the query for the next waits."""
    await stream.next()
    await asyncio.sleep(0.1)


async def test_first_all_is_told_then_each_write_at_once(consul: ConsulServer) -> None:
    async with following(follower(consul.url)) as stream:
        first = await stream.next()
        assert (names(first), first.confirmed, first.event, first.before_at) == (["a", "b"], True, "", None)
        written = time.monotonic()
        await asyncio.to_thread(consul.put, PREFIX + "c", record("c", "10.0.0.3"))
        news = await stream.next()
        assert time.monotonic() - written < AT_ONCE
        assert names(news) == ["a", "b", "c"]
        assert (news.woken, news.before_at) == (True, first.arrived_at)
        assert news.index is not None
        assert first.index is not None
        assert news.index > first.index


async def test_the_reading_is_the_one_of_a_sweep(consul: ConsulServer) -> None:
    consul.put(PREFIX + "odd", b"no json")
    registry = follower(consul.url)
    async with following(registry) as stream:
        told = await stream.next()
    assert told.reading == await registry.read()
    assert told.reading == (await registry.confirm("")).reading


async def test_forty_quick_writes_all_arrive(consul: ConsulServer) -> None:
    async with following(follower(consul.url)) as stream:
        await begun(stream)
        wanted = ["a", "b", *(f"n{number:02}" for number in range(40))]

        def write() -> None:
            for number in range(40):
                consul.put(f"{PREFIX}n{number:02}", record(f"n{number}", f"10.0.1.{number}"))

        writing = asyncio.create_task(asyncio.to_thread(write))
        await stream.until(lambda news: names(news) == wanted)
        await writing


async def test_the_same_value_again_a_lock_and_keys_of_others_are_no_news(consul: ConsulServer) -> None:
    def touch() -> None:
        consul.put(PREFIX + "a", record("a"))
        consul.put("elsewhere/key", b"x")
        session = json.loads(consul.request("PUT", "/v1/session/create", b"{}").body)["ID"]
        taken = consul.request("PUT", f"/v1/kv/{PREFIX}a?acquire={session}", record("a"))
        assert taken.body.strip() == b"true"
        assert consul.request("PUT", f"/v1/kv/{PREFIX}a?release={session}", record("a")).status == 200

    registry = follower(consul.url)
    async with following(registry) as stream:
        await begun(stream)
        answered_at = registry.answers[""]
        await asyncio.to_thread(touch)
        assert await stream.within(QUIET) is None
        assert registry.answers[""] > answered_at
        await asyncio.to_thread(consul.put, PREFIX + "a", record("a", "10.0.0.9"))
        assert (await stream.next()).reading.registrations[0].addresses == ("10.0.0.9/32",)


async def test_what_was_deleted_is_told_after_a_plain_read(consul: ConsulServer) -> None:
    async with following(follower(consul.url)) as stream:
        await begun(stream)
        await asyncio.to_thread(consul.delete, PREFIX + "a")
        news = await stream.next()
        assert (names(news), news.confirmed, news.woken, news.reading.gaps) == (["b"], True, True, ())


async def test_when_the_last_key_is_deleted_nothing_is_concluded_and_the_next_write_is_told(
    consul: ConsulServer,
) -> None:
    async with following(follower(consul.url)) as stream:
        await begun(stream)
        await asyncio.to_thread(consul.delete, PREFIX, recurse=True)
        news = await stream.next()
        [gap] = news.reading.gaps
        assert (gap.reason, news.confirmed) == (GapReason.PREFIX_NOT_FOUND, True)
        assert "the last key under wireguard/nodes/ is gone" in news.event
        await asyncio.sleep(0.1)
        await asyncio.to_thread(consul.put, PREFIX + "new", record("new"))
        assert names(await stream.next(AT_ONCE)) == ["new"]


async def test_one_key_a_field_and_the_catalog_are_followed_too(consul: ConsulServer) -> None:
    consul.register(
        "server-1", "198.18.0.1", {"public_key": json.loads(record("a"))["public_key"], "ip": "10.0.0.5"}
    )
    consul.put("fields/x/ip", b"10.0.0.7")
    by_field = follower(consul.url, layout="kv-fields", prefix="fields/")
    async with following(follower(consul.url, layout="catalog")) as catalog, following(by_field) as fields:
        await begun(catalog)
        await begun(fields)
        meta = {"public_key": json.loads(record("a"))["public_key"], "ip": "10.0.0.6"}
        await asyncio.to_thread(consul.register, "server-1", "198.18.0.1", meta)
        assert (await catalog.next(AT_ONCE)).reading.registrations[0].addresses == ("10.0.0.6/32",)
        await asyncio.to_thread(consul.put, "fields/x/ip", b"10.0.0.8")
        assert (await fields.next(AT_ONCE)).reading.registrations[0].addresses == ("10.0.0.8/32",)


async def test_a_restart_of_the_agent_is_said_and_what_was_written_meanwhile_is_read(
    consul: ConsulServer,
) -> None:
    async with following(follower(consul.url)) as stream:
        await begun(stream)
        await asyncio.to_thread(consul.stop)
        down = await stream.next()
        assert down.reading.gaps[0].reason is GapReason.CONSUL_UNREACHABLE
        assert "is Consul running there?" in down.event
        await asyncio.to_thread(consul.start)
        await stream.until(lambda news: names(news) == ["a", "b"])
        assert "Consul answers again, after" in stream.latest[""].event
        assert stream.latest[""].woken is False


def test_two_waits_end_within_35_seconds() -> None:
    """What a waiting query does not notice, the next read does; Consul waits up to a 16th longer than asked."""
    assert 2 * WAIT * 17 / 16 < 35


async def test_a_restore_from_a_snapshot_is_said_when_the_query_ends(consul: ConsulServer) -> None:
    saved = await asyncio.to_thread(consul.request, "GET", "/v1/snapshot")
    for number in range(20):
        await asyncio.to_thread(consul.put, PREFIX + "a", record("a", f"10.0.2.{number}"))
    async with following(follower(consul.url, wait=SHORT_WAIT)) as stream:
        await begun(stream)
        restored = await asyncio.to_thread(consul.request, "PUT", "/v1/snapshot", saved.body)
        assert restored.status == 200
        news = await stream.until(lambda news: "went back from" in news.event)
        assert (news.reading.registrations[0].addresses, news.confirmed) == (("10.0.0.1/32",), True)
        await asyncio.to_thread(consul.put, PREFIX + "c", record("c", "10.0.0.3"))
        assert names(await stream.next(AT_ONCE)) == ["a", "b", "c"]


async def test_closing_the_stream_ends_the_waiting_query_at_once(consul: ConsulServer) -> None:
    async with following(follower(consul.url)) as stream:
        await begun(stream)
        started = time.monotonic()
        await stream.end()
        assert time.monotonic() - started < 0.5


async def test_every_datacenter_is_followed_by_its_name(consul: ConsulServer, tmp_path: Path) -> None:
    registry = follower(consul.url, datacenters=["*"]).expecting({"dc1", "dc9"})
    async with following(registry) as stream:
        await stream.until(lambda _: {"dc1", "dc9"} <= stream.latest.keys())
        assert names(stream.latest["dc1"]) == ["a", "b"]
        assert [gap.reason for gap in stream.latest["dc9"].reading.gaps] == [GapReason.DATACENTER_GONE]
        assert "Consul lists dc9 no more" in stream.latest["dc9"].event
