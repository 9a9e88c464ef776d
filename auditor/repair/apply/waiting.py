"""PURE: the wait for observers as counts, and the line that shows it while it lasts."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.repair.apply.observers import PeerLook
from auditor.repair.moves import Keeper, Move
from auditor.values.addresses import format_prefix


@dataclass(frozen=True, slots=True)
class PeerWait:
    """One look at the observers of a move that do not all route as it wants yet."""

    move: Move
    keeper: Keeper
    look: PeerLook
    waited: float
    """Seconds since the wait began."""
    limit: float
    """Seconds after which it is given up."""
    itself: bool = False
    """The node that moved is looked at, and nobody else."""

    @property
    def counts(self) -> str:
        """Return `observers: 31 of 37 route 10.0.0.9 to edge-sin-2, 4 the old, 2 not seen`."""
        return self.forms[0]

    @property
    def forms(self) -> tuple[str, ...]:
        """Return the counts in words, the longest form first: the counts themselves are the last to go."""
        move, look = self.move, self.look
        old = format_prefix(move.old)
        keeper = self.keeper.node
        if self.itself:
            whom = f"to {keeper.name}" if keeper is not None else "no longer to itself"
            waits = "not seen yet" if look.unseen else f"does not route {old} {whom} yet"
            return (f"{move.node.name} {waits}",)
        share = f"{look.new_right:,} of {look.asked + len(look.unseen):,} route {format_prefix(move.new)}"
        rest = ""
        neither = look.asked - look.new_right - look.still_old
        half = len(look.wrong) - (look.asked - look.new_right)
        whose = f"{old} to {keeper.name}" if keeper is not None else f"{old} to nobody"
        for number, words in (
            (look.still_old, "the old"),
            (neither, "neither"),
            (half, f"not {whose}"),
            (len(look.unseen), "not seen"),
        ):
            if number > 0:
                rest += f", {number:,} {words}"
        named = f"{share} to {move.node.name}{rest}"
        return (f"observers: {named}", named, f"{share}{rest}")

    @property
    def time(self) -> str:
        """Return `12 s of 120 s`."""
        return f"{self.waited:.0f} s of {self.limit:g} s"
