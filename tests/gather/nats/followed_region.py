"""Regions that are followed over a real NATS server, by collectors in this process over nodes in memory."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from auditor.errors import GapReason, ProbeError
from auditor.fleet.region_sources import RegionSources
from auditor.gather.collector import Assignment, Follower, Heard, Seen
from auditor.gather.following import LocalFollower
from auditor.gather.following_by_region import RegionalFollower
from auditor.gather.nats.collector_service import CollectorIdentity, CollectorService
from auditor.gather.nats.connection import NatsConnection, open_nats
from auditor.gather.nats.follow_messages import (
    ChangeAssignment,
    Keep,
    NodeState,
    NumberedNode,
    OfAuditor,
    OfCollector,
    Piece,
    States,
    StillSo,
    TableText,
    WantTable,
    read_of_auditor,
    read_of_collector,
    written,
)
from auditor.gather.nats.followed_job import Rhythm
from auditor.gather.nats.following_job import FollowingJob
from auditor.gather.nats.job_channel import JobChannel
from auditor.gather.nats.mesh_addresses import KnownAddresses
from auditor.gather.nats.messages import (
    AUDITOR_INBOX,
    COLLECTOR_INBOX,
    JobAnswer,
    NodeSeen,
    OpenJob,
    collect_subject,
    job_subject,
    node_to_ask,
    node_unseen,
    read_answer,
    read_open,
    seen_subject,
)
from auditor.gather.nats.messages import written as written_answer
from auditor.gather.nats.nats_follower import FollowTerms, NatsFollower
from auditor.gather.nats.nats_line import NatsLine
from auditor.gather.nats.nats_login import NatsLogin
from auditor.nodes.table_store import TableStore
from auditor.values.meetings import PeersMet
from auditor.values.models import Gap, NodeId, Observation, Registration
from tests.fakes import MemoryNodes
from tests.fleets import Mesh

Asked = TypeVar("Asked", bound=OfAuditor)
Said = TypeVar("Said", bound=OfCollector)
WITHIN = 20.0
QUICK = Rhythm(keep=0.3, silent=1.5, tick=0.1)


def two_regions() -> Mesh:
    """Three nodes in fra, two in sin, one nowhere."""
    mesh = Mesh(name_pattern=r"^[a-z]+-(?P<region>fra|sin)-")
    for number, name in enumerate(("a-fra-1", "b-fra-2", "c-fra-3", "d-sin-1", "e-sin-2", "f")):
        mesh.node(name, f"10.0.0.{number + 1}")
    return mesh


class SpeakingNodes(MemoryNodes):
    """Nodes that are followed, and speak when a test has them speak. A new session begins with state and beat."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh)
        self.mesh = mesh
        self.sessions: dict[str, int] = defaultdict(int)
        self.met: list[str] = []
        self._speak: dict[str, asyncio.Queue[ProbeError | bool]] = defaultdict(asyncio.Queue)

    def change(self, name: str, address: str) -> None:
        """The node's device has another address from now on, and the node says so."""
        self.mesh.holds(name, address)
        self._speak[name].put_nowait(True)

    def beat(self, name: str) -> None:
        """The node says that it shows what it showed."""
        self._speak[name].put_nowait(False)

    def way(self, registration: Registration) -> Hashable:
        return registration.ssh_host

    def silence(self, interval: float) -> float:  # noqa: ARG002
        return 92.0

    async def meet(self, registration: Registration) -> PeersMet:
        self.met.append(registration.node.name)
        return PeersMet(registration.node, {}, {})

    async def follow(
        self,
        registration: Registration,
        tables: TableStore,
        interval: float,  # noqa: ARG002
    ) -> AsyncGenerator[Observation | ProbeError | None, None]:
        name = registration.node.name
        self.sessions[name] += 1
        yield await self.observe(registration, tables)
        yield None
        while True:
            said = await self._speak[name].get()
            if isinstance(said, ProbeError):
                raise said
            yield await self.observe(registration, tables) if said else None


class FollowingCollector:
    """A collector that follows, and can be killed."""

    def __init__(self, nodes: SpeakingNodes, region: str = "fra", pid: int = 7, device: str = "wg0") -> None:
        self.nodes = nodes
        self.log: list[str] = []
        self.tables: list[TableStore] = []
        self.jobs: list[FollowingJob] = []
        self.service = CollectorService(
            CollectorIdentity(region, "here", pid, "0.1.0"),
            device,
            {"follow": self._follow},
            KnownAddresses(),
            self.log.append,
            self.log.append,
        )

    async def _follow(self, opened: OpenJob, channel: JobChannel, _: int) -> Callable[[], Awaitable[None]]:
        self.tables.append(TableStore())
        follower = LocalFollower(self.nodes, opened.interval)
        self.jobs.append(FollowingJob(follower, self.tables[-1], channel, alive=0.3))
        return self.jobs[-1].run

    @asynccontextmanager
    async def at(self, login: NatsLogin) -> AsyncIterator[None]:
        """Serve at a server. Left as if it were killed: without a word."""
        async with (
            open_nats(login, COLLECTOR_INBOX, self.log.append) as connection,
            self.service.serving(connection),
        ):
            yield


class Listening:
    """What a follower says, as it comes."""

    def __init__(self, follower: Follower, tables: TableStore) -> None:
        self.follower = follower
        self.tables = tables
        self.words: list[Heard] = []
        self.newest: dict[str, Seen] = {}
        self._came = asyncio.Event()

    async def listen(self) -> None:
        """Take words for as long as it is not cancelled."""
        async with aclosing(self.follower.follow(self.tables)) as words:
            async for word in words:
                self.words.append(word)
                if word.seen is not None:
                    self.newest[word.node.name] = word.seen
                    if isinstance(word.seen, Observation):
                        assert word.seen.table in self.tables.tables
                self._came.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for words until it is so."""
        async with asyncio.timeout(WITHIN):
            while not condition():
                self._came.clear()
                await self._came.wait()

    def shown(self) -> dict[str, str]:
        """By node: the address that it shows, or the reason of its gap."""
        return {
            name: seen.reason.value if isinstance(seen, Gap) else ",".join(seen.device.addresses)
            for name, seen in sorted(self.newest.items())
        }

    async def shows(self, **shown: str) -> None:
        """Wait until these nodes show that."""
        expected = {name.replace("_", "-"): what for name, what in shown.items()}
        await self.until(lambda: expected.items() <= self.shown().items())

    def beats(self, name: str) -> int:
        """How often the node was said to show what it showed."""
        return sum(word.seen is None for word in self.words if word.node.name == name)


def everybody(mesh: Mesh) -> Assignment:
    """All nodes of a mesh."""
    registered = tuple(mesh.registrations.values())
    return Assignment(registered, registered)


@asynccontextmanager
async def followed(
    login: NatsLogin,
    mesh: Mesh,
    *,
    regions: Sequence[str] = ("fra",),
    local: Follower | None = None,
    rhythm: Rhythm = QUICK,
    silence: float = 92.0,
    complaints: list[str] | None = None,
) -> AsyncIterator[Listening]:
    """An auditor that follows a mesh."""
    line = NatsLine(login, (complaints if complaints is not None else []).append)
    terms = FollowTerms("wg0", mesh.policy.pools, (), endpoints=False, interval=1.0)
    followers: Mapping[str, NatsFollower] = {
        region: NatsFollower(region, line, terms, silence, rhythm=rhythm, chance=lambda: 0.0)
        for region in regions
    }
    follower = RegionalFollower(RegionSources(mesh.policy), followers, local, line.close)
    follower.assign(everybody(mesh))
    here = Listening(follower, TableStore())
    listening = asyncio.create_task(here.listen())
    try:
        yield here
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def missing(*names: str) -> dict[str, str]:
    """What nodes show that nobody can follow."""
    return dict.fromkeys(names, GapReason.COLLECTOR_MISSING.value)


def node(name: str) -> NodeId:
    """The node of a name."""
    return NodeId("dc1", name)


class CollectorByHand:
    """A collector that says what a test has it say."""

    def __init__(self, connection: NatsConnection, region: str = "fra") -> None:
        self.connection = connection
        self.region = region
        self.number = 0
        self.numbers: dict[str, int] = {}
        """By node: its number in the assignment."""
        self.generation = 0
        self.jobs: asyncio.Queue[tuple[str, Subscription]] = asyncio.Queue()
        self.job = ""
        self._said: Subscription | None = None

    async def serve(self) -> None:
        """Take each job that is asked for."""

        async def take(request: Msg) -> None:
            opened = read_open(request.data)
            said = await self.connection.client.subscribe(job_subject(self.region, opened.job))
            await self.connection.client.flush()
            self.jobs.put_nowait((opened.job, said))
            await request.respond(written_answer(JobAnswer(job=opened.job, accepted=True, collector="hand")))

        await self.connection.client.subscribe(collect_subject(self.region), cb=take)
        await self.connection.client.flush()

    async def take(self) -> None:
        """Take the next job, and its assignment."""
        async with asyncio.timeout(WITHIN):
            self.job, self._said = await self.jobs.get()
        self.number = 0
        await self.change()

    async def next(self, kind: type[Asked], within: float = WITHIN) -> Asked:
        """The auditor's next message of a kind."""
        assert self._said is not None
        async with asyncio.timeout(within):
            while True:
                message = read_of_auditor((await self._said.next_msg(within)).data, self.job)
                if isinstance(message, kind):
                    return message

    async def change(self) -> ChangeAssignment:
        """Take the next change of the assignment."""
        change = await self.next(ChangeAssignment)
        self.generation = change.generation
        self.numbers |= {item.node.name: item.number for item in change.nodes}
        return change

    async def say(
        self, form: type[OfCollector], *, skip: int = 0, at: float | None = None, **fields: Any
    ) -> bytes:
        """Say the next message. skip: messages that are lost before it. at: seconds of its clock."""
        self.number += 1 + skip
        now = asyncio.get_running_loop().time() if at is None else at
        raw = written(form(job=self.job, number=self.number, at=now, **fields))  # type: ignore[call-arg]
        await self.publish(raw)
        return raw

    async def publish(self, raw: bytes) -> None:
        """Say these bytes."""
        await self.connection.client.publish(seen_subject(self.region, self.job), raw)

    async def states(self, *seen: Observation | Gap, again: bool = False, **how: Any) -> bytes:
        """Say states of nodes."""
        states = [
            NodeState(number=self.numbers[item.node or ""], unseen=node_unseen(item), again=again)
            if isinstance(item, Gap)
            else NodeState(
                number=self.numbers[item.node.name], seen=NodeSeen.model_validate(item), again=again
            )
            for item in seen
        ]
        return await self.say(States, states=states, **how)

    async def beats(self, *names: str, **how: Any) -> bytes:
        """Say that these nodes show what they showed."""
        return await self.say(StillSo, nodes=[self.numbers[name] for name in names], **how)

    async def send_table(self, mesh: Mesh, name: str) -> None:
        """Send the table that is asked for next, of this node."""
        want = await self.next(WantTable)
        lines = mesh.table(node(name)).text.decode().splitlines()
        await self.say(TableText, digest=want.digest, lines=lines)


@asynccontextmanager
async def by_hand(login: NatsLogin) -> AsyncIterator[CollectorByHand]:
    """A collector of fra by hand."""
    async with open_nats(login, COLLECTOR_INBOX, print) as connection:
        collector = CollectorByHand(connection)
        await collector.serve()
        yield collector


def unseen(name: str, detail: str = "planted") -> Gap:
    """Some state of a node, which needs no table."""
    return Gap("ssh", GapReason.NO_WG, detail, name, "dc1")


class AuditorByHand:
    """An auditor that follows, and reads as slowly as a test wants."""

    def __init__(self, connection: NatsConnection) -> None:
        self.connection = connection
        self.job = secrets.token_hex(16)
        self.came: list[OfCollector] = []
        self._seen: Subscription | None = None

    async def open(self, registrations: Sequence[Registration]) -> None:
        """Have a collector of fra take a job for these nodes."""
        client = self.connection.client
        self._seen = await client.subscribe(seen_subject("fra", self.job))
        request = OpenJob(job=self.job, region="fra", mode="follow", nodes=len(registrations), device="wg0")
        answer = await client.request(collect_subject("fra"), written_answer(request), timeout=WITHIN)
        assert read_answer(answer.data).accepted
        nodes = [
            NumberedNode(number=number, node=node_to_ask(item, ()))
            for number, item in enumerate(registrations, 1)
        ]
        await self.say(ChangeAssignment(job=self.job, generation=1, nodes=nodes))

    async def say(self, message: OfAuditor) -> None:
        """Say a message."""
        await self.connection.client.publish(job_subject("fra", self.job), written(message))

    async def read(self) -> None:
        """Say that all that came is read."""
        numbers = [message.number for message in self.came if not isinstance(message, Piece)]
        await self.say(Keep(job=self.job, read=max(numbers)))

    async def next(self, kind: type[Said], within: float = WITHIN) -> Said:
        """The next message of a kind. All that come are kept."""
        assert self._seen is not None
        while True:
            message = read_of_collector((await self._seen.next_msg(within)).data, self.job)
            assert not isinstance(message, Piece)
            self.came.append(message)
            if isinstance(message, kind):
                return message

    async def nothing_but(self, kind: type[OfCollector], seconds: float) -> bool:
        """Whether nothing else comes for so long."""
        before = len(self.came)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.next(kind)
        except TimeoutError:
            return all(isinstance(message, kind) for message in self.came[before:])


@asynccontextmanager
async def auditor_by_hand(login: NatsLogin) -> AsyncIterator[AuditorByHand]:
    """An auditor by hand."""
    async with open_nats(login, AUDITOR_INBOX, print) as connection:
        yield AuditorByHand(connection)
