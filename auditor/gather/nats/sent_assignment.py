"""PURE: assignment of a job that is followed, kept alike on both sides by changes that each stand on the one before.

Each node has a number, by which words of it are told. A number is never used twice in a job: so a word that was under
way while its node left, or came back as another one, is no word of the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from auditor.gather.collector import Assignment
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration


@dataclass(frozen=True, slots=True)
class AssignmentChange:
    """Change of an assignment from one generation to a later one."""

    generation: int
    base: int | None
    """Generation that it changes; None: none, it is the whole."""
    nodes: Mapping[int, Registration]
    """By number: nodes that are new, and those whose registration changed."""
    gone: tuple[int, ...]
    """Numbers of the nodes that left."""
    mesh: tuple[Prefix, ...]
    """Addresses in the mesh, of the whole registry, that are new."""
    not_mesh: tuple[Prefix, ...]
    """Those that are none any more."""


class SentAssignment:
    """Assignment as it was sent."""

    def __init__(self) -> None:
        self.generation = 0
        self._numbers: dict[NodeId, int] = {}
        self._nodes: dict[int, Registration] = {}
        self._mesh: frozenset[Prefix] = frozenset()
        self._next = 1

    def node(self, number: int) -> NodeId | None:
        """Find the node of a number; None: none has it, or none any more."""
        registration = self._nodes.get(number)
        return registration.node if registration is not None else None

    def number(self, node: NodeId) -> int | None:
        """Find the number of a node."""
        return self._numbers.get(node)

    def change(
        self, nodes: Iterable[Registration], mesh: Iterable[Prefix], *, whole: bool = False
    ) -> AssignmentChange | None:
        """Make the change to these nodes and mesh addresses, and take it for sent. None: nothing changed.

        whole: the other side has none, or not the one that was sent.
        """
        wanted = {item.node: item for item in nodes}
        addresses = frozenset(mesh)
        gone = [self._numbers[node] for node in self._numbers.keys() - wanted.keys()]
        for number in gone:
            del self._numbers[self._nodes.pop(number).node]
        changed: dict[int, Registration] = {}
        for node, registration in wanted.items():
            if node not in self._numbers:
                self._numbers[node], self._next = self._next, self._next + 1
            number = self._numbers[node]
            if whole or self._nodes.get(number) != registration:
                changed[number] = self._nodes[number] = registration
        new, old = addresses - self._mesh, self._mesh - addresses
        self._mesh = addresses
        if not (whole or changed or gone or new or old):
            return None
        before, self.generation = self.generation, self.generation + 1
        return AssignmentChange(
            self.generation,
            None if whole else before,
            changed,
            () if whole else tuple(sorted(gone)),
            tuple(sorted(addresses if whole else new)),
            () if whole else tuple(sorted(old)),
        )


class TakenAssignment:
    """Assignment as it was taken on the other side."""

    def __init__(self) -> None:
        self.generation = 0
        """Generation that it has; 0: none yet."""
        self._nodes: dict[int, Registration] = {}
        self._numbers: dict[NodeId, int] = {}
        self._mesh: set[Prefix] = set()

    @property
    def nodes(self) -> frozenset[NodeId]:
        """Nodes to follow."""
        return frozenset(self._numbers)

    def assignment(self) -> Assignment:
        """Make the assignment of these nodes: of the rest of the registry, the mesh addresses alone came here."""
        unnamed = Registration(NodeId("", ""), None, tuple(self._mesh))
        return Assignment(tuple(self._nodes.values()), (unnamed,))

    def number(self, node: NodeId) -> int | None:
        """Find the number of a node; None: it left."""
        return self._numbers.get(node)

    def node(self, number: int) -> NodeId | None:
        """Find the node of a number."""
        registration = self._nodes.get(number)
        return registration.node if registration is not None else None

    def take(self, change: AssignmentChange) -> bool:
        """Take a change. Returns False where it does not stand on what is there: then the whole is to be sent."""
        if change.base is not None and change.base != self.generation:
            # What came already is no loss.
            return change.generation <= self.generation
        if change.base is None:
            if change.generation <= self.generation:
                return True
            self._nodes, self._mesh = {}, set()
        for number in change.gone:
            self._nodes.pop(number, None)
        self._nodes.update(change.nodes)
        self._mesh.difference_update(change.not_mesh)
        self._mesh.update(change.mesh)
        self._numbers = {item.node: number for number, item in self._nodes.items()}
        self.generation = change.generation
        return True
