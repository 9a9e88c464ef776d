"""PURE: times at which what changed in the registry is read once more."""

from __future__ import annotations

from collections.abc import Iterable

AFTER = 1.0
"""Seconds without a further change after which a change is read once more: by then it is written whole."""
WITHIN = 5.0
"""Seconds after the first change within which that is done, however many more follow."""
AGAIN = (0.5, 30.0)
"""Seconds before it is tried again where that confirmed nothing: at first, and at most."""


class Confirmations:
    """Times of confirmations, by datacenter. Seconds of one steady clock."""

    def __init__(self) -> None:
        self._changed: dict[str, tuple[float, float]] = {}
        """When the first and the last of the changes came that are to be read once more."""
        self._urgent: set[str] = set()
        self._failed: dict[str, tuple[float, float]] = {}
        """When it is tried again, and the pause after that."""

    def changed(self, datacenter: str, now: float) -> None:
        """Note a change."""
        first, _ = self._changed.get(datacenter, (now, now))
        self._changed[datacenter] = first, now

    def hurry(self, datacenters: Iterable[str]) -> None:
        """Have these read at once."""
        self._urgent.update(datacenters)

    def due(self, datacenter: str, now: float) -> float:
        """Return the time at which a datacenter with changes is read once more."""
        first, last = self._changed.setdefault(datacenter, (now, now))
        at = now if datacenter in self._urgent else min(last + AFTER, first + WITHIN)
        again, _ = self._failed.get(datacenter, (at, 0.0))
        return max(at, again)

    def begin(self, datacenter: str) -> None:
        """Begin to read; what changes from now on is another change."""
        self._changed.pop(datacenter, None)

    def end(self, datacenter: str, now: float, *, confirmed: bool) -> None:
        """Note the outcome. confirmed: something was."""
        if confirmed:
            self._failed.pop(datacenter, None)
            self._urgent.discard(datacenter)
            return
        least, most = AGAIN
        _, pause = self._failed.get(datacenter, (0.0, least))
        self._failed[datacenter] = now + pause, min(2 * pause, most)
