"""Who routes what where: route tables compared with the registry's, as values, by set difference.

Every node of a healthy full mesh holds the same table text, so a table is compared once however many
observers hold it, and single lines are looked at only where they differ from the expected ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

from auditor.addresses import Network, Prefix, PublicKey, is_host, network, order
from auditor.models import NodeId, Observation, Pick, RouteTable

NO_PREFIX = "(none)"
SAMPLE = 3
"""How many observers are named as a sample of those that show something."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """How one distinct table differs from the expected one, and who holds it."""

    digest: str
    holders: tuple[Observation, ...]
    missing: Mapping[Prefix, frozenset[PublicKey]]
    """Expected, not there: by prefix, the keys that should have it."""
    extra: Mapping[Prefix, frozenset[PublicKey]]
    """There, not expected: by prefix, the keys that have it. Keys in flight are left out."""
    passing: Mapping[Prefix, frozenset[PublicKey]]
    """By prefix, the keys in flight that have it: where traffic goes, but no deviation."""
    absent_keys: frozenset[PublicKey]
    """Expected keys that have no line at all: no such peer on the device (and not the device itself)."""
    idle_keys: frozenset[PublicKey]
    """Peers that show `(none)`."""
    extra_keys: frozenset[PublicKey]
    """Keys with a line that was not expected, `(none)` included."""


class Routes:
    """The observers' route tables against the expected one."""

    def __init__(
        self,
        *,
        expected: Iterable[tuple[PublicKey, Prefix]],
        tables: Mapping[str, RouteTable],
        observers: Sequence[Observation],
        ignored_keys: frozenset[PublicKey],
        region_of: Callable[[NodeId], str],
        node_of: Callable[[PublicKey], NodeId | None],
    ) -> None:
        self._region_of = region_of
        self._node_of = node_of
        by_prefix: dict[Prefix, set[PublicKey]] = defaultdict(set)
        by_key: dict[PublicKey, int] = Counter()
        lines: set[bytes] = set()
        for key, prefix in expected:
            line = f"{key}\t{prefix}".encode()
            if line not in lines:
                lines.add(line)
                by_prefix[prefix].add(key)
                by_key[key] += 1
        self.expected: Mapping[Prefix, frozenset[PublicKey]] = {
            prefix: frozenset(keys) for prefix, keys in by_prefix.items()
        }
        self._lines_of_key = by_key
        self._expected_lines = lines
        self._ignored = ignored_keys
        holders: dict[str, list[Observation]] = defaultdict(list)
        for observation in observers:
            holders[observation.table].append(observation)
        self._holders = {digest: tuple(group) for digest, group in holders.items()}
        self.observers = len(observers)
        self.deviations: tuple[Deviation, ...] = tuple(
            self._compare(tables[digest], digest, self._holders[digest]) for digest in sorted(self._holders)
        )

    @property
    def expected_keys(self) -> int:
        """How many peers and devices the registry expects in every table."""
        return len(self._lines_of_key)

    def _compare(self, table: RouteTable, digest: str, holders: tuple[Observation, ...]) -> Deviation:
        lines = set(table.lines())
        surplus = lines - self._expected_lines
        lacking: Iterable[bytes] = ()
        if len(lines) - len(surplus) != len(self._expected_lines):
            lacking = self._expected_lines - lines
        missing, missing_count, _ = _by_prefix(lacking)
        in_flight = {line for line in surplus if _key_of(line) in self._ignored} if self._ignored else set()
        passing, _, _ = _by_prefix(in_flight)
        extra, extra_count, idle = _by_prefix(surplus - in_flight)
        extra_keys = idle | extra_count.keys()
        absent = frozenset(
            key
            for key, count in missing_count.items()
            if count == self._lines_of_key[key] and key not in extra_keys
        )
        return Deviation(digest, holders, missing, extra, passing, absent, idle, frozenset(extra_keys))

    # -- where one prefix goes

    @cached_property
    def _touching(self) -> Mapping[Prefix, tuple[Deviation, ...]]:
        touching: dict[Prefix, list[Deviation]] = defaultdict(list)
        for deviation in self.deviations:
            for prefix in deviation.missing.keys() | deviation.extra.keys() | deviation.passing.keys():
                touching[prefix].append(deviation)
        return {prefix: tuple(group) for prefix, group in touching.items()}

    @cached_property
    def deviating_prefixes(self) -> tuple[Prefix, ...]:
        """Prefixes that at least one table holds otherwise than expected, in address order."""
        found: set[Prefix] = set()
        for deviation in self.deviations:
            found |= deviation.missing.keys() | deviation.extra.keys()
        return tuple(sorted(found, key=order))

    def keys_in(self, deviation: Deviation, prefix: Prefix) -> frozenset[PublicKey]:
        """The keys that have exactly this prefix in the table, the device's own line included."""
        none: frozenset[PublicKey] = frozenset()
        kept = self.expected.get(prefix, none) - deviation.missing.get(prefix, none)
        return kept | deviation.extra.get(prefix, none) | deviation.passing.get(prefix, none)

    def keys_anywhere(self, prefix: Prefix) -> frozenset[PublicKey]:
        """The keys that have exactly this prefix in the registry or in some table; none in flight."""
        keys = self.expected.get(prefix, frozenset())
        for deviation in self._touching.get(prefix, ()):
            keys |= deviation.extra.get(prefix, frozenset())
        return keys

    def is_covered(self, prefix: Prefix) -> bool:
        """Whether a wider prefix, in the registry or in some table, holds this one."""
        return bool(self._parents(prefix))

    def picks(self, prefix: Prefix) -> tuple[Pick, ...]:
        """Which key how many observers route the prefix to: most observers first, nobody last.

        The exact prefix counts, else the longest one that covers it. A device that holds the address
        itself, or that the prefix is registered behind, delivers it itself and is not counted.
        """
        tally: dict[PublicKey | None, _Tally] = defaultdict(_Tally)
        parents = self._parents(prefix)
        apart = self._apart(prefix, parents)
        special = {item.digest: item for wide in (prefix, *parents) for item in self._touching.get(wide, ())}
        rest = Counter(self._all_regions)
        rest.subtract(self._region_of(item.node) for item in apart.values() if item.table not in special)
        for digest in sorted(special):
            deviation = special[digest]
            held = Counter(self._regions_held[digest])
            rest.subtract(held)
            held.subtract(self._region_of(node) for node, item in apart.items() if item.table == digest)
            sample = _first(deviation.holders, apart)
            for target in self._targets(deviation, prefix, parents):
                tally[target].add(held, sample)
        if rest.total():
            sample = self._first_elsewhere(special, apart)
            for target in self._targets(None, prefix, parents):
                tally[target].add(rest, sample)
        for item in apart.values():
            for target in self._targets(special.get(item.table), prefix, parents, item):
                tally[target].add({self._region_of(item.node): 1}, [item.node])
        picks = [
            Pick(
                public_key=key,
                node=self._node_of(key) if key is not None else None,
                observers=counted.regions.total(),
                regions={region: count for region, count in sorted(counted.regions.items()) if count},
                sample=tuple(counted.sample[:SAMPLE]),
            )
            for key, counted in tally.items()
            if counted.regions.total()
        ]
        return tuple(
            sorted(picks, key=lambda pick: (pick.public_key is None, -pick.observers, pick.public_key or ""))
        )

    def _targets(
        self,
        deviation: Deviation | None,
        prefix: Prefix,
        parents: Iterable[Prefix],
        observer: Observation | None = None,
    ) -> frozenset[PublicKey | None]:
        """Where a table (None: one as expected) sends the prefix; nowhere if to the observer itself."""
        own = observer.device.public_key if observer is not None else None
        if observer is not None and prefix in observer.device.addresses:
            return frozenset()
        for candidate in (prefix, *parents):
            expected = self.expected.get(candidate, frozenset())
            if own in expected and not is_host(candidate):
                return frozenset()
            keys = expected if deviation is None else self.keys_in(deviation, candidate)
            if keys:
                return frozenset(keys) if candidate == prefix else frozenset({min(keys)})
        return frozenset({None})

    def _apart(self, prefix: Prefix, parents: Iterable[Prefix]) -> dict[NodeId, Observation]:
        """Observers that may deliver the prefix themselves, by what they hold or are registered with."""
        apart = list(self._at_address.get(prefix, ()))
        for candidate in (prefix, *parents):
            if not is_host(candidate):
                for key in self.expected.get(candidate, ()):
                    apart += self._by_own_key.get(key, ())
        return {item.node: item for item in sorted(apart, key=lambda item: item.node)}

    def _first_elsewhere(self, not_in: Collection[str], left_out: Collection[NodeId]) -> list[NodeId]:
        sample: list[NodeId] = []
        for deviation in self.deviations:
            if deviation.digest not in not_in:
                sample += _first(deviation.holders, left_out)
                if len(sample) >= SAMPLE:
                    break
        return sample

    @cached_property
    def _at_address(self) -> Mapping[Prefix, tuple[Observation, ...]]:
        at_address: dict[Prefix, list[Observation]] = defaultdict(list)
        for deviation in self.deviations:
            for item in deviation.holders:
                for address in item.device.addresses:
                    at_address[address].append(item)
        return {prefix: tuple(items) for prefix, items in at_address.items()}

    @cached_property
    def _by_own_key(self) -> Mapping[PublicKey, tuple[Observation, ...]]:
        by_key: dict[PublicKey, list[Observation]] = defaultdict(list)
        for deviation in self.deviations:
            for item in deviation.holders:
                by_key[item.device.public_key].append(item)
        return {key: tuple(items) for key, items in by_key.items()}

    @cached_property
    def _regions_held(self) -> Mapping[str, Counter[str]]:
        return {
            deviation.digest: Counter(self._region_of(item.node) for item in deviation.holders)
            for deviation in self.deviations
        }

    @cached_property
    def _all_regions(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for held in self._regions_held.values():
            total.update(held)
        return total

    @cached_property
    def expected_wide(self) -> tuple[tuple[Network, Prefix], ...]:
        """Expected prefixes of more than one address, in address order."""
        wide = sorted((prefix for prefix in self.expected if not is_host(prefix)), key=order)
        return tuple((network(prefix), prefix) for prefix in wide)

    @cached_property
    def _wide(self) -> Mapping[tuple[int, int], Mapping[int, Prefix]]:
        """All prefixes of more than one address, expected or seen: by address bytes and length, by value."""
        found: dict[tuple[int, int], dict[int, Prefix]] = defaultdict(dict)
        for prefix in self.expected.keys() | self._touching.keys():
            if not is_host(prefix):
                size, value, length = order(prefix)
                found[size, length][int.from_bytes(value) >> (size * 8 - length)] = prefix
        return dict(sorted(found.items(), key=lambda entry: -entry[0][1]))

    def _parents(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """The prefixes that cover this one, the longest first."""
        if not self._wide:
            return ()
        size, value, own_length = order(prefix)
        address = int.from_bytes(value)
        return tuple(
            parent
            for (bytes_, length), by_value in self._wide.items()
            if bytes_ == size and length < own_length
            if (parent := by_value.get(address >> (size * 8 - length))) is not None
        )

    # -- whole peers

    def observers_with(
        self, select: Callable[[Deviation], Iterable[PublicKey]]
    ) -> Mapping[PublicKey, list[Observation]]:
        """For each key that `select` names in a table, that table's holders; never a key's own device."""
        found: dict[PublicKey, list[Observation]] = defaultdict(list)
        for deviation in self.deviations:
            for key in select(deviation):
                found[key] += [item for item in deviation.holders if item.device.public_key != key]
        return {key: observers for key, observers in sorted(found.items()) if observers}


class _Tally:
    """Observers of one target, added up table by table."""

    __slots__ = ("regions", "sample")

    def __init__(self) -> None:
        self.regions: Counter[str] = Counter()
        self.sample: list[NodeId] = []

    def add(self, regions: Mapping[str, int], sample: Iterable[NodeId]) -> None:
        self.regions.update(regions)
        self.sample += sample


def _first(holders: Iterable[Observation], left_out: Collection[NodeId]) -> list[NodeId]:
    return [item.node for item in islice((item for item in holders if item.node not in left_out), SAMPLE)]


def covers(wide: Network, narrow: Network) -> bool:
    """Whether the first network holds the whole second one."""
    if isinstance(wide, IPv4Network):
        return isinstance(narrow, IPv4Network) and wide.supernet_of(narrow)
    return isinstance(narrow, IPv6Network) and wide.supernet_of(narrow)


def _key_of(line: bytes) -> PublicKey:
    return PublicKey(line.partition(b"\t")[0].decode())


def _by_prefix(
    lines: Iterable[bytes],
) -> tuple[dict[Prefix, frozenset[PublicKey]], Counter[PublicKey], frozenset[PublicKey]]:
    """The keys of each prefix, the number of prefixes of each key, and the keys that show `(none)`."""
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
