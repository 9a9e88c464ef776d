"""The store on a real Consul: what a transaction does, what its refusals mean, and what the ACL system hides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler

import pytest
from pydantic import SecretStr

from auditor.errors import StoreConflict, StoreError
from auditor.registry.interface import Create, Remove, Replace, Require
from auditor.registry.store import ConsulStore
from auditor.settings.consul import ConsulSettings
from tests.parts.consul import ConsulServer
from tests.registry.scripted_server import Scripted, scripted_server

pytestmark = pytest.mark.xdist_group("consul")

TOKEN = "planted-token-8d1f"
DONE = b'{"Results":[{"KV":{"Key":"a/1"}}],"Errors":null}'
STALE = b'{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set key, index is stale"}]}'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """One server with ACLs, default deny."""
    with ConsulServer(tmp_path_factory.mktemp("consul"), acl=True) as running:
        yield running


@pytest.fixture
def store(guarded: ConsulServer) -> Iterator[ConsulStore]:
    """With the management token, on an empty server."""
    yield with_token(guarded, guarded.token)
    guarded.delete("", recurse=True)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with scripted_server() as script:
        yield script


def with_token(server: ConsulServer, token: str) -> ConsulStore:
    return ConsulStore(ConsulSettings(url=server.url), SecretStr(token))


def at(script: Scripted, **settings: float) -> ConsulStore:
    return ConsulStore(ConsulSettings(url=script.url, timeout=settings.get("timeout", 5.0)), SecretStr(TOKEN))


def index(store: ConsulStore, key: str) -> int:
    stored = store.read(key)
    assert stored is not None
    return stored.modify_index


# Transactions on a real Consul


def test_what_was_written_is_read_back_byte_for_byte(store: ConsulStore) -> None:
    """A key's name is quoted on the way: even the newest Consul lets these characters stand in it."""
    key, value = "a/b?c&d=e_f-g.h,i", bytes(range(256))
    store.commit([Create(key, value)])
    stored = store.read(key)
    assert stored is not None
    assert (stored.key, stored.value) == (key, value)
    assert stored.create_index == stored.modify_index > 0
    assert store.list("a/") == (stored,)


def test_a_key_that_is_not_there_is_none_and_a_prefix_without_keys_is_empty(store: ConsulStore) -> None:
    assert store.read("a/1") is None
    assert store.list("a/") == ()


def test_a_key_is_created_once_and_again_after_it_was_deleted(store: ConsulStore) -> None:
    store.commit([Create("a/1", b"one")])
    with pytest.raises(StoreConflict, match="index is stale"):
        store.commit([Create("a/1", b"two")])
    store.commit([Remove("a/1", index(store, "a/1"))])
    store.commit([Create("a/1", b"three")])
    stored = store.read("a/1")
    assert stored is not None
    assert stored.value == b"three"


OFF: dict[str, Callable[[int], Create | Replace | Remove | Require]] = {
    "create": lambda _: Create("a/there", b"x"),
    "replace": lambda now: Replace("a/there", b"x", now - 1),
    "replace what is gone": lambda now: Replace("a/gone", b"x", now),
    "remove": lambda now: Remove("a/there", now - 1),
    "remove what is gone": lambda now: Remove("a/gone", now),
    "require": lambda now: Require("a/there", now - 1),
    "require what is gone": lambda now: Require("a/gone", now),
}


@pytest.mark.parametrize("name", OFF)
def test_one_condition_that_does_not_hold_undoes_the_whole_transaction(store: ConsulStore, name: str) -> None:
    store.commit([Create("a/there", b"")])
    now = index(store, "a/there")
    with pytest.raises(StoreConflict):
        store.commit([Create("a/other", b"x"), OFF[name](now)])
    assert [(item.key, item.modify_index) for item in store.list("a/")] == [("a/there", now)]


def test_conditions_that_hold_write_all(store: ConsulStore) -> None:
    store.commit([Create("a/kept", b"k"), Create("a/old", b"o"), Create("a/gone", b"g")])
    kept, old, gone = (index(store, f"a/{name}") for name in ("kept", "old", "gone"))
    store.commit(
        [
            Require("a/kept", kept),
            Replace("a/old", b"new", old),
            Remove("a/gone", gone),
            Create("a/more", b""),
        ]
    )
    assert [(item.key, item.value) for item in store.list("a/")] == [
        ("a/kept", b"k"),
        ("a/more", b""),
        ("a/old", b"new"),
    ]
    assert index(store, "a/kept") == kept


def test_an_index_of_nothing_is_refused_before_it_is_sent(store: ConsulStore) -> None:
    """To Consul an index of 0 is the word for "must not exist"."""
    with pytest.raises(ValueError, match="no index"):
        store.commit([Replace("a/1", b"", 0)])


# What the token may not do


def test_a_transaction_that_the_token_may_not_write_is_no_conflict(
    guarded: ConsulServer, store: ConsulStore
) -> None:
    """Consul answers 409 here too: taken for a conflict, every address would look as if it were taken."""
    reader = with_token(guarded, guarded.create_token('key_prefix "" { policy = "read" }'))
    with pytest.raises(StoreError, match="Permission denied") as refused:
        reader.commit([Create("a/1", b"")])
    assert refused.value.permanent
    assert store.read("a/1") is None


def test_an_unknown_token_is_told_for_good_and_not_repeated(guarded: ConsulServer) -> None:
    stranger = with_token(guarded, TOKEN)
    calls: Sequence[Callable[[], object]] = (
        lambda: stranger.read("a/1"),
        lambda: stranger.list("a/"),
        lambda: stranger.commit([Create("a/1", b"")]),
    )
    for call in calls:
        with pytest.raises(StoreError, match="403") as refused:
            call()
        assert refused.value.permanent
        assert TOKEN not in str(refused.value)


def test_a_list_that_the_token_sees_only_in_part_is_no_list(
    guarded: ConsulServer, store: ConsulStore
) -> None:
    """Consul gives what it may see, without a word; an empty one would be adopted as an empty registry."""
    store.commit([Create("a/x/1", b""), Create("a/y/1", b"")])
    part = with_token(guarded, guarded.create_token('key_prefix "a/x" { policy = "read" }'))
    assert part.read("a/x/1") is not None
    with pytest.raises(StoreError, match="403"):
        part.list("a/")


# Answers that are none


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, DONE, None),
        (409, STALE, StoreConflict),
        (409, b"conflict, says a proxy", StoreError),
        (409, DONE, StoreError),
        (200, STALE, StoreError),
        (200, b"", StoreError),
        (200, b"<html>sign in</html>", StoreError),
        (200, b"null", StoreError),
        (200, b'{"Results":null,"Errors":[{}]}', StoreError),
        (500, DONE, StoreError),
        (500, b"No cluster leader", StoreError),
        (503, b"", StoreError),
        (302, b"", StoreError),
        (429, b"slow down", StoreError),
    ],
)
def test_only_consuls_own_words_say_what_became_of_a_write(
    scripted: Scripted, status: int, body: bytes, error: type[Exception] | None
) -> None:
    scripted.status, scripted.body = status, body
    store = at(scripted)
    if error is None:
        store.commit([Create("a/1", b"x")])
        return
    with pytest.raises(error) as refused:
        store.commit([Create("a/1", b"x")])
    assert not getattr(refused.value, "permanent", False)


def test_a_connection_that_ends_before_the_answer_leaves_the_write_in_doubt(scripted: Scripted) -> None:
    def reset(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.close()

    scripted.write = reset
    with pytest.raises(StoreError, match="the connection ended before the answer did"):
        at(scripted).commit([Create("a/1", b"x")])
    assert len(scripted.asked) == 1


def test_a_server_that_hangs_is_left_after_the_timeout(scripted: Scripted) -> None:
    scripted.write = lambda _: void(scripted.closing.wait(20))
    with pytest.raises(StoreError, match=r"no whole answer within 0\.3 s"):
        at(scripted, timeout=0.3).commit([Create("a/1", b"x")])


def void(_: object) -> None:
    """Lets a lambda call something for its effect."""


def test_a_body_that_echoes_the_token_does_not_get_it_into_the_error(scripted: Scripted) -> None:
    """Not whole, and not its first characters where the text is cut."""
    for status in (200, 500):
        scripted.status, scripted.body = status, b"y" * 110 + TOKEN.encode()
        with pytest.raises(StoreError) as refused:
            at(scripted).commit([Create("a/1", b"x")])
        assert TOKEN[:8] not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'[{"Key":"a/2","Value":"","CreateIndex":5,"ModifyIndex":6}]'),
        (200, b'[{"Key":"a/12","Value":"","CreateIndex":5,"ModifyIndex":6}]'),
        (200, b'[{"Key":"a/1","Value":""}]'),
        (200, b"[]"),
        (200, b"no JSON"),
        (500, b"No cluster leader"),
    ],
)
def test_an_answer_that_is_not_this_key_is_not_its_absence(
    scripted: Scripted, status: int, body: bytes
) -> None:
    scripted.status, scripted.body = status, body
    with pytest.raises(StoreError):
        at(scripted).read("a/1")


def test_a_404_that_is_not_consuls_own_is_not_an_absent_key(scripted: Scripted) -> None:
    """A proxy's word for a path that it does not know would make every address free."""
    scripted.status, scripted.headers, scripted.body = 404, {}, b"nginx: not found"
    with pytest.raises(StoreError, match="404"):
        at(scripted).read("a/1")


def test_reads_are_consistent_and_the_token_is_in_a_header_only(scripted: Scripted) -> None:
    scripted.body = b'[{"Key":"a/1","Value":"eA==","CreateIndex":5,"ModifyIndex":6}]'
    at(scripted).read("a/1")
    assert scripted.asked == ["/v1/kv/a/1?consistent=1"]
    assert scripted.asked_headers[0]["X-Consul-Token"] == TOKEN
