"""PURE: how late the messages of a stream are, told by two steady clocks that nobody has set alike."""

from __future__ import annotations

REMEMBERED = 600.0
"""Seconds for which the quickest message counts, at least: clocks drift by less than a tenth of a second meanwhile."""


class Promptness:
    """Lateness of the messages of one stream: by how much longer each was under way than the quickest one lately.

    For how long that one was under way is not known; on a way that works it is less than a second.
    """

    def __init__(self) -> None:
        self._quickest: float | None = None
        self._before: float | None = None
        self._since = 0.0

    def late(self, said_at: float, arrived_at: float) -> float:
        """Take in a message, and return the seconds by which it is late.

        said_at: seconds of the other side's clock. arrived_at: seconds of the clock here.
        """
        took = arrived_at - said_at
        if self._quickest is None or arrived_at - self._since > REMEMBERED:
            self._before, self._quickest, self._since = self._quickest, took, arrived_at
        self._quickest = min(self._quickest, took)
        return took - (self._quickest if self._before is None else min(self._quickest, self._before))
