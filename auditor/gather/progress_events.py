"""Progress events of a sweep: the protocol of an observer, and one that drops them."""

from __future__ import annotations

from typing import Protocol


class SweepObserver(Protocol):
    """Receives progress events of a sweep."""

    def phase(self, name: str) -> None:
        """Begin a new part of the sweep."""

    def registered(self, count: int) -> None:
        """Announce the number of nodes that this phase asks."""

    def node_done(self, seen: bool) -> None:
        """Count one more node that answered (`seen`) or became a gap."""


class Unwatched:
    """Drops progress events."""

    def phase(self, name: str) -> None:
        """Do nothing."""

    def registered(self, count: int) -> None:
        """Do nothing."""

    def node_done(self, seen: bool) -> None:
        """Do nothing."""
