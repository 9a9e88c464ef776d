"""A registry and nodes that say what a test tells them to, with the promises of the real followed ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from auditor.gather.collector import Assignment, Heard
from auditor.nodes.table_store import TableStore
from auditor.registry.interface import RegistryNews
from auditor.reports.audit_health import AuditHealth
from auditor.service.remembered import Remembered
from auditor.service.watch_telling import RoundOutcome
from auditor.values.meetings import PeersMet
from auditor.values.models import Gap, NodeId, Registration, RegistryReading, Snapshot
from auditor.values.report import Report
from tests.fleets import Mesh


def readings(mesh: Mesh) -> dict[str, RegistryReading]:
    """What reading each datacenter of the mesh's registry gives, by datacenter."""
    names = {node.datacenter for node in mesh.registrations}
    names |= {item.node.datacenter for item in mesh.invalid}
    names |= {gap.datacenter for gap in mesh.gaps if gap.datacenter}
    return {
        name: RegistryReading(
            tuple(item for item in mesh.registrations.values() if item.node.datacenter == name),
            tuple(item for item in mesh.invalid if item.node.datacenter == name),
            tuple(gap for gap in mesh.gaps if gap.datacenter == name),
        )
        for name in sorted(names)
    }


def words(mesh: Mesh) -> list[Heard]:
    """What each node of the mesh says of itself when it is heard of for the first time."""
    said = []
    for node, item in mesh.registrations.items():
        if item.retired:
            continue
        if node in mesh.unseen:
            gap = Gap("ssh", mesh.unseen[node], "planted", node.name, node.datacenter or None)
            said.append(Heard(node, gap))
        else:
            said.append(Heard(node, mesh.observe(node)))
    return said


class ScriptedRegistry:
    """Says its readings when a test writes them, as the answer of a waiting query; a plain read gives the newest."""

    def __init__(self, mesh: Mesh) -> None:
        self._now = readings(mesh)
        self._index = 10
        self._streams: list[asyncio.Queue[RegistryNews | Exception]] = []
        self.confirmations = 0
        self.unconfirmable: Gap | None = None
        """Gap that a plain read comes to."""
        self.behind: dict[str, RegistryReading] = {}
        """What a plain read says in place of what a waiting query said."""

    def write(self, mesh: Mesh, *, event: str = "", confirmed: bool = False) -> None:
        """Let the registry be as the mesh's from now on."""
        self.put(readings(mesh), event=event, confirmed=confirmed)

    def put(self, now: dict[str, RegistryReading], *, event: str = "", confirmed: bool = False) -> None:
        """Let the registry be as these readings from now on."""
        before, self._now = self._now, now
        self._index += 1
        for name in sorted({*before, *self._now}):
            if before.get(name) != self._now.get(name) or event:
                news = self._news(
                    name, self._now.get(name, RegistryReading()), confirmed=confirmed, event=event
                )
                for stream in self._streams:
                    stream.put_nowait(news)

    @property
    def streams(self) -> int:
        """How many follow it."""
        return len(self._streams)

    def fail(self, error: Exception) -> None:
        """Let following end with an error that nobody foresaw."""
        for stream in self._streams:
            stream.put_nowait(error)

    def _news(self, name: str, reading: RegistryReading, *, confirmed: bool, event: str = "") -> RegistryNews:
        return RegistryNews(name, reading, datetime.now(UTC), confirmed, self._index, event=event)

    def expecting(self, datacenters: Collection[str]) -> ScriptedRegistry:  # noqa: ARG002  (the protocol's)
        """Itself: its readings say all that they are to say."""
        return self

    async def read(self) -> RegistryReading:
        """Everything at once."""
        every = self._now.values()
        return RegistryReading(
            tuple(item for one in every for item in one.registrations),
            tuple(item for one in every for item in one.invalid),
            tuple(item for one in every for item in one.gaps),
        )

    async def follow(self) -> AsyncGenerator[RegistryNews, None]:
        """Say each datacenter, then what is written."""
        stream: asyncio.Queue[RegistryNews | Exception] = asyncio.Queue()
        self._streams.append(stream)
        try:
            for name, reading in self._now.items():
                yield self._news(name, reading, confirmed=True)
            while True:
                said = await stream.get()
                if isinstance(said, Exception):
                    raise said
                yield said
        finally:
            self._streams.remove(stream)

    @property
    def answers(self) -> dict[str, datetime]:
        return {}

    async def confirm(self, datacenter: str) -> RegistryNews:
        """Read one datacenter plainly."""
        self.confirmations += 1
        await asyncio.sleep(0)
        if self.unconfirmable is not None:
            return self._news(datacenter, RegistryReading(gaps=(self.unconfirmable,)), confirmed=True)
        reading = self.behind.get(datacenter, self._now.get(datacenter, RegistryReading()))
        return self._news(datacenter, reading, confirmed=True)


class ScriptedFollower:
    """Nodes that say their state once they are assigned, and what a test has them say."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.followed = True
        self.assigned: dict[NodeId, Registration] = {}
        self.rounds = 0
        self._stream: asyncio.Queue[Heard | Exception] | None = None
        self._said: set[NodeId] = set()

    @property
    def listened_to(self) -> bool:
        """Whether anybody follows."""
        return self._stream is not None

    def assign(self, assignment: Assignment) -> None:
        """Let new nodes say their state, and hold still; let go those that left."""
        before = self.assigned
        self.assigned = {item.node: item for item in assignment.nodes}
        self._said &= self.assigned.keys()
        self._say_first(node for node, item in self.assigned.items() if before.get(node) != item)

    def _say_first(self, nodes: Iterable[NodeId]) -> None:
        if self._stream is None or not (wanted := self.mesh.registrations.keys() & set(nodes)):
            return
        first = {word.node: word for word in words(self.mesh)}
        for node in wanted:
            if node in first:
                self._said.add(node)
                self._put(first[node])
                self._put(Heard(node, None))

    def _put(self, word: Heard | Exception) -> None:
        assert self._stream is not None
        self._stream.put_nowait(
            word if isinstance(word, Exception) else replace(word, followed=self.followed)
        )

    def move(self, mesh: Mesh, *names: str, still: bool = True) -> None:
        """Let the fleet be as the mesh; nodes of these names (none: all) notice, and hold still then."""
        self.mesh = mesh
        self._keep()
        for word in words(mesh):
            if not names or word.node.name in names:
                self._put(word)
                if still:
                    self._put(Heard(word.node, None))

    def become(self, mesh: Mesh) -> None:
        """Let the fleet be as the mesh; nodes notice when they are looked at."""
        self.mesh = mesh
        self._keep()

    def beat(self, *names: str) -> None:
        """Let nodes of these names (none: all) say that they show what they showed."""
        for node in self.assigned:
            if not names or node.name in names:
                self._put(Heard(node, None))

    def say(self, word: Heard | Exception) -> None:
        """Say this, or let following end with an error that nobody foresaw."""
        self._put(word)

    @property
    def tables(self) -> TableStore:
        """Where the tables of its nodes are kept."""
        return self._tables

    async def taken(self) -> None:
        """Wait until all that was said is heard."""
        while self._stream is not None and not self._stream.empty():  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def meet(self, observers: Collection[NodeId]) -> tuple[PeersMet, ...]:
        """Tell where these nodes of the mesh meet their peers, as far as it says so."""
        seen = {item.node: item for item in self.mesh.snapshot().observations}
        return tuple(
            PeersMet(node, seen[node].endpoints or {}, seen[node].handshake_ages or {})
            for node in observers
            if node in seen and seen[node].endpoints
        )

    def look_again(self) -> None:
        """Let nodes that cannot be followed say their state once more."""
        self.rounds += 1
        if not self.followed:
            self._say_first(self.assigned)

    def _keep(self) -> None:
        for table in self.mesh.tables().values():
            self._tables.add(table)

    async def follow(self, tables: TableStore) -> AsyncGenerator[Heard, None]:
        """Say what there is to say."""
        self._tables = tables
        self._stream = asyncio.Queue()
        self._keep()
        self._say_first(self.assigned)
        try:
            while True:
                said = await self._stream.get()
                if isinstance(said, Exception):
                    raise said
                yield said
        finally:
            self._stream = None


class Notebook:
    """Telling that writes down what it was to tell."""

    def __init__(self) -> None:
        self.told: list[Report] = []
        self.rounds: list[tuple[Report, Snapshot | None]] = []
        self.journal: list[RegistryNews] = []
        self.memory = Remembered()
        self.before_rounds = AuditHealth()
        self.may_end_rounds = asyncio.Event()
        self.may_end_rounds.set()
        self.failing: Exception | None = None

    def remembered(self) -> Remembered:
        """The memory that a test gave it."""
        return self.memory

    async def tell(self, report: Report, *, arrived_at: datetime | None = None) -> Report:  # noqa: ARG002
        """Note it, or fail."""
        if self.failing is not None:
            error, self.failing = self.failing, None
            raise error
        self.told.append(report)
        return report

    def forget(self) -> None:
        """Throw the notes away."""
        self.told.clear()
        self.rounds.clear()
        self.journal.clear()

    async def round(self, report: Report, snapshot: Snapshot | None = None) -> RoundOutcome:
        """Note it."""
        self.rounds.append((report, snapshot))
        await self.may_end_rounds.wait()
        return RoundOutcome(report, AuditHealth(handed_over=True))

    def health(self) -> AuditHealth:
        """The health that a test gave it."""
        return self.before_rounds
