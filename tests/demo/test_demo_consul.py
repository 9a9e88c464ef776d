"""The demo's registry, as wgaudit's own client of Consul sees it: current reads, check-and-set, one way in."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from auditor.demo.demo_consul import Item, serve_registry
from auditor.errors import StoreConflict, StoreError
from auditor.registry.consul import ConsulRegistry
from auditor.registry.interface import Create, Remove, Replace, Require
from auditor.registry.store import ConsulStore
from auditor.settings.consul import ConsulSettings
from tests.fleets import key_of
from tests.registry.follow.following import follower, following

TOKEN = "of-the-demo"
A, B = "wireguard/nodes/a", "wireguard/nodes/b"
VALUE = json.dumps({"public_key": key_of("a"), "ip": "10.0.0.7"}).encode()


@pytest.fixture
def url() -> Iterator[str]:
    with serve_registry([Item(A, VALUE, 7, 9), Item(B, b"{}", 8, 8)], TOKEN) as found:
        yield found


def store(url: str, token: str = TOKEN) -> ConsulStore:
    return ConsulStore(ConsulSettings(url=url), SecretStr(token))


async def test_registrations_come_with_their_indexes(url: str) -> None:
    reading = await ConsulRegistry(ConsulSettings(url=url), SecretStr(TOKEN)).read()
    assert not reading.gaps
    [one] = [item for item in reading.registrations if item.node.name == "a"]
    assert (one.create_index, one.modify_index, one.where) == (7, 9, A)


def test_what_is_committed_is_read_again_with_one_index_for_all(url: str) -> None:
    store(url).commit([Replace(A, b"new", 9), Create("wireguard/claims/10.0.0.7", b"held")])
    a, claim = store(url).read(A), store(url).read("wireguard/claims/10.0.0.7")
    assert a is not None
    assert claim is not None
    assert (a.value, claim.value, a.create_index) == (b"new", b"held", 7)
    assert a.modify_index == claim.modify_index == claim.create_index == 10
    assert [item.key for item in store(url).list("wireguard/nodes/")] == [A, B]


@pytest.mark.parametrize(
    "stale",
    [
        Replace(A, b"x", 8),
        Create(B, b"x"),
        Remove(B, 7),
        Require(B, 9),
        Replace("wireguard/nodes/c", b"x", 5),
    ],
    ids=["replace", "create", "remove", "require", "gone"],
)
def test_one_stale_operation_leaves_all_undone(url: str, stale: Create | Remove | Replace | Require) -> None:
    with pytest.raises(StoreConflict, match="index is stale"):
        store(url).commit([Create("wireguard/nodes/new", b"x"), stale])
    assert store(url).read("wireguard/nodes/new") is None
    b = store(url).read(B)
    assert b is not None
    assert b.modify_index == 8


def test_a_key_that_was_removed_is_gone(url: str) -> None:
    store(url).commit([Remove(B, 8)])
    assert store(url).read(B) is None


def test_who_has_not_the_token_reads_and_writes_nothing(url: str) -> None:
    with pytest.raises(StoreError, match="403"):
        store(url, "another").read(A)
    with pytest.raises(StoreError, match="403"):
        store(url, "another").commit([Remove(B, 8)])
    assert store(url).read(B) is not None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/agent/self", None),
        ("GET", "/v1/kv/wireguard/nodes/?recurse=1&index=9&wait=10", None),
        ("GET", "/v1/kv/wireguard/nodes/?recurse=1&index=-9&wait=10s", None),
        ("GET", "/v1/kv/wireguard/nodes/?recurse=1&stale=1&consistent=1", None),
        ("GET", "/v1/catalog/datacenters?index=9", None),
        ("PUT", "/v1/kv/wireguard/nodes/a", b"x"),
        ("PUT", "/v1/txn", b"[{}]"),
        ("PUT", "/v1/txn", b'[{"KV": {"Verb": "set", "Key": "a", "Value": "", "Index": 0}}]'),
        ("PUT", "/v1/txn", b'[{"KV": {"Verb": "cas", "Key": "a", "Value": "!", "Index": 0}}]'),
    ],
    ids=[
        "path",
        "wait without a unit",
        "index",
        "stale",
        "waits for the list",
        "plain write",
        "no operation",
        "verb",
        "value",
    ],
)
def test_what_it_does_not_know_it_refuses(url: str, method: str, path: str, body: bytes | None) -> None:
    request = urllib.request.Request(url + path, body, {"X-Consul-Token": TOKEN}, method=method)  # noqa: S310
    with pytest.raises(urllib.error.HTTPError) as refused, urllib.request.urlopen(request, timeout=5):  # noqa: S310
        pass
    with refused.value as answer:
        assert 400 <= answer.code < 500


def waited(url: str, path: str, index: int, wait: str = "20s") -> tuple[float, int, list[str]]:
    """Seconds that a waiting read took, its index, and the keys in it."""
    request = urllib.request.Request(  # noqa: S310
        f"{url}/v1/kv/{path}?recurse=1&index={index}&wait={wait}", headers={"X-Consul-Token": TOKEN}
    )
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            keys = [row["Key"] for row in json.load(answer)]
            found = int(answer.headers["X-Consul-Index"])
    except urllib.error.HTTPError as missing:
        with missing:
            keys, found = [], int(missing.headers["X-Consul-Index"])
    return time.monotonic() - started, found, keys


@pytest.mark.parametrize("index", [0, 8], ids=["index 0", "an older index"])
def test_a_read_with_nothing_to_wait_for_answers_at_once(url: str, index: int) -> None:
    took, found, keys = waited(url, "wireguard/nodes/", index)
    assert (took < 5, found, keys) == (True, 9, [A, B])


def test_a_waiting_read_ends_with_its_time_and_says_nothing_new(url: str) -> None:
    took, found, _ = waited(url, "wireguard/nodes/", 9, "100ms")
    assert (0.1 <= took < 5, found) == (True, 9)


def test_an_index_that_is_too_high_sleeps_through_writes_as_consuls_does(url: str) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(waited, url, "wireguard/nodes/", 99, "500ms")
        store(url).commit([Remove(B, 8)])
        took, found, keys = waiting.result()
    assert (took >= 0.5, found, keys) == (True, 10, [A])


@pytest.mark.parametrize(
    ("path", "operation", "left"),
    [
        ("wireguard/nodes/", Create("wireguard/nodes/c", b"{}"), [A, B, "wireguard/nodes/c"]),
        ("wireguard/nodes/", Remove(B, 8), [A]),
        ("wireguard/nodes/b", Remove(B, 8), []),
        ("never/written/", Create("elsewhere", b"x"), []),
    ],
    ids=["write", "removal", "last key", "empty prefix, any write"],
)
def test_a_waiting_read_is_woken_by_what_concerns_it(
    url: str, path: str, operation: Create | Remove, left: list[str]
) -> None:
    """A removal raises the prefix's index, too; a prefix without keys or tombstones has the whole store's."""
    _, index, _ = waited(url, path, 0)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(waited, url, path, index)
        store(url).commit([operation])
        took, found, keys = waiting.result()
    assert (took < 10, found, keys) == (True, 10, left)


def test_a_write_elsewhere_wakes_nobody_who_waits_for_keys(url: str) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(waited, url, "wireguard/nodes/", 9, "400ms")
        store(url).commit([Create("elsewhere", b"x")])
        took, found, _ = waiting.result()
    assert (took >= 0.4, found) == (True, 9)


def test_reads_that_wait_end_with_the_registry() -> None:
    with ThreadPoolExecutor() as pool:
        with serve_registry([Item(A, VALUE, 7, 9)], TOKEN) as url:
            waiting = pool.submit(waited, url, "wireguard/nodes/", 9)
            time.sleep(0.2)
        assert waiting.result()[0] < 10


async def test_the_follower_follows_it_as_it_follows_consul(url: str) -> None:
    async with following(follower(url, TOKEN)) as stream:
        await stream.next()
        c = "wireguard/nodes/c"
        value = json.dumps({"public_key": key_of("c"), "ip": "10.0.0.9"}).encode()
        await asyncio.to_thread(store(url).commit, [Create(c, value)])
        assert [item.where for item in (await stream.next()).reading.registrations] == [A, c]
        await asyncio.to_thread(store(url).commit, [Remove(A, 9)])
        assert [item.where for item in (await stream.next()).reading.registrations] == [c]
