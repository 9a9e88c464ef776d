"""Deviations of route tables from the one that follows from the registry, by set difference.

Every node of a healthy full mesh holds the same table text, so a table is compared once however many
observers hold it, and single lines are looked at only where they differ from the expected ones: each such line
once, however many tables show it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import and_
from typing import NamedTuple

from auditor.fleet.observer_sets import Observers
from auditor.values.addresses import Prefix, PublicKey, is_default_route, is_host
from auditor.values.route_table import RouteTable

NO_PREFIX = "(none)"

_NO_KEYS: frozenset[PublicKey] = frozenset()
_ENDS_OF_HOSTS = ("/32", "/128")
_ByPrefix = dict[Prefix, dict[PublicKey, int]]


@dataclass(frozen=True, slots=True)
class Deviations:
    """Differences of all tables from the expected one, line by line, each with the observers whose tables show it.

    Observers are sets of `Observers`. Tables by the thousand differ in a few lines only, so these are gone through,
    and not tables times lines.
    """

    missing: Mapping[Prefix, Mapping[PublicKey, int]]
    """Expected, not there: by prefix, the keys that should have it."""
    extra: Mapping[Prefix, Mapping[PublicKey, int]]
    """There, not expected: by prefix, the keys that have it. Keys in flight are left out, and so are open ones
    where nobody else is expected to have the prefix."""
    passing: Mapping[Prefix, Mapping[PublicKey, int]]
    """By prefix, the keys in flight, open keys, and of routes all keys, that have it: where traffic goes, but no
    deviation."""
    absent_keys: Mapping[PublicKey, int]
    """Expected keys that have no line at all: no such peer on the device (and not the device itself)."""
    idle_keys: Mapping[PublicKey, int]
    """Peers that show `(none)`."""
    extra_keys: Mapping[PublicKey, int]
    """Keys with a line that was not expected, `(none)` included."""

    @property
    def prefixes(self) -> frozenset[Prefix]:
        """Prefixes that some table holds otherwise than expected, or by a key that may have them."""
        return frozenset(self.missing.keys() | self.extra.keys() | self.passing.keys())


class Expected:
    """Expected table. Each distinct table is compared with it once."""

    def __init__(
        self,
        lines: Iterable[tuple[PublicKey, Prefix]],
        *,
        ignored_keys: frozenset[PublicKey],
        open_keys: frozenset[PublicKey] = _NO_KEYS,
        is_route: Callable[[Prefix], bool] = is_default_route,
    ) -> None:
        """`lines`: key and prefix of each registered line.

        `ignored_keys`: neither expected nor odd. `open_keys`: expected as peers, with prefixes beside those of
        `lines` that are not known. `is_route`: tells prefixes that no table must have, and any may (see
        `AddressPlan.is_route`).
        """
        by_prefix: dict[Prefix, frozenset[PublicKey]] = {}
        by_key: dict[PublicKey, int] = Counter()
        known: set[bytes] = set()
        routes: dict[Prefix, frozenset[PublicKey]] = {}
        for key, prefix in lines:
            if not is_host(prefix) and is_route(prefix):
                routes[prefix] = routes.get(prefix, _NO_KEYS) | {key}
                by_key.setdefault(key, 0)
                continue
            line = f"{key}\t{prefix}".encode()
            if line not in known:
                known.add(line)
                by_prefix[prefix] = by_prefix.get(prefix, _NO_KEYS) | {key}
                by_key[key] += 1
        self.by_prefix: Mapping[Prefix, frozenset[PublicKey]] = by_prefix
        self.routes: Mapping[Prefix, frozenset[PublicKey]] = routes
        """Registered routes, with the keys that they are registered for."""
        self._lines = known
        self._lines_of_key = by_key
        self._ignored = ignored_keys
        self._open = open_keys
        for key in open_keys:
            by_key.setdefault(key, 0)
        self._without_lines = frozenset(key for key, number in by_key.items() if not number)
        self.is_route = lru_cache(maxsize=1024)(is_route)
        self.texts_compared = 0
        """Texts that were compared line by line so far."""
        self._bases: dict[bytes, tuple[frozenset[bytes], frozenset[bytes]]] = {}
        """By text that tables are held as differences from: its lines that are not expected, and expected ones that it
        has not."""
        self._lines_read: dict[bytes, _Line] = {}

    @property
    def keys(self) -> int:
        """Number of peers and devices expected in every table."""
        return len(self._lines_of_key)

    def lists(self, key: PublicKey) -> bool:
        """Tell whether the key is expected in every table."""
        return key in self._lines_of_key

    def compare(self, tables: Mapping[str, RouteTable], observers: Observers) -> Deviations:
        """Compare the tables of all observers, by digest."""
        surplus, lacking = self._differences(tables, observers)
        missing: _ByPrefix = defaultdict(dict)
        extra: _ByPrefix = defaultdict(dict)
        passing: _ByPrefix = defaultdict(dict)
        idle: dict[PublicKey, int] = {}
        extra_keys: dict[PublicKey, int] = defaultdict(int)
        passing_keys: dict[PublicKey, int] = defaultdict(int)
        lacked: dict[PublicKey, list[int]] = defaultdict(list)
        for line, members in lacking.items():
            read = self._read(line)
            missing[Prefix(read.prefix)][read.key] = members
            lacked[read.key].append(members)
        for line, members in surplus.items():
            read = self._read(line)
            if read.prefix != NO_PREFIX:
                (passing if read.passes else extra)[Prefix(read.prefix)][read.key] = members
                (passing_keys if read.passes else extra_keys)[read.key] |= members
            elif not read.passes:
                idle[read.key] = members
                extra_keys[read.key] |= members
        for key, members in passing_keys.items():
            if key not in self._lines_of_key and key not in self._ignored:
                extra_keys[key] |= members
        absent: dict[PublicKey, int] = {}
        for key in lacked.keys() | self._without_lines:
            if len(lacked.get(key, ())) == self._lines_of_key[key]:
                there = extra_keys.get(key, 0) | passing_keys.get(key, 0)
                members = reduce(and_, lacked.get(key, ()), observers.everyone) & ~there
                if members:
                    absent[key] = members
        return Deviations(dict(missing), dict(extra), dict(passing), absent, idle, dict(extra_keys))

    def _differences(
        self, tables: Mapping[str, RouteTable], observers: Observers
    ) -> tuple[Mapping[bytes, int], Mapping[bytes, int]]:
        """List lines that are not expected, and expected ones, with the observers whose tables have, or lack, them.

        A base is compared once, however many tables are held as differences from it.
        """
        held: dict[bytes, list[int]] = defaultdict(list)
        without: dict[bytes, list[int]] = defaultdict(list)
        plus: dict[bytes, list[int]] = defaultdict(list)
        for number, digest in enumerate(observers.tables):
            table = tables[digest]
            held[table.base].append(number)
            for line in table.without:
                without[line].append(number)
            for line in table.plus:
                plus[line].append(number)
        surplus = {
            line: observers.holders(numbers) for line, numbers in plus.items() if line not in self._lines
        }
        lacking = {
            line: observers.holders(numbers) for line, numbers in without.items() if line in self._lines
        }
        for base, numbers in held.items():
            members = observers.holders(numbers)
            odd, absent = self._base(base)
            _add(
                surplus,
                odd,
                members,
                {line: observers.holders(without[line]) for line in odd & without.keys()},
            )
            _add(
                lacking,
                absent,
                members,
                {line: observers.holders(plus[line]) for line in absent & plus.keys()},
            )
        return surplus, lacking

    def _base(self, base: bytes) -> tuple[frozenset[bytes], frozenset[bytes]]:
        """List a base's lines that are not expected, and expected ones that it has not."""
        known = self._bases.get(base)
        if known is None:
            self.texts_compared += 1
            lines = frozenset(base.splitlines())
            odd = lines - self._lines
            complete = len(lines) - len(odd) == len(self._lines)
            known = self._bases[base] = odd, frozenset() if complete else frozenset(self._lines - lines)
        return known

    def _read(self, line: bytes) -> _Line:
        """Take a line apart, once however many tables have it."""
        read = self._lines_read.get(line)
        if read is None:
            key_text, _, prefix = line.decode().partition("\t")
            key = PublicKey(key_text)
            read = self._lines_read[line] = _Line(key, prefix, self._passes(key, prefix))
        return read

    def _passes(self, key: PublicKey, prefix: str) -> bool:
        """Tell whether an unexpected line is allowed all the same."""
        if not prefix.endswith(_ENDS_OF_HOSTS) and prefix != NO_PREFIX and self.is_route(Prefix(prefix)):
            return True
        # What an open key takes from another is that one's loss, whatever its registration may say.
        return key in self._ignored or (
            key in self._open and prefix != NO_PREFIX and Prefix(prefix) not in self.by_prefix
        )


class _Line(NamedTuple):
    """Line of a table."""

    key: PublicKey
    prefix: str
    passes: bool
    """Allowed although it is not expected."""


def _add(found: dict[bytes, int], lines: Iterable[bytes], members: int, but: Mapping[bytes, int]) -> None:
    """Add the members to those of each line, but those who differ from the others in it."""
    for line in lines:
        of_line = members & ~but[line] if line in but else members
        if of_line:
            found[line] = found[line] | of_line if line in found else of_line
