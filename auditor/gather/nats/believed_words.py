"""PURE: what is believed of a stream of words about followed nodes, of which messages get lost, come twice or late.

A beat says that a node shows what it last showed. It is believed only where that state came: not after a message that
is missing, in which there may have been a newer one, until the collector has said all states once more; and not where
it came so late that what happened meanwhile would count as seen by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum, auto

from auditor.errors import ProbeError
from auditor.gather.collector import Heard, Seen, gap_of
from auditor.values.models import NodeId

ASK_EACH = 10.0
"""Seconds after which it is asked once more for all states, where they have not come yet."""
ASK_PAUSE = 1.0
"""Seconds between two such questions, at least, and twice as many after each that was not answered whole: where much
gets lost, or cannot be read, more questions do not help."""
LONGEST_ASK_PAUSE = 300.0


class Arrival(Enum):
    """How a message stands to those that came before it."""

    NEXT = auto()
    AFTER_LOSS = auto()
    """Messages before it are missing."""
    KNOWN = auto()
    """It came already, or others came before it: it is left out."""


class BelievedWords:
    """What was told of the nodes of one region, and what of a stream is to be told next. Times are of one clock."""

    def __init__(self) -> None:
        self._nodes: dict[NodeId, _BelievedNode] = {}
        self._last = 0
        self._missing = False
        """Not every state is known to be the newest one: all of them are to be said once more."""
        self._question = 0
        self._asked_at = -ASK_EACH
        self._unanswered = 0
        """Questions since the last one that was answered whole."""
        self._answerable = False
        """True: the answer to the last question makes it whole."""
        self.lost = 0
        """Times that messages of these streams were missing."""

    # -- nodes

    def take_on(self, nodes: Iterable[NodeId]) -> None:
        """Begin to take words of these nodes, too."""
        for node in nodes:
            self._nodes.setdefault(node, _BelievedNode())

    def let_go(self, nodes: Iterable[NodeId]) -> None:
        """Take no more words of these nodes."""
        for node in nodes:
            self._nodes.pop(node, None)

    @property
    def nodes(self) -> Collection[NodeId]:
        """Nodes whose words are taken."""
        return self._nodes.keys()

    # -- messages

    def begin(self) -> None:
        """Begin with the first message of another stream: of each node its state comes before a beat."""
        self._last, self._missing, self._answerable = 0, False, False
        self._doubt_all()
        for node in self._nodes.values():
            node.coming = False

    def arrived(self, number: int) -> Arrival:
        """Take in that the message of this number has come."""
        if number <= self._last:
            return Arrival.KNOWN
        before, self._last = self._last, number
        if number == before + 1:
            return Arrival.NEXT
        self.lost += 1
        self._doubt_all()
        self.ask()
        return Arrival.AFTER_LOSS

    @property
    def last(self) -> int:
        """Number of the newest message that has come."""
        return self._last

    def question(self, now: float) -> int | None:
        """Return the number of the question for all states that is to be asked now; None: none is."""
        pause = min(LONGEST_ASK_PAUSE, ASK_PAUSE * 2.0 ** min(self._unanswered, 10))
        if self._answerable:
            pause = max(pause, ASK_EACH)
        if not self._missing or now - self._asked_at < pause:
            return None
        self._answerable = True
        self._asked_at = now
        self._question += 1
        self._unanswered += 1
        return self._question

    def whole(self, question: int) -> None:
        """Take in that all states were said since this question was asked."""
        if self._missing and self._answerable and question == self._question:
            self._missing, self._unanswered = False, 0
            for node in self._nodes.values():
                node.doubted = node.doubted and node.gap_made_here

    def ask_for_missing(self) -> None:
        """Have all states asked for, if there are nodes that are not seen for want of theirs."""
        if any(node.gap_made_here for node in self._nodes.values()):
            self.ask()

    def coming(self, node: NodeId) -> None:
        """Take in that a newer state of a node is there, which cannot be told yet: no beat is for the old one now."""
        if (known := self._nodes.get(node)) is not None:
            known.coming = True

    def ask(self) -> None:
        """Have all states asked for."""
        self._missing, self._answerable = True, False

    # -- words

    def state(
        self, node: NodeId, seen: Seen, now: float, *, followed: bool, again: bool = False, late: bool = False
    ) -> Heard | None:
        """Take in a node's state. Returns what is to be told; None: nothing is.

        again: it was said before. late: it says what was so some time ago.
        """
        known = self._nodes.get(node)
        if known is None:
            return None
        known.doubted = known.coming = False
        if (again or late) and known.newest == seen:
            return None  # it is no newer word, and confirms nothing
        known.newest, known.gap_made_here, known.heard_at = seen, False, now
        return Heard(node, seen, followed)

    def beat(self, node: NodeId, now: float, *, followed: bool, late: bool = False) -> Heard | None:
        """Take in that a node shows what it showed. Returns what is to be told; None: it is not believed."""
        known = self._nodes.get(node)
        if known is None or known.doubted or known.coming or known.newest is None or late:
            return None
        known.heard_at = now
        return Heard(node, None, followed)

    # -- what does not come

    def silent(self, now: float, seconds: float, error: ProbeError) -> list[Heard]:
        """List the gaps of nodes that were heard of, and of which no word was believed for so many seconds."""
        return [
            self._gap(node, known, error)
            for node, known in self._nodes.items()
            if known.newest is not None and not known.gap_made_here and now - known.heard_at > seconds
        ]

    def unseen(self, node: NodeId, error: ProbeError) -> Heard | None:
        """Make the gap of one node, of which a state was said that cannot be had. None: it is told already."""
        known = self._nodes.get(node)
        if known is None or (known.gap_made_here and known.reason is error.reason):
            return None
        return self._gap(node, known, error)

    def all_lost(self, error: ProbeError) -> list[Heard]:
        """List the gaps of all nodes: none of them is heard of any more. Those that have this reason are left out."""
        return [
            self._gap(node, known, error)
            for node, known in self._nodes.items()
            if not known.gap_made_here or known.reason is not error.reason
        ]

    def _gap(self, node: NodeId, known: _BelievedNode, error: ProbeError) -> Heard:
        gap = gap_of(node, error)
        known.newest, known.gap_made_here, known.reason, known.doubted = gap, True, error.reason, True
        known.coming = False
        return Heard(node, gap)

    def _doubt_all(self) -> None:
        for node in self._nodes.values():
            node.doubted = True


class _BelievedNode:
    __slots__ = ("coming", "doubted", "gap_made_here", "heard_at", "newest", "reason")

    def __init__(self) -> None:
        self.newest: Seen | None = None
        """What was told last."""
        self.gap_made_here = False
        """True: that is a gap that no collector has said."""
        self.reason: object = None
        self.heard_at = 0.0
        self.doubted = True
        """True: there may be a newer state than the one that was told."""
        self.coming = False
        """True: there is one, and it cannot be told yet."""
