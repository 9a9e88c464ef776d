"""Small fleets that move while a sweep looks: what stands in them, what moves, and who shows the move early."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.gather.sweep import SweepOptions
from auditor.judge import judge
from auditor.values.addresses import format_prefix
from auditor.values.models import NodeId
from auditor.values.report import Report
from tests.fakes import MemoryNodes, MemoryRegistry, look, reading
from tests.fleets import Mesh, key_of, prefixes

SIZE = 7
AT_ONCE = SweepOptions(confirm_after=0.0)


@dataclass(frozen=True)
class Step:
    """One thing that happens to a fleet, to the nodes of these numbers."""

    kind: str
    one: int
    other: int

    def apply(self, mesh: Mesh) -> None:
        """Let it happen, if the nodes are there."""
        here = {node.name for node in mesh.registrations}
        if f"n{self.one}" in here and (f"n{self.other}" in here or self.kind not in PAIRS):
            (PAIRS | FAULTS | MOVES)[self.kind](mesh, self.one, self.other)


def _write(mesh: Mesh, number: int, **fields: object) -> None:
    node = mesh.find(f"n{number}")
    mesh.registrations[node] = replace(mesh.registrations[node], **fields)  # type: ignore[arg-type]


def _rotate(mesh: Mesh, one: int, _: int) -> None:
    _write(mesh, one, public_key=key_of(f"n{one} anew"))
    mesh.rekeyed(f"n{one}", f"n{one} anew")


def _renumber(mesh: Mesh, one: int, _: int) -> None:
    _write(mesh, one, addresses=prefixes([f"10.0.1.{one}"]))
    mesh.holds(f"n{one}", f"10.0.1.{one}")


def _leave(mesh: Mesh, one: int, _: int) -> None:
    node = mesh.find(f"n{one}")
    del mesh.registrations[node], mesh.machines[node]


def _take(mesh: Mesh, one: int, other: int) -> None:
    mesh.holds(f"n{one}", *map(format_prefix, mesh.machines[mesh.find(f"n{other}")].held))


Happening = Callable[[Mesh, int, int], object]

PAIRS: dict[str, Happening] = {
    "take the other's address": _take,
    "empty the other": lambda mesh, one, other: mesh.empties(f"n{one}", f"n{other}"),
    "lack the other": lambda mesh, one, other: mesh.lacks(f"n{one}", f"n{other}"),
}
FAULTS: dict[str, Happening] = PAIRS | {
    "misroute": lambda mesh, one, other: mesh.peers_with(
        f"n{one}", f"n{(other + 1) % SIZE}", f"10.0.0.{other + 1}"
    ),
    "have a ghost": lambda mesh, one, other: mesh.peers_with(f"n{one}", f"ghost {other}", f"10.0.7.{other}"),
    "be written alone": lambda mesh, one, _: _write(mesh, one, addresses=prefixes([f"10.0.1.{one}"])),
}
MOVES: dict[str, Happening] = {
    "bring a new node": lambda mesh, one, _: mesh.node(f"new-{one}", f"10.0.2.{one}"),
    "leave": _leave,
    "rotate the key": _rotate,
    "renumber": _renumber,
}


def steps(kinds: Iterable[str], most: int) -> st.SearchStrategy[list[Step]]:
    """Some things that happen, one after the other."""
    numbers = st.integers(0, SIZE - 1)
    one = st.tuples(st.sampled_from(sorted(kinds)), numbers, numbers).filter(lambda item: item[1] != item[2])
    return st.lists(one.map(lambda item: Step(*item)), max_size=most)


def built(*happened: Sequence[Step]) -> Mesh:
    """A healthy full mesh to which all of this happened; faults come last, for they are about who is there then."""
    mesh = Mesh()
    for number in range(SIZE):
        mesh.node(f"n{number}", f"10.0.0.{number + 1}")
    every = [step for group in happened for step in group]
    for step in sorted(every, key=lambda item: item.kind in FAULTS):
        step.apply(mesh)
    return mesh


class HalfMoved(MemoryNodes):
    """At the first look some nodes are as they were and some as they will be; from then on all are as they will be."""

    def __init__(self, before: Mesh, after: Mesh, early: Collection[int], registry: MemoryRegistry) -> None:
        super().__init__(before)
        self._before, self._after = before, after
        self._early = {NodeId("dc1", f"n{number}") for number in early}
        self._registry = registry

    def mesh_at(self, node: NodeId) -> Mesh:
        """The fleet as it is when the node is asked now."""
        return self._after if self._registry.reads > 1 or node in self._early else self._before


def swept(before: Mesh, after: Mesh, early: Collection[int] = (), late_readings: int = 1) -> Report:
    """The report of a sweep during which the fleet moved. So many readings of the registry still show it as it was."""
    registry = MemoryRegistry(*[reading(before)] * late_readings, reading(after))

    async def run() -> Report:
        return judge(await look(registry, HalfMoved(before, after, early, registry), AT_ONCE))

    return asyncio.run(run())


def settled(mesh: Mesh) -> Report:
    """The report of a sweep that found the fleet so from beginning to end."""
    return swept(mesh, mesh)


def silenced(mesh: Mesh, numbers: Collection[int]) -> Mesh:
    """The fleet with some nodes that do not answer."""
    silent = copy.deepcopy(mesh)
    for number in numbers:
        if NodeId("dc1", f"n{number}") in silent.machines:
            silent.not_seen(f"n{number}", GapReason.CONNECT_TIMEOUT)
    return silent


def marks(report: Report) -> set[str]:
    """Fingerprints of what counts."""
    return {finding.fingerprint for finding in report.standing}
