"""PURE: registrations that changed lately, and which of the changes a node's word came after."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from auditor.gather.settling import moving_values
from auditor.values.models import Looks, MovedRegistration, NodeId, Registration

MOST_FORMS = 8
"""Forms of one registration that are kept, the newest: one that changes without end is in all of them."""


@dataclass(frozen=True, slots=True)
class _Move:
    number: int
    at: float
    form: Registration


class RecentMoves:
    """Recent changes of registrations, numbered from 1. Times are seconds of one steady clock."""

    def __init__(self, catch_up: float) -> None:
        """catch_up: seconds after a change until a node's word counts as one that knows of it."""
        self.number = 0
        """Number of the newest change."""
        self.forgotten = 0
        """Number of the newest change that is forgotten, with all before it."""
        self._catch_up = catch_up
        self._young: deque[tuple[float, int]] = deque()
        self._caught_up = 0
        self._moves: dict[NodeId, dict[object, _Move]] = {}

    def add(self, forms: Iterable[Registration], now: float) -> None:
        """Take in one change: every form, old and new, of the registrations in it."""
        self.number += 1
        self._young.append((now + self._catch_up, self.number))
        for form in forms:
            of_node = self._moves.setdefault(form.node, {})
            values = moving_values(form)
            of_node.pop(values, None)
            of_node[values] = _Move(self.number, now, form)
            if len(of_node) > MOST_FORMS:
                del of_node[next(iter(of_node))]

    def caught_up(self, now: float) -> int:
        """Return the number of the newest change that a word which comes now knows of."""
        while self._young and self._young[0][0] <= now:
            self._caught_up = self._young.popleft()[1]
        return self._caught_up

    def forget(self, up_to: int, before: float) -> None:
        """Forget changes up to that number, and what was there before that time."""
        while self._young and self._young[0][1] <= up_to:
            self._caught_up = self._young.popleft()[1]
        for node in list(self._moves):
            moves = self._moves[node]
            for values in [key for key, move in moves.items() if move.number <= up_to or move.at < before]:
                del moves[values]
            if not moves:
                del self._moves[node]
        # Numbers are counted from the oldest that is left.
        left = [move.number for moves in self._moves.values() for move in moves.values()]
        self.forgotten = min(left) - 1 if left else self.number

    @property
    def rounds(self) -> int:
        """Number of changes since the newest forgotten one."""
        return self.number - self.forgotten

    def moved(self) -> tuple[MovedRegistration, ...]:
        """List the changes, each as a round of its own, in order."""
        moves = sorted(
            (move for of_node in self._moves.values() for move in of_node.values()),
            key=lambda move: (move.number, move.form.node),
        )
        return tuple(MovedRegistration(move.form, move.number - self.forgotten) for move in moves)

    def round_of(self, heard: int) -> int:
        """Return the round in which a node was last looked at, whose last word knew of the changes up to `heard`."""
        return 1 + max(0, heard - self.forgotten)


_LOOKS: dict[int, Looks] = {}


def looks_at(last: int) -> Looks:
    """Make the looks at a node that was last looked at in this round; equal ones are one value."""
    if len(_LOOKS) > 1024:
        _LOOKS.clear()
    return _LOOKS.setdefault(last, Looks(0, 0, last))
