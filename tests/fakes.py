"""A registry and a fleet in memory, with the same promises as the real ones, for tests of the sweep."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from auditor.errors import GapReason, ProbeError
from auditor.gather.collector import Assignment, Collector, Seen, gap_of
from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.nodes.interface import NodeSource
from auditor.nodes.stop import Stop
from auditor.nodes.table_store import TableStore
from auditor.values.models import NodeId, Observation, Registration, RegistryReading, Snapshot
from auditor.values.route_table import RouteTable
from auditor.values.witness_answers import WitnessAnswer
from auditor.witnesses.interface import Question, Witnesses
from tests.fleets import Mesh, trio


def reading(mesh: Mesh) -> RegistryReading:
    """What reading the mesh's registry gives."""
    return RegistryReading(tuple(mesh.registrations.values()), tuple(mesh.invalid), tuple(mesh.gaps))


class MemoryRegistry:
    """Gives its readings one after the other; the last one again and again."""

    def __init__(self, *readings: RegistryReading) -> None:
        self._readings = readings
        self.reads = 0
        self.before: Callable[[int], Awaitable[None]] | None = None
        """Awaited before each reading, with its number from 1."""

    def expecting(self, datacenters: Collection[str]) -> MemoryRegistry:  # noqa: ARG002  (the protocol's)
        """Itself: its readings say all that they are to say."""
        return self

    async def read(self) -> RegistryReading:
        """The next reading."""
        self.reads += 1
        if self.before is not None:
            await self.before(self.reads)
        return self._readings[min(self.reads, len(self._readings)) - 1]


class MemoryNodes:
    """Answers for the machines of a mesh: the first look from one, later looks from another."""

    def __init__(self, first: Mesh, later: Mesh | None = None) -> None:
        self._looks = (first, later or first)
        self.asked: Counter[NodeId] = Counter()
        self.fetched: Counter[str] = Counter()
        self.surprises: Mapping[str, Exception] = {}
        """By node name, what is raised in place of an answer."""
        self.before: Callable[[Registration], Awaitable[None]] | None = None
        """Awaited before each answer."""
        self.busy = 0
        self.busiest = 0
        self.expected: set[NodeId] = set()

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Remembers who was announced."""
        self.expected = {registration.node for registration in registrations}

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """As a node would answer, its table fetched only where its digest is new."""
        node = registration.node
        mesh = self.mesh_at(node)
        self.asked[node] += 1
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(0)
            if self.before is not None:
                await self.before(registration)
            if node.name in self.surprises:
                raise self.surprises[node.name]
            if node in mesh.unseen or node not in mesh.machines:
                raise ProbeError(mesh.unseen.get(node, GapReason.UNREACHABLE), "planted")
            observation = mesh.observe(node)
            await tables.obtain(observation.table, lambda: self._fetch(mesh, node))
            return observation
        finally:
            self.busy -= 1

    def mesh_at(self, node: NodeId) -> Mesh:
        """The fleet as it is when the node is asked now."""
        return self._looks[min(self.asked[node], 1)]

    async def _fetch(self, mesh: Mesh, node: NodeId) -> RouteTable:
        table = mesh.table(mesh.ways.get(node, node))
        self.fetched[table.digest] += 1
        await asyncio.sleep(0)
        return table


class MovingNodes(MemoryNodes):
    """Answers for the machines of a fleet that moves on from one reading of the registry to the next."""

    def __init__(self, registry: MemoryRegistry, *looks: Mesh) -> None:
        """`looks`: the fleet after the first reading, after the second and so on; the last one stays."""
        super().__init__(looks[0])
        self._registry = registry
        self._moments = looks

    def mesh_at(self, node: NodeId) -> Mesh:  # noqa: ARG002
        """The fleet after as many readings as there were."""
        return self._moments[min(self._registry.reads, len(self._moments)) - 1]


def moving(*moments: Mesh) -> tuple[MemoryRegistry, MovingNodes]:
    """Registry and nodes of a fleet that is read, looked at, read, looked at again and so on, at these moments."""
    registry = MemoryRegistry(*map(reading, moments[::2]))
    return registry, MovingNodes(registry, *(moments[1::2] or moments))


class SerialCollector(Collector):
    """Asks one node after the other, once each, in the assignment's order."""

    def __init__(self, nodes: NodeSource) -> None:
        self._nodes = nodes

    async def collect(
        self, assignment: Assignment, tables: TableStore, stop: Stop
    ) -> AsyncGenerator[Seen, None]:
        """Yield what becomes of each node until the stop."""
        self._nodes.expect(assignment.registered)
        for registration in assignment.nodes:
            try:
                seen = await stop.bound(self._nodes.observe(registration, tables))
            except ProbeError as error:
                yield gap_of(registration.node, error)
                continue
            if seen is None:
                return
            yield seen


class MemoryWitnesses(Witnesses):
    """Answers each question by a function, which is given its number of asking too."""

    def __init__(self, answer: Callable[[Question, int], WitnessAnswer]) -> None:
        self._answer = answer
        self.asked: list[Question] = []

    async def ask(
        self,
        questions: Sequence[Question],
        registered: Sequence[Registration],  # noqa: ARG002  (the protocol's)
        stop: Stop,  # noqa: ARG002
    ) -> AsyncGenerator[WitnessAnswer, None]:
        for question in questions:
            self.asked.append(question)
            await asyncio.sleep(0)
            yield self._answer(question, self.asked.count(question))


class Watcher:
    """Writes down what a sweep says of its progress."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.counts: list[int] = []
        self.done: Counter[bool] = Counter()

    def phase(self, name: str) -> None:
        """A new part of the sweep begins."""
        self.phases.append(name)

    def registered(self, count: int) -> None:
        """So many nodes are going to be asked."""
        self.counts.append(count)

    def node_done(self, seen: bool) -> None:
        """One more node answered or became a gap."""
        self.done[seen] += 1


def nodes_named(names: Iterable[str], dc: str = "dc1") -> set[NodeId]:
    """Names as nodes of one datacenter."""
    return {NodeId(dc, name) for name in names}


NO_SECOND = SweepOptions(confirm_after=None)


async def look(
    registry: MemoryRegistry | Mesh,
    nodes: MemoryNodes | Mesh | Collector,
    options: SweepOptions = NO_SECOND,
    watcher: Watcher | None = None,
    interrupt: asyncio.Event | None = None,
    *,
    concurrency: int = 4,
) -> Snapshot:
    """A sweep that must leave no task behind."""
    if isinstance(registry, Mesh):
        registry = MemoryRegistry(reading(registry))
    if isinstance(nodes, Mesh):
        nodes = MemoryNodes(nodes)
    before = asyncio.all_tasks()
    collector = LocalCollector(nodes, concurrency) if isinstance(nodes, MemoryNodes) else nodes
    snapshot = await sweep(registry, collector, trio().policy, options, watcher, interrupt)
    assert asyncio.all_tasks() == before
    return snapshot
