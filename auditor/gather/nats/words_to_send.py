"""PURE: words of followed nodes that a collector is still to send, few however slowly they are taken."""

from __future__ import annotations

from typing import NamedTuple

from auditor.gather.collector import Heard, Seen
from auditor.values.models import NodeId, Observation


class StateToSend(NamedTuple):
    """State of one node, as it is sent."""

    node: NodeId
    seen: Seen
    followed: bool
    again: bool
    """True: it was sent before, and is said once more because that was asked for."""


class BeatToSend(NamedTuple):
    """Beat of one node, as it is sent."""

    node: NodeId
    followed: bool


class WordsToSend:
    """Words of nodes that are not sent yet: of each its newest state, and whether it was confirmed since.

    It also holds each node's newest state, so that all of them can be said once more. Times are of one clock.
    """

    def __init__(self) -> None:
        self._states: dict[NodeId, tuple[StateToSend, float]] = {}
        self._beats: dict[NodeId, tuple[BeatToSend, float]] = {}
        self._held: dict[NodeId, Heard] = {}

    def hear(self, word: Heard, now: float) -> None:
        """Take in a word."""
        if word.seen is None:
            self._beats[word.node] = BeatToSend(word.node, word.followed), now
            return
        self._beats.pop(word.node, None)
        self._states.pop(word.node, None)  # it comes last among those that wait
        self._states[word.node] = StateToSend(word.node, word.seen, word.followed, again=False), now
        self._held[word.node] = word

    def forget(self, node: NodeId) -> None:
        """Say nothing of a node any more."""
        for held in (self._states, self._beats, self._held):
            held.pop(node, None)

    def everything_again(self, now: float) -> None:
        """Have the newest state of each node sent once more, after what waits already."""
        for node, word in self._held.items():
            if node not in self._states and word.seen is not None:
                self._states[node] = StateToSend(node, word.seen, word.followed, again=True), now

    @property
    def states(self) -> int:
        """Number of states that wait."""
        return len(self._states)

    @property
    def beats(self) -> int:
        """Number of beats that wait."""
        return len(self._beats)

    def take_states(self, most: int) -> tuple[tuple[StateToSend, ...], float]:
        """Take so many states, the longest waiting first, and the time when the first of them was heard."""
        nodes = [node for node, _ in zip(self._states, range(most), strict=False)]
        taken = [self._states.pop(node) for node in nodes]
        return tuple(state for state, _ in taken), min((at for _, at in taken), default=0.0)

    def take_beats(self, most: int) -> tuple[tuple[BeatToSend, ...], float]:
        """Take so many beats of nodes of which no state waits, and the time when the first of them was heard."""
        ready = (node for node in self._beats if node not in self._states)
        nodes = [node for node, _ in zip(ready, range(most), strict=False)]
        taken = [self._beats.pop(node) for node in nodes]
        return tuple(beat for beat, _ in taken), min((at for _, at in taken), default=0.0)

    def tables_in_use(self) -> frozenset[str]:
        """List the digests of tables that nodes show."""
        return frozenset(
            word.seen.table for word in self._held.values() if isinstance(word.seen, Observation)
        )
