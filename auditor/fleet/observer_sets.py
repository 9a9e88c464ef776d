"""Sets of observers as numbers, a bit for each, so that thousands are counted and told apart in one step."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import nsmallest
from itertools import compress
from operator import attrgetter
from typing import TypeVar

from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import NodeId, Observation

T = TypeVar("T")

SAMPLE = 3
"""Number of observers in a sample."""
_FEW = 64
"""So many members are listed one by one."""
_TO_DIGITS = bytes.maketrans(b"\0\1", b"01")
_FROM_DIGITS = bytes.maketrans(b"01", b"\0\1")


class Observers:
    """All observers, those of one table side by side, tables in the order of their digests.

    A set of them is an int: bit n stands for the n-th observer.
    """

    def __init__(self, observers: Sequence[Observation], region_of: Callable[[NodeId], str]) -> None:
        """`observers`: in the order of their nodes."""
        by_table: dict[str, list[int]] = defaultdict(list)
        for number, item in enumerate(observers):
            by_table[item.table].append(number)
        self._region_of = region_of
        self._order: list[Observation] = []
        self._by_node = [0] * len(observers)
        """Places in order of nodes."""
        self._spans: list[tuple[int, int]] = []
        """By number of a table: place of its first holder, and number of holders."""
        self.tables: Sequence[str] = sorted(by_table)
        """Digests of the distinct tables, in order."""
        for digest in self.tables:
            numbers = by_table[digest]
            self._spans.append((len(self._order), len(numbers)))
            for number in numbers:
                self._by_node[number] = len(self._order)
                self._order.append(observers[number])
        self.everyone = (1 << len(self._order)) - 1

    def __len__(self) -> int:
        return len(self._order)

    # -- sets

    def holders(self, tables: Sequence[int]) -> int:
        """Return the holders of the tables with these numbers, in the order of digests."""
        if len(tables) < _FEW:
            found = 0
            for number in tables:
                start, length = self._spans[number]
                found |= ((1 << length) - 1) << start
            return found
        places = bytearray(len(self._order))
        for number in tables:
            start, length = self._spans[number]
            if length == 1:
                places[start] = 1
            else:
                places[start : start + length] = b"\1" * length
        places.reverse()
        return int(places.translate(_TO_DIGITS), 2)

    def number(self, digest: str) -> int:
        """Return the number of a table that an observer holds, by its digest."""
        return bisect_left(self.tables, digest)

    def own(self, key: PublicKey) -> int:
        """Return the observers whose own device has the key."""
        return _set_of(self._own.get(key, ()))

    def at(self, prefix: Prefix) -> int:
        """Return the observers whose own device has the prefix."""
        return _set_of(self._at.get(prefix, ()))

    def named(self, node: NodeId) -> int:
        """Return the observer of this name; 0 if it is none."""
        return _set_of(self._named.get(node, ()))

    # -- members

    def members(self, of: int) -> Iterator[Observation]:
        """List the members of a set in the order of their places: by digest of their table, then by node."""
        if of.bit_count() < _FEW:
            return map(self._order.__getitem__, _places(of))
        return compress(self._order, format(of, "b").encode()[::-1].translate(_FROM_DIGITS))

    def sample(self, of: int) -> list[NodeId]:
        """Name the first few members, in the order of their places."""
        names: list[NodeId] = []
        for place in _places(of):
            names.append(self._order[place].node)
            if len(names) == SAMPLE:
                break
        return names

    def first_by_name(self, of: int, number: int) -> tuple[NodeId, ...]:
        """Name the first members in the order of their nodes, without listing many."""
        if of.bit_count() < max(_FEW, number):
            return tuple(nsmallest(number, (item.node for item in self.members(of))))
        bits, names = of.to_bytes(len(self._order) // 8 + 1, "little"), []
        for place in self._by_node:
            if bits[place >> 3] >> (place & 7) & 1:
                names.append(self._order[place].node)
                if len(names) == number:
                    break
        return tuple(names)

    def regions(self, of: int) -> dict[str, int]:
        """Count the members by region; regions without any are left out."""
        counted = ((region, (of & there).bit_count()) for region, there in self._by_region)
        return {region: number for region, number in counted if number}

    @cached_property
    def _by_region(self) -> Sequence[tuple[str, int]]:
        places: dict[str, bytearray] = {}
        for place, item in enumerate(self._order):
            region = self._region_of(item.node)
            there = places.get(region)
            if there is None:
                there = places[region] = bytearray(len(self._order))
            there[place] = 1
        return [
            (region, int(there[::-1].translate(_TO_DIGITS), 2)) for region, there in sorted(places.items())
        ]

    @cached_property
    def _own(self) -> Mapping[PublicKey, tuple[int, ...]]:
        return _index((item.device.public_key, place) for place, item in enumerate(self._order))

    @cached_property
    def _at(self) -> Mapping[Prefix, tuple[int, ...]]:
        return _index(
            (prefix, place) for place, item in enumerate(self._order) for prefix in item.device.addresses
        )

    @cached_property
    def _named(self) -> Mapping[NodeId, tuple[int, ...]]:
        return _index((item.node, place) for place, item in enumerate(self._order))


class ObserverGroup:
    """Observers that show something, counted and sampled without listing them.

    A list of observers for each missing or surplus peer would be observers × peers in a bad incident.
    """

    __slots__ = ("_all", "_members")

    def __init__(self, everybody: Observers, members: int) -> None:
        self._all = everybody
        self._members = members

    def __len__(self) -> int:
        return self._members.bit_count()

    def __iter__(self) -> Iterator[Observation]:
        """Iterate over the observers in order of their nodes."""
        return iter(sorted(self._all.members(self._members), key=attrgetter("node")))

    def nodes(self) -> tuple[NodeId, ...]:
        """Name the observers, in order."""
        return tuple(item.node for item in self)

    def first(self, number: int = SAMPLE) -> tuple[NodeId, ...]:
        """Return the first observers, without sorting them all."""
        return self._all.first_by_name(self._members, number)


def _index(places: Iterable[tuple[T, int]]) -> Mapping[T, tuple[int, ...]]:
    found: dict[T, tuple[int, ...]] = {}
    for value, place in places:
        found[value] = (*found[value], place) if value in found else (place,)
    return found


def _set_of(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found


def _places(of: int) -> Iterator[int]:
    while of:
        lowest = of & -of
        yield lowest.bit_length() - 1
        of ^= lowest
