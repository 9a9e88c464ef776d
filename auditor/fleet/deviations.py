"""Deviations of route tables from the one that follows from the registry, by set difference.

Every node of a healthy full mesh holds the same table text, so a table is compared once however many
observers hold it, and single lines are looked at only where they differ from the expected ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from auditor.values.addresses import Prefix, PublicKey, is_default_route, is_host
from auditor.values.models import Observation, RouteTable

NO_PREFIX = "(none)"

_NO_KEYS: frozenset[PublicKey] = frozenset()
_ENDS_OF_HOSTS = ("/32", "/128")


@dataclass(frozen=True, slots=True)
class Deviation:
    """Difference of one distinct table from the expected one, and the observers that hold it."""

    digest: str
    holders: tuple[Observation, ...]
    missing: Mapping[Prefix, frozenset[PublicKey]]
    """Expected, not there: by prefix, the keys that should have it."""
    extra: Mapping[Prefix, frozenset[PublicKey]]
    """There, not expected: by prefix, the keys that have it. Keys in flight are left out, and so are open ones
    where nobody else is expected to have the prefix."""
    passing: Mapping[Prefix, frozenset[PublicKey]]
    """By prefix, the keys in flight, open keys, and of routes all keys, that have it: where traffic goes, but no
    deviation."""
    absent_keys: frozenset[PublicKey]
    """Expected keys that have no line at all: no such peer on the device (and not the device itself)."""
    idle_keys: frozenset[PublicKey]
    """Peers that show `(none)`."""
    extra_keys: frozenset[PublicKey]
    """Keys with a line that was not expected, `(none)` included."""


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
        self._compared: dict[str, Deviation] = {}

    @property
    def keys(self) -> int:
        """Number of peers and devices expected in every table."""
        return len(self._lines_of_key)

    def lists(self, key: PublicKey) -> bool:
        """Tell whether the key is expected in every table."""
        return key in self._lines_of_key

    def deviation(self, digest: str, table: RouteTable, holders: tuple[Observation, ...]) -> Deviation:
        """Compare the table of this digest; return its deviation with its holders."""
        known = self._compared.get(digest)
        if known is None:
            known = self._compared[digest] = self._compare(digest, table)
        return replace(known, holders=holders)

    def _compare(self, digest: str, table: RouteTable) -> Deviation:
        lines = set(table.lines())
        surplus = lines - self._lines
        lacking: Iterable[bytes] = ()
        if len(lines) - len(surplus) != len(self._lines):
            lacking = self._lines - lines
        missing, missing_count, _ = _by_prefix(lacking)
        passing_lines = {line for line in surplus if self._passes(line)}
        passing, passing_count, _ = _by_prefix(passing_lines)
        extra, extra_count, idle = _by_prefix(surplus - passing_lines)
        extra_keys = idle | extra_count.keys()
        extra_keys |= passing_count.keys() - self._lines_of_key.keys() - self._ignored
        absent = frozenset(
            key
            for key in missing_count.keys() | self._without_lines
            if missing_count[key] == self._lines_of_key[key]
            and key not in extra_keys
            and key not in passing_count
        )
        return Deviation(digest, (), missing, extra, passing, absent, idle, frozenset(extra_keys))

    def _passes(self, line: bytes) -> bool:
        """Tell whether an unexpected line is allowed all the same."""
        key_text, _, prefix = line.decode().partition("\t")
        key = PublicKey(key_text)
        if not prefix.endswith(_ENDS_OF_HOSTS) and prefix != NO_PREFIX and self.is_route(Prefix(prefix)):
            return True
        # What an open key takes from another is that one's loss, whatever its registration may say.
        return key in self._ignored or (
            key in self._open and prefix != NO_PREFIX and Prefix(prefix) not in self.by_prefix
        )


def _by_prefix(
    lines: Iterable[bytes],
) -> tuple[dict[Prefix, frozenset[PublicKey]], Counter[PublicKey], frozenset[PublicKey]]:
    """Index a table: keys by prefix, number of prefixes by key, and the keys that show `(none)`."""
    by_prefix: dict[Prefix, set[PublicKey]] = defaultdict(set)
    counts: Counter[PublicKey] = Counter()
    idle: set[PublicKey] = set()
    for line in lines:
        key_text, _, prefix_text = line.decode().partition("\t")
        key = PublicKey(key_text)
        if prefix_text == NO_PREFIX:
            idle.add(key)
        else:
            by_prefix[Prefix(prefix_text)].add(key)
            counts[key] += 1
    return {prefix: frozenset(keys) for prefix, keys in by_prefix.items()}, counts, frozenset(idle)
