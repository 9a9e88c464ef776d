"""A collector over a real nats-server: what it takes, what it sends, and how its jobs end."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager

import jsonschema
import pytest
from nats.errors import NoRespondersError

from auditor.errors import GapReason
from auditor.gather.collector import Assignment, Seen
from auditor.gather.nats import collector_service, job_channel
from auditor.gather.nats.collector_service import semantic_version
from auditor.gather.nats.message_parts import ReadingTexts
from auditor.gather.nats.messages import (
    WINDOW,
    Assign,
    Beat,
    Failed,
    Last,
    SeenBatch,
    TextPart,
    Want,
    node_to_ask,
)
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.models import Gap, NodeId, Observation, Registration
from auditor.values.route_table import RouteTable
from tests.fakes import MemoryNodes
from tests.fleets import Mesh, trio
from tests.gather.nats.by_hand import AskingByHand, ServedRegion, asking, login_at, registry_digest, until
from tests.json_schemas import MESSAGES_SCHEMA
from tests.parts.nats import NatsServer, require_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    require_nats()
    with NatsServer(tmp_path_factory.mktemp("nats"), name="collect", monitoring=False) as made:
        yield made


@asynccontextmanager
async def served(
    server: NatsServer, mesh: Mesh, region: ServedRegion | None = None
) -> AsyncIterator[tuple[AskingByHand, ServedRegion]]:
    """A collector of fra over a mesh in memory, and an auditor."""
    made = region or ServedRegion(MemoryNodes(mesh))
    login = login_at(server)
    async with made.at(login), asking(login) as auditor:
        yield auditor, made


async def texts(auditor: AskingByHand, *digests: str) -> dict[str, bytes]:
    """Asks for texts, and puts them together."""
    await auditor.say(Want(job=auditor.job, digests=list(digests)))
    reading, found = ReadingTexts(10_000_000), dict[str, bytes]()
    while len(found) < len(digests):
        part = await auditor.next()
        assert isinstance(part, TextPart)
        if (whole := reading.take(part)) is not None:
            found[whole.digest] = whole.text
    return found


async def test_each_node_has_one_result_and_a_table_comes_when_it_is_asked_for(server: NatsServer) -> None:
    mesh = trio()
    mesh.unseen[NodeId("dc1", "edge-ams-1")] = GapReason.CONNECT_REFUSED
    async with served(server, mesh) as (auditor, region):
        await auditor.look(mesh.registrations.values())
        *came, last = await auditor.until(Last)
        batches = [message for message in came if isinstance(message, SeenBatch)]
        observations = [form for batch in batches for form in batch.observations]
        gaps = [form for batch in batches for form in batch.gaps]
        assert {form.name for form in observations} == {"edge-fra-1", "edge-sin-1"}
        assert [(form.name, form.reason) for form in gaps] == [("edge-ams-1", GapReason.CONNECT_REFUSED)]
        assert isinstance(last, Last)
        assert (last.count, last.sha256) == (len(auditor.raw) - 1, last.before)
        # One distinct table, asked for once; after the last result, too.
        (digest,) = {form.table for form in observations}
        assert (await texts(auditor, digest))[digest] == mesh.table(NodeId("dc1", "edge-fra-1")).text
        assert region.service.load == (1, 3)
        for raw in auditor.raw:
            jsonschema.validate(json.loads(raw), json.loads(MESSAGES_SCHEMA.read_text()))
        await auditor.end()
        await until(lambda: region.service.load.jobs == 0)


async def test_tables_that_differ_in_a_few_lines_come_as_differences_and_their_base_once(
    server: NatsServer,
) -> None:
    mesh = Mesh()
    for number in range(12):
        mesh.node(f"edge-{number}", f"10.0.1.{number}", region="fra")
    mesh.node("twin-a", "10.0.0.9", region="fra").node("twin-b", "10.0.0.9", region="sin")
    mesh.picks("edge-0", "twin-a").picks("edge-1", "twin-b").picks("edge-2", "twin-a")
    async with served(server, mesh) as (auditor, _):
        await auditor.look(mesh.registrations.values())
        came = await auditor.until(Last)
        batches = [message for message in came if isinstance(message, SeenBatch)]
        differences = {item.digest: item for batch in batches for item in batch.differences}
        lines = [line.encode() for batch in batches for line in batch.lines]
        assert differences
        bases = await texts(auditor, *{item.base for item in differences.values()})
        assert len(bases) == 1
        for digest, item in differences.items():
            table = RouteTable(
                bases[item.base],
                tuple(lines[number] for number in item.without),
                tuple(lines[number] for number in item.plus),
            )
            assert table.digest == digest


async def test_who_asks_for_what_no_node_showed_or_speaks_out_of_turn_ends_the_job_with_its_reason(
    server: NatsServer,
) -> None:
    mesh = trio()
    registrations = list(mesh.registrations.values())
    login = login_at(server)
    async with served(server, mesh) as (auditor, _):
        await auditor.look(registrations)
        await auditor.until(Last)
        await auditor.say(Want(job=auditor.job, digests=["0" * 64]))
        failed = await auditor.next()
        assert isinstance(failed, Failed)
        assert "no node showed the table 000000000000…" in failed.detail
        async with asking(login) as hasty:
            assert (await hasty.open(3)).accepted
            await hasty.say(Want(job=hasty.job, digests=["0" * 64]))
            assert "before any node was named" in (await hasty.until(Failed))[-1].detail  # type: ignore[union-attr]
        async with asking(login) as short:
            assert (await short.open(3)).accepted
            await short.say(Assign(job=short.job, nodes=[node_to_ask(registrations[0], ())]))
            await short.say(Assign(job=short.job, whole=True, count=3))
            assert "1 node came where 3 were sent" in (await short.until(Failed))[-1].detail  # type: ignore[union-attr]
        async with asking(login) as torn:
            assert (await torn.open(3)).accepted
            torn.writing.write(Beat(job=torn.job))  # which is lost on the way
            await torn.assign(registrations)
            assert "message 0 of the row is missing" in (await torn.until(Failed))[-1].detail  # type: ignore[union-attr]


async def test_what_it_does_not_take_is_refused_with_the_reason(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector_service, "MOST_JOBS", 1)
    async with served(server, trio()) as (auditor, _):
        assert (
            await auditor.open(3, device="wg1")
        ).refused == "it looks at wg0, and not at wg1 (mesh.device)"
        assert "no job of mode follow" in (await auditor.open(3, mode="follow")).refused
        assert (await auditor.open(100_001)).refused == "more than 100,000 nodes"
        there = await auditor.open(0)
        assert (there.accepted, there.refused, there.collector) == (False, "no nodes", "here/7")
        for raw in (b"", b"{}", b'{"schema": "wgaudit.collect/2"}', b"[" * 10_000, b"\xff"):
            answer = await auditor.ask(raw)
            assert not answer.accepted
            assert answer.refused.startswith("unreadable request")
        command = {"job": auditor.job, "region": "fra", "nodes": 1, "device": "wg0", "command": "id"}
        assert "unreadable" in (await auditor.ask(json.dumps(command).encode())).refused
        assert (await auditor.open(3)).accepted
        async with asking(login_at(server)) as other:
            assert (await other.open(3)).refused == "it has 1 job under way, and takes no more"


async def test_the_registrys_mesh_addresses_come_once_for_all_jobs(server: NatsServer) -> None:
    mesh = trio()
    nodes = MemoryNodes(mesh)
    digest = registry_digest(mesh.registrations.values())
    addresses = sorted(prefix for item in mesh.registrations.values() for prefix in item.addresses)
    async with served(server, mesh, ServedRegion(nodes)) as (auditor, region):
        (node, *_) = mesh.registrations.values()
        assert not (await auditor.open(1, addresses=digest)).has_addresses
        await auditor.say(
            Assign(job=auditor.job, nodes=[node_to_ask(node, ())], addresses=addresses, whole=True, count=1)
        )
        await auditor.until(Last)
        async with asking(login_at(server)) as again:
            assert (await again.open(1, addresses=digest)).has_addresses
            await again.assign([node])
            await again.until(Last)
        async with asking(login_at(server)) as lying:
            assert not (await lying.open(1, addresses="0" * 64)).has_addresses
            await lying.assign([node])
            failed = (await lying.until(Failed))[-1]
        assert isinstance(failed, Failed)
        assert "not those of their digest" in failed.detail
        assert region.addresses.of(digest, ()) == tuple(addresses)


class Flood:
    """Collector that has a gap of each node at once, each of which fills its message."""

    async def collect(
        self,
        assignment: Assignment,
        tables: TableStore,  # noqa: ARG002
        stop: Stop,  # noqa: ARG002
    ) -> AsyncGenerator[Seen, None]:
        for item in assignment.nodes:
            yield Gap("ssh", GapReason.CONNECT_REFUSED, "x" * 1900, item.node.name, item.node.datacenter)


async def test_it_is_never_more_than_the_window_ahead_of_its_auditor(server: NatsServer) -> None:
    nodes = [
        Registration(NodeId("dc1", f"n{number:05}"), None, (), ssh_host="198.18.0.1")
        for number in range(64 * (WINDOW + 20))
    ]
    region = ServedRegion(MemoryNodes(trio()))
    region.collector = Flood  # type: ignore[assignment]
    async with served(server, trio(), region) as (auditor, _):
        await auditor.look(nodes)
        seen = auditor._subscription
        assert seen is not None
        await until(lambda: seen.pending_msgs >= WINDOW)
        await auditor.connection.settle()
        assert seen.pending_msgs == WINDOW
        came = await auditor.until(Last)
        assert sum(len(batch.gaps) for batch in came if isinstance(batch, SeenBatch)) == len(nodes)


class Odd:
    """Collector whose nodes tell what fits into no message, or is no text."""

    async def collect(
        self,
        assignment: Assignment,
        tables: TableStore,
        stop: Stop,  # noqa: ARG002
    ) -> AsyncGenerator[Seen, None]:
        mesh = trio()
        first, second, third = assignment.nodes
        digest = tables.add(mesh.table(first.node))
        observation = mesh.observe(first.node)
        keys = [hashlib.sha256(str(number).encode()).hexdigest()[:42] + "A=" for number in range(9000)]
        yield Observation(
            first.node, observation.device, digest, endpoints=dict.fromkeys(keys, "198.18.0.1:51820")
        )
        yield Observation(second.node, observation.device, digest, region="\ud800")
        yield Gap("ssh", GapReason.UNREADABLE_OUTPUT, "\ud800", third.node.name, third.node.datacenter)


async def test_what_fits_into_no_message_comes_in_parts_and_what_is_no_text_is_a_gap(
    server: NatsServer,
) -> None:
    region = ServedRegion(MemoryNodes(trio()))
    region.collector = Odd  # type: ignore[assignment]
    async with served(server, trio(), region) as (auditor, _):
        await auditor.look(trio().registrations.values())
        came = await auditor.until(Last)
        reading = ReadingTexts(10_000_000)
        long = [whole.text for part in came if isinstance(part, TextPart) if (whole := reading.take(part))]
        named = [digest for batch in came if isinstance(batch, SeenBatch) for digest in batch.long]
        assert [hashlib.sha256(text).hexdigest() for text in long] == named
        assert len(json.loads(long[0])["endpoints"]) == 9000
        gaps = {gap.name: gap for batch in came if isinstance(batch, SeenBatch) for gap in batch.gaps}
        assert gaps["edge-sin-1"].reason is GapReason.INTERNAL
        assert gaps["edge-ams-1"].reason is GapReason.UNREADABLE_OUTPUT


async def test_a_job_whose_auditor_is_silent_ends_by_itself(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_channel, "UNHEARD", 0.2)
    async with served(server, trio()) as (auditor, region):
        await auditor.look(trio().registrations.values())
        await auditor.until(Last)
        await until(lambda: region.service.load.jobs == 0)
        assert region.log[-1].startswith("ends job")


async def test_one_told_to_end_takes_no_more_and_says_what_it_did_not_look_at(server: NatsServer) -> None:
    mesh = trio()
    nodes = MemoryNodes(mesh)
    hangs = asyncio.Event()

    async def hang(registration: Registration) -> None:
        if registration.node.name == "edge-ams-1":
            await hangs.wait()

    nodes.before = hang
    async with served(server, mesh, ServedRegion(nodes)) as (auditor, region):
        await auditor.look(mesh.registrations.values())
        first = await auditor.next()
        draining = asyncio.create_task(region.service.drain(0.2, 2.0))
        failed = (await auditor.until(Failed))[-1]
        assert isinstance(first, SeenBatch)
        assert isinstance(failed, Failed)
        assert "1 node not looked at by the collector: it was told to end" in failed.detail
        await draining
        async with asking(login_at(server)) as late:
            with pytest.raises(NoRespondersError):
                await late.open(3)


async def test_two_share_a_region_and_each_job_is_one_collectors(server: NatsServer) -> None:
    mesh = trio()
    login = login_at(server)
    second = ServedRegion(MemoryNodes(mesh), pid=8)
    async with served(server, mesh) as (auditor, first), second.at(login):
        answered = set()
        for _ in range(40):
            answered.add((await auditor.open(0)).collector)
        assert answered == {"here/7", "here/8"}
        await auditor.look(mesh.registrations.values())
        await auditor.until(Last)
        assert first.service.load.jobs + second.service.load.jobs == 1


@pytest.mark.parametrize(
    ("version", "semantic"),
    [("0.1.0", "0.1.0"), ("1.2.3rc1", "1.2.3-rc1"), ("0.2.0.dev1+g12ab", "0.2.0-dev1-g12ab"), ("x", "0.0.0")],
)
def test_the_version_is_one_that_nats_takes(version: str, semantic: str) -> None:
    assert semantic_version(version) == semantic
