"""What auditors and collectors say to each other is what the published schemas of their messages say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from nats.aio.client import Client
from nats.aio.msg import Msg

from auditor.gather.nats.asked_look import LookTerms
from auditor.gather.nats.follow_messages import Again, EndedFollowing, SaidAll, Working, written
from auditor.gather.nats.nats_collector import NatsCollector
from auditor.gather.nats.pieces import Cutting
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from tests.fakes import MemoryNodes
from tests.fleets import trio
from tests.gather.nats.by_hand import ServedRegion, login_at, until
from tests.gather.nats.followed_region import (
    FollowingCollector,
    SpeakingNodes,
    auditor_by_hand,
    everybody,
    followed,
    node,
    two_regions,
)
from tests.json_schemas import FOLLOWING_SCHEMA, MESSAGES_SCHEMA
from tests.parts.nats import NatsServer

JOB = "ab" * 16


def validator(file: Path) -> Draft202012Validator:
    """What holds a message against a schema of docs/."""
    schema = json.loads(file.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


LOOK, FOLLOWING = validator(MESSAGES_SCHEMA), validator(FOLLOWING_SCHEMA)


class Overheard:
    """Every message that passed a server, each held against its schema."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self.faults: list[str] = []

    async def take(self, message: Msg) -> None:
        """Take one of them."""
        said: dict[str, Any] = json.loads(message.data or b"{}")
        schemas = {"wgaudit.collect/1": LOOK, "wgaudit.follow/1": FOLLOWING}
        if (schema := schemas.get(said.get("schema", ""))) is not None:
            self.kinds.add(said.get("kind", "answer" if "accepted" in said else "open"))
            self.faults += [f"{message.data!r}: {error.message}" for error in schema.iter_errors(said)]


@asynccontextmanager
async def overhearing(client: Client) -> AsyncIterator[Overheard]:
    """Hears what all others say."""
    overheard = Overheard()
    await client.subscribe(">", cb=overheard.take)
    await client.flush()
    await client.flush()
    yield overheard


async def test_the_messages_of_a_look_are_as_their_schema_says(
    server: NatsServer, client: Client, far: Client
) -> None:
    mesh = trio()
    async with overhearing(far) as overheard, ServedRegion(MemoryNodes(mesh), "fra").at(login_at(server)):
        asked = NatsCollector(client, "fra", LookTerms("wg0"))
        async with aclosing(asked.collect(everybody(mesh), TableStore(), Stop())) as results:
            assert len([seen async for seen in results]) == 3
        await until(lambda: "end" in overheard.kinds)
    assert overheard.kinds >= {"open", "answer", "assign", "want", "end", "seen", "text", "last"}
    assert overheard.faults == []


async def test_the_messages_of_a_following_are_as_their_schema_says(server: NatsServer, far: Client) -> None:
    mesh, login = two_regions(), login_at(server)
    nodes = SpeakingNodes(mesh)
    collector = FollowingCollector(nodes)
    async with overhearing(far) as overheard, collector.at(login):
        async with followed(login, mesh) as here:
            await here.until(lambda: here.beats("a-fra-1") == 1)
            nodes.change("a-fra-1", "10.0.0.77")
            await here.shows(a_fra_1="10.0.0.77/32")
            await here.follower.meet([node("b-fra-2")])
            here.follower.look_again()
            await until(lambda: {"round", "working", "keep"} <= overheard.kinds)
        await until(lambda: "end" in overheard.kinds)
        async with auditor_by_hand(login) as auditor:
            await auditor.open(list(mesh.registrations.values())[:1])
            await auditor.say(Again(job=auditor.job, question=1))
            await auditor.next(SaidAll)
            await collector.service.drain(0.0, 5.0)
            await auditor.next(EndedFollowing)
    from_auditor = {"open", "change", "keep", "want", "again", "round", "meet", "end"}
    from_collector = {"answer", "states", "still", "working", "table", "said-all", "met", "ended"}
    assert overheard.kinds == from_auditor | from_collector
    assert overheard.faults == []


def test_a_piece_is_as_the_schema_says_and_what_is_no_message_is_not() -> None:
    ended = EndedFollowing(job=JOB, number=1, at=0.0, detail="x" * 500)
    pieces = list(Cutting(JOB, 900).cut(written(ended) * 2))
    assert len(pieces) > 1
    assert all(FOLLOWING.is_valid(json.loads(piece)) for piece in pieces)
    good = json.loads(written(Working(job=JOB, number=1, at=0.0, generation=0)))
    assert FOLLOWING.is_valid(good)
    for wrong in (
        {"kind": "look"},
        {"schema": "wgaudit.follow/2"},
        {"number": 0},
        {"more": 1},
        {"job": "a.b"},
    ):
        assert not FOLLOWING.is_valid(good | wrong)
