"""PURE: keys that observers met at outer hosts, as a watch asks some of them each round, and who is asked when.

A node that moved was at one host and then at another. A key that is at two places goes on to be met at both: at each
there is a handshake that is newer than the time when both were known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from auditor.fleet.met_hosts import met_freshly
from auditor.gather.local import spread
from auditor.values.addresses import PublicKey
from auditor.values.meetings import PeersMet
from auditor.values.models import Meeting, NodeId

LINES = 40_000
"""Peers of all observers together that are asked for in one turn, about."""
FEWEST, MOST = 4, 32
"""Observers that are asked in one turn, where there are as many."""
FORGOTTEN = 600.0
"""Seconds without a handshake at a host, after which a key is not there any more."""
MOST_HOSTS, MOST_OBSERVERS = 8, 8
"""Hosts of one key, and observers of each of these, that are remembered: the newest."""


def observers_of_turn(nodes: Iterable[NodeId], turn: int) -> tuple[NodeId, ...]:
    """Choose the observers that are asked in a turn: few in a large fleet, other ones each time, all in turn."""
    ordered = sorted(nodes, key=lambda node: (spread(node), node))
    if not ordered:
        return ()
    number = min(len(ordered), max(FEWEST, min(MOST, LINES // len(ordered))))
    start = turn * number % len(ordered)
    return tuple(ordered[(start + place) % len(ordered)] for place in range(number))


@dataclass(slots=True, eq=False)
class _Spot:
    """Host at which a key was met."""

    first: float
    """When the watch first knew of it."""
    handshake: float
    """Time of the newest handshake there."""
    observers: dict[NodeId, float] = field(default_factory=dict)
    """Time of the newest handshake of each."""

    def met(self, observer: NodeId, handshake: float) -> None:
        """Take in a meeting there."""
        self.handshake = max(self.handshake, handshake)
        known = self.observers.get(observer)
        self.observers[observer] = handshake if known is None else max(known, handshake)
        if len(self.observers) > MOST_OBSERVERS:
            del self.observers[min(self.observers, key=lambda node: (self.observers[node], node))]


class MetKeys:
    """Keys of one fleet, each with the hosts at which it was met. Times are seconds of one steady clock."""

    def __init__(self) -> None:
        self._met: dict[PublicKey, dict[str, _Spot]] = {}

    def take(
        self, met: Sequence[PeersMet], registered: Callable[[PublicKey], Collection[str]], now: float
    ) -> None:
        """Take in the answers of one turn. Without any, nothing is forgotten: nobody looked.

        registered: the outer hosts that the registrations of a key name.
        """
        for one in met:
            for key, host in met_freshly(one.endpoints.items(), one.handshake_ages, registered):
                handshake = now - one.handshake_ages[key]
                spots = self._met.setdefault(key, {})
                spot = spots.get(host)
                if spot is None:
                    spot = spots[host] = _Spot(now, handshake)
                spot.met(one.observer, handshake)
                if len(spots) > MOST_HOSTS:
                    del spots[min(spots, key=lambda host: (spots[host].handshake, host))]
        if met:
            self._forget(now - FORGOTTEN)

    def _forget(self, before: float) -> None:
        for key, spots in list(self._met.items()):
            for host, spot in list(spots.items()):
                if spot.handshake < before:
                    del spots[host]
            if not spots:
                del self._met[key]

    def meetings(self) -> tuple[Meeting, ...]:
        """List the meetings of keys at hosts at which they are at once."""
        return tuple(
            Meeting(key, host, observer)
            for key, spots in sorted(self._met.items())
            if len(spots) > 1
            for host in sorted(_at_once(spots))
            for observer in sorted(spots[host].observers)
        )


def _at_once(spots: Mapping[str, _Spot]) -> frozenset[str]:
    """Name the hosts of which some two had handshakes since both were known."""
    found: set[str] = set()
    for one, there in spots.items():
        for other, elsewhere in spots.items():
            known = max(there.first, elsewhere.first)
            if one < other and min(there.handshake, elsewhere.handshake) > known:
                found |= {one, other}
    return frozenset(found)
