"""Following a guarded Consul: rights that are taken away while a query waits, and given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from auditor.errors import GapReason
from auditor.registry.interface import RegistryNews
from tests.parts.consul import ConsulServer
from tests.registry.follow.following import follower, following, names
from tests.registry.records_of import PREFIX, record

pytestmark = pytest.mark.xdist_group("consul")

WAIT = 0.5
"""Seconds for which Consul holds an answer back here; what takes two of them takes 32 s in a watch."""
ALL = f'key_prefix "{PREFIX}" {{ policy = "read" }}'
SOME = f'key_prefix "{PREFIX}a" {{ policy = "read" }}'
NONE = 'key_prefix "elsewhere/" { policy = "read" }'


class Guarded:
    """A server with access control lists, and one token with one policy."""

    def __init__(self, server: ConsulServer) -> None:
        self.server = server
        self._policy = self._put("/v1/acl/policy", {"Name": "followed", "Rules": ALL})["ID"]
        made = self._put("/v1/acl/token", {"Policies": [{"Name": "followed"}]})
        self.token, self._accessor = made["SecretID"], made["AccessorID"]

    async def allow(self, rules: str) -> None:
        """Let the token do just this."""
        document = {"ID": self._policy, "Name": "followed", "Rules": rules}
        await asyncio.to_thread(self._put, f"/v1/acl/policy/{self._policy}", document)

    async def delete_token(self) -> None:
        path = f"/v1/acl/token/{self._accessor}"
        assert (await asyncio.to_thread(self.server.request, "DELETE", path)).status == 200

    async def write(self, name: str, address: str) -> None:
        await asyncio.to_thread(self.server.put, PREFIX + name, record(name, address))

    def _put(self, path: str, document: dict[str, object]) -> dict[str, str]:
        answer = self.server.request("PUT", path, json.dumps(document).encode())
        assert answer.status == 200, answer.body
        found: dict[str, str] = json.loads(answer.body)
        return found

    def forget(self) -> None:
        self.server.request("DELETE", f"/v1/acl/policy/{self._policy}")
        self.server.delete("", recurse=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("guarded"), acl=True) as running:
        yield running


@pytest.fixture
def guarded(server: ConsulServer) -> Iterator[Guarded]:
    """Three nodes, and a token that may read them all."""
    for number, name in enumerate(("a1", "a2", "b1"), start=1):
        server.put(PREFIX + name, record(name, f"10.0.0.{number}"))
    made = Guarded(server)
    yield made
    made.forget()


def reasons(news: RegistryNews) -> list[GapReason]:
    return [gap.reason for gap in news.reading.gaps]


@pytest.mark.parametrize("writes", [False, True], ids=["nothing is written", "a write wakes the query"])
async def test_all_rights_taken_away_and_given_back_are_said(guarded: Guarded, writes: bool) -> None:
    """A waiting query keeps the rights that it began with; its first answer after that may still show all."""
    async with following(follower(guarded.server.url, guarded.token, WAIT)) as stream:
        assert names(await stream.next()) == ["a1", "a2", "b1"]
        await guarded.allow(NONE)
        if writes:
            await guarded.write("b2", "10.0.0.8")
        lost = await stream.until(lambda news: bool(news.reading.gaps))
        assert (names(lost), reasons(lost)) == ([], [GapReason.CONSUL_FORBIDDEN])
        assert lost.event == "the token lost its rights: its policies were changed"
        await guarded.allow(ALL)
        back = await stream.next()
        assert (names(back)[:3], reasons(back)) == (["a1", "a2", "b1"], [])
        assert back.event == "the token has its rights again"


async def test_some_rights_taken_away_are_a_gap_beside_what_can_still_be_read(guarded: Guarded) -> None:
    """Before 1.11 Consul leaves out in silence; nobody must take the others for deregistered."""
    async with following(follower(guarded.server.url, guarded.token, WAIT)) as stream:
        await stream.next()
        await guarded.allow(SOME)
        less = await stream.next()
        assert (names(less), reasons(less)) == (["a1", "a2"], [GapReason.CONSUL_FILTERED])
        assert "1 node fewer than before" in less.reading.gaps[0].detail
        await guarded.allow(ALL)
        assert (names(await stream.next()), stream.latest[""].reading.gaps) == (["a1", "a2", "b1"], ())


async def test_a_token_that_was_deleted_while_its_query_waited_is_said(guarded: Guarded) -> None:
    """The waiting query answers with all keys, or 404 with an index as if all were gone; the next read is refused."""
    async with following(follower(guarded.server.url, guarded.token, 15.0)) as stream:
        await stream.next()
        await asyncio.sleep(0.1)
        await guarded.delete_token()
        await guarded.write("b2", "10.0.0.8")
        lost = await stream.until(lambda news: bool(news.reading.gaps))
        assert (names(lost), reasons(lost)) == ([], [GapReason.CONSUL_FORBIDDEN])
        assert "the token lost its rights: Consul knows it no more" in lost.event
        assert guarded.token not in repr(lost)


async def test_a_node_that_is_deregistered_under_full_rights_is_no_loss_of_rights(guarded: Guarded) -> None:
    async with following(follower(guarded.server.url, guarded.token)) as stream:
        await stream.next()
        await asyncio.to_thread(guarded.server.delete, PREFIX + "b1")
        news = await stream.next()
        assert (names(news), news.reading.gaps, news.event) == (["a1", "a2"], (), "")


async def test_a_token_of_a_part_from_the_first_loses_nodes_as_it_loses_them(guarded: Guarded) -> None:
    """It never could read the prefix itself, so that says nothing."""
    await guarded.allow(SOME)
    async with following(follower(guarded.server.url, guarded.token)) as stream:
        assert names(await stream.next()) == ["a1", "a2"]
        await asyncio.to_thread(guarded.server.delete, PREFIX + "a2")
        news = await stream.next()
        assert (names(news), news.reading.gaps, news.event) == (["a1"], (), "")


async def test_a_token_without_rights_from_the_first_follows_as_soon_as_it_has_some(guarded: Guarded) -> None:
    await guarded.allow(NONE)
    async with following(follower(guarded.server.url, guarded.token, WAIT)) as stream:
        assert reasons(await stream.next()) == [GapReason.PREFIX_NOT_FOUND]
        await guarded.allow(ALL)
        assert names(await stream.next()) == ["a1", "a2", "b1"]
