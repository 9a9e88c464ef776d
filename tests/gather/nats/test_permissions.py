"""What docs/collectors.md permits each side on a real nats-server: a collector its region, a stranger nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.errors import NoRespondersError

from auditor.errors import NatsAway
from auditor.gather.nats.connection import NatsConnection, open_nats
from auditor.gather.nats.messages import (
    AUDITOR_INBOX,
    COLLECTOR_INBOX,
    Last,
    collect_subject,
    job_subject,
    seen_subject,
)
from auditor.gather.nats.nats_login import read_login
from auditor.gather.nats.publishing import publish, reached_nobody
from auditor.gather.nats.roll_call import call_roll
from auditor.settings.collectors import CollectorSettings
from auditor.settings.file import parse_toml
from tests.fakes import MemoryNodes
from tests.fleets import trio
from tests.gather.nats.by_hand import AskingByHand, ServedRegion
from tests.gather.nats.documented import DocumentedServer, documented, documented_server
from tests.gather.nats.servers import new_nkey
from tests.parts.nats import require_nats

JOB = "ab" * 16


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedServer]:
    require_nats()
    made = documented_server(tmp_path_factory.mktemp("documented"))
    with made.server:
        yield made


@asynccontextmanager
async def connected(server: DocumentedServer, user: str, inbox: str) -> AsyncIterator[NatsConnection]:
    settings = CollectorSettings(nats=server.url, ca_file=server.ca_file, nkey_file=server.keys[user].file)
    async with open_nats(read_login(settings, ()), inbox, lambda _: None) as connection:
        yield connection


async def refused(connection: NatsConnection, *, publish: str = "", subscribe: str = "") -> bool:
    """Whether the server does not permit this."""
    before = len(connection.refusals)
    if publish:
        await connection.client.publish(publish, b"{}")
    if subscribe:
        await connection.client.subscribe(subscribe)
    await connection.settle()
    return len(connection.refusals) > before


async def test_with_the_documented_server_a_region_is_looked_at_and_listed(server: DocumentedServer) -> None:
    mesh = trio()
    region = ServedRegion(MemoryNodes(mesh), "fra")
    async with (
        connected(server, "UFRA", COLLECTOR_INBOX) as there,
        region.service.serving(there),
        connected(server, "UAUDITOR", AUDITOR_INBOX) as here,
    ):
        auditor = AskingByHand(here, "fra")
        await auditor.look(mesh.registrations.values())
        await auditor.until(Last)
        roll = await call_roll(here, ("fra", "sin"), "wg0")
        assert (there.refusals, here.refusals) == ([], [])
        await auditor.end()
    (listed,) = roll.collectors
    assert (listed.region, listed.host, listed.version, listed.jobs, listed.nodes) == (
        "fra",
        "here",
        "0.1.0",
        1,
        3,
    )
    assert [(item.region, item.collector) for item in roll.regions] == [("fra", "here/7"), ("sin", "")]
    assert [item.detail for item in roll.missing] == ["no collector serves it"]
    assert roll.asks_for_login


async def test_the_auditor_is_told_of_a_message_of_a_job_that_reached_nobody(
    server: DocumentedServer,
) -> None:
    """So it knows at once of a collector that was killed."""
    async with connected(server, "UAUDITOR", AUDITOR_INBOX) as auditor:
        said = await auditor.client.subscribe(seen_subject("fra", JOB))
        await publish(auditor.client, job_subject("fra", JOB), b"{}", seen_subject("fra", JOB))
        assert reached_nobody(await said.next_msg(5))
        assert auditor.refusals == []


async def test_a_collector_neither_takes_jobs_of_another_region_nor_speaks_into_them(
    server: DocumentedServer,
) -> None:
    async with (
        connected(server, "UFRA", COLLECTOR_INBOX) as fra,
        connected(server, "UAUDITOR", AUDITOR_INBOX) as auditor,
    ):
        stream = await auditor.client.subscribe("wgaudit.seen.*.*")
        inbox = auditor.client.new_inbox()
        answers = await auditor.client.subscribe(inbox)
        await auditor.settle()
        assert await refused(fra, publish=seen_subject("sin", JOB))
        assert await refused(fra, publish=inbox)
        assert await refused(fra, publish=collect_subject("sin"))
        assert await refused(fra, publish=job_subject("fra", JOB))
        assert await refused(fra, subscribe=collect_subject("sin"))
        assert await refused(fra, subscribe=job_subject("sin", JOB))
        assert await refused(fra, subscribe="wgaudit.>")
        assert await refused(fra, subscribe=f"{AUDITOR_INBOX}.>")
        assert not await refused(fra, publish=seen_subject("fra", JOB))
        assert (await stream.next_msg(5)).subject == seen_subject("fra", JOB)
        assert stream.pending_msgs == answers.pending_msgs == 0
        with pytest.raises(NatsAway, match="does not let this user collect for sin"):
            async with ServedRegion(MemoryNodes(trio()), "sin").service.serving(fra):
                pass


async def test_one_that_lies_about_its_region_is_listed_and_serves_it_not(server: DocumentedServer) -> None:
    """What `$SRV` says of itself proves nothing."""
    lying = ServedRegion(MemoryNodes(trio()), "fra")
    async with (
        connected(server, "UFRA", COLLECTOR_INBOX) as fra,
        lying.service.serving(fra),
        connected(server, "UAUDITOR", AUDITOR_INBOX) as auditor,
    ):
        assert lying.service._service is not None
        lying.service._service._metadata["region"] = "sin"
        roll = await call_roll(auditor, ("sin",), "wg0")
    assert [item.region for item in roll.collectors] == ["sin"]
    assert [item.region for item in roll.missing] == ["sin"]


async def test_an_auditor_can_take_no_job_and_a_stranger_gets_nothing(
    server: DocumentedServer, tmp_path: Path
) -> None:
    async with connected(server, "UAUDITOR", AUDITOR_INBOX) as auditor:
        assert await refused(auditor, subscribe=collect_subject("fra"))
        assert await refused(auditor, subscribe=job_subject("fra", JOB))
        assert await refused(auditor, publish=seen_subject("fra", JOB))
        with pytest.raises(NoRespondersError):
            await auditor.client.request(collect_subject("fra"), b"{}", 5)
    stranger = new_nkey(tmp_path, "stranger")
    for nkey_file, words in ((stranger.file, f"does not let the user {stranger.public} in"), (None, "login")):
        settings = CollectorSettings(nats=server.url, ca_file=server.ca_file, nkey_file=nkey_file)
        with pytest.raises(NatsAway, match=words):
            async with open_nats(read_login(settings, ()), AUDITOR_INBOX, print):
                pass


@pytest.mark.parametrize(("name", "user"), [("collector", "UFRA"), ("auditor", "UAUDITOR")])
def test_the_documented_configurations_can_be_read_and_lead_to_that_server(
    server: DocumentedServer, name: str, user: str
) -> None:
    config = parse_toml(server.configuration(name, user), name)
    login = read_login(config.collectors, config.mesh.pools)
    assert (str(login.server), login.user) == (server.url, server.keys[user].public)
    assert tomllib.loads(documented(name))["collectors"]["nats"].startswith("tls://")


def test_the_documented_way_to_a_key_makes_a_file_of_ones_own_and_prints_its_public_part(
    tmp_path: Path,
) -> None:
    script = documented("key").replace("python3", sys.executable)
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file = tmp_path / "wgaudit.nk"
    assert file.stat().st_mode & 0o777 == 0o600
    settings = CollectorSettings(nats="nats://198.18.0.5", nkey_file=file)
    assert read_login(settings, ()).user == done.stdout.strip()


async def test_answers_of_the_roll_that_are_none_are_counted_and_bounded(server: DocumentedServer) -> None:
    async with (
        connected(server, "UFRA", COLLECTOR_INBOX) as fra,
        connected(server, "UAUDITOR", AUDITOR_INBOX) as auditor,
    ):
        answers = iter((b"{}", b"[" * 100_000, b'{"name": "wgaudit-collector"}'))

        async def odd(message: object) -> None:
            await message.respond(next(answers))  # type: ignore[attr-defined]

        for _ in range(3):
            await fra.client.subscribe("$SRV.STATS.wgaudit-collector", cb=odd)
        await fra.settle()
        roll = await asyncio.wait_for(call_roll(auditor, (), "wg0"), 5)
    assert roll.collectors == ()
    assert roll.left_out >= 1
