"""Simulated networks with thousands of nodes, for sweeps in virtual time: the way to nodes, not what they say."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable

from auditor.errors import GapReason, ProbeError
from auditor.gather.local import LocalCollector
from auditor.gather.sweep import SweepOptions, sweep
from auditor.nodes.table_store import TableStore
from auditor.values.addresses import PublicKey
from auditor.values.models import Device, NodeId, Observation, Registration, RegistryReading, Snapshot
from auditor.values.route_table import RouteTable
from tests import virtual_time
from tests.fakes import MemoryRegistry
from tests.fleets import prefixes, trio

CONNECT_TIMEOUT = 10.0

Seconds = Callable[[random.Random], float]


def steady(seconds: float) -> Seconds:
    """Every node takes the same time."""
    return lambda _: seconds


def fleet(count: int) -> tuple[Registration, ...]:
    """Registrations of so many nodes, in the order of their names."""
    address = prefixes(["10.0.0.1"])
    return tuple(
        Registration(NodeId("dc1", f"node-{number:05}"), PublicKey("key"), address) for number in range(count)
    )


class Network:
    """A node source over simulated connections.

    `answer` gives the seconds that a node takes. Shares of the nodes, chosen by `seed`, are `holes`, which
    never answer, and `broken`, which hang up. `logins`: so many connections at a time, and the next are reset.
    `capacity`: so many answers a second, and the next wait in line.
    """

    def __init__(
        self,
        count: int,
        answer: Seconds,
        *,
        holes: float = 0.0,
        broken: float = 0.0,
        logins: int | None = None,
        capacity: float | None = None,
        seed: int = 1,
    ) -> None:
        self.registrations = fleet(count)
        self._random = random.Random(seed)  # noqa: S311  (which nodes are dead is no secret)
        self._answer = answer
        drawn = [item.node for item in self.registrations]
        self._random.shuffle(drawn)
        self.holes = frozenset(drawn[: round(holes * count)])
        self.broken = frozenset(drawn[count - round(broken * count) :])
        self._logins = logins
        self._capacity = capacity
        self._line_ends = 0.0
        self._table = RouteTable(b"")
        self.asked: Counter[NodeId] = Counter()
        self.began: dict[NodeId, float] = {}
        """When each node was asked first."""
        self.ended: dict[NodeId, float] = {}
        """When each node's last try was over."""
        self.busy = 0
        self.busiest = 0
        self.resets = 0

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Does nothing."""

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """As the network has it. Raises `ProbeError`."""
        node, now = registration.node, asyncio.get_running_loop().time
        self.asked[node] += 1
        self.began.setdefault(node, now())
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self._reach(node)
        finally:
            self.busy -= 1
            self.ended[node] = now()
        device = Device("wg0", registration.public_key, registration.addresses)
        return Observation(node, device, tables.add(self._table), None, None, None, digested=True)

    async def _reach(self, node: NodeId) -> None:
        if node in self.holes:
            # As the SSH source does: half of the time for one that was waited for in vain.
            await asyncio.sleep(CONNECT_TIMEOUT / (1 if self.asked[node] == 1 else 2))
            raise ProbeError(GapReason.CONNECT_TIMEOUT, "no answer")
        if node in self.broken or (self._logins is not None and self.busy > self._logins):
            self.resets += 1
            await asyncio.sleep(0.02)
            raise ProbeError(GapReason.CONNECTION_LOST, "reset")
        now = asyncio.get_running_loop().time()
        if self._capacity is not None:
            self._line_ends = max(self._line_ends, now) + 1 / self._capacity
        await asyncio.sleep(max(0.0, self._line_ends - now) + self._answer(self._random))


def swept(network: Network, *, most: int = 100, room: int | None = None) -> tuple[Snapshot, float]:
    """A sweep over it, and the virtual seconds that it took."""
    collector = LocalCollector(network, most, room=None if room is None else lambda _: room)
    registry = MemoryRegistry(RegistryReading(network.registrations))
    return virtual_time.run(sweep(registry, collector, trio().policy, SweepOptions(confirm_after=None)))
