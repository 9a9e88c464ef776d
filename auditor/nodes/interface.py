"""Protocol of a node source."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable, Iterable
from typing import Protocol

from auditor.errors import GapReason, ProbeError
from auditor.nodes.table_store import TableStore
from auditor.values.meetings import PeersMet
from auditor.values.models import Observation, Registration


class NodeSource(Protocol):
    """Looks at single nodes. One implementation speaks SSH."""

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Take the whole registry, before any node is asked: no node is reached by one of its mesh addresses."""
        ...

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Look at one node once. Raises `ProbeError` with its `GapReason`; bounded in time and size."""
        ...


class FollowedNodes(NodeSource, Protocol):
    """Node source that can also keep one session open, in which the node looks at itself and speaks when it changed."""

    def way(self, registration: Registration) -> Hashable:
        """Tell by what way a node is reached. If another registration gives another one, follow the node anew."""
        ...

    def silence(self, interval: float) -> float:
        """Return the seconds without a word after which a node that looks each `interval` seconds is silent."""
        ...

    def follow(
        self, registration: Registration, tables: TableStore, interval: float
    ) -> AsyncGenerator[Observation | ProbeError | None, None]:
        """Follow one node: its state at first and whenever it changed; None is a beat: it shows what it showed.

        An error is a state, too: the node says why it cannot be read, and goes on looking.

        interval: seconds between two looks of the node at its own device. After each changed state the node looks
        once more within a second and speaks, so that a state which holds is followed by a beat at once; else a beat
        comes each 30 s. Raises `ProbeError` where it cannot go on: `cannot-follow` where the node's installed probe is
        too old, `silent` after three beats that did not come. Ends by itself after some hours, for the node's script
        has a bound: follow it anew. Closing the stream ends what runs on the node.
        """
        ...

    async def meet(self, registration: Registration) -> PeersMet:
        """Ask a node that is followed where it meets its peers, on its open session. Raises `ProbeError`.

        `cannot-follow`: there is no such session, or its server runs one command at a time.
        """
        ...


def unforeseen(error: Exception) -> ProbeError:
    """Convert an unforeseen error to one that becomes a gap with a place, and ends no sweep."""
    return ProbeError(GapReason.INTERNAL, f"{type(error).__name__}; run with --verbose for more")
