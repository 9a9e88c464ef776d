"""Routes of all observers: the distinct route tables and their holders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice
from operator import attrgetter

from auditor.fleet.deviations import Deviation, Expected
from auditor.values.addresses import Network, Prefix, PublicKey, is_host, network, prefix_sort_key
from auditor.values.models import NodeId, Observation, Pick, RouteTable

SAMPLE = 3
"""Number of observers in a sample."""

_NO_KEYS: frozenset[PublicKey] = frozenset()


class ObserverGroup:
    """Observers whose route table shows a deviation, minus excluded nodes.

    They are counted and sampled group by group. A list of observers for each missing or surplus peer would
    be observers × peers in a bad incident.
    """

    __slots__ = ("_groups", "_without")

    def __init__(
        self, groups: Iterable[Sequence[Observation]], without: Collection[NodeId] = frozenset()
    ) -> None:
        """`groups`: disjoint, each sorted by node. `without`: nodes of theirs that are left out."""
        self._groups = tuple(groups)
        self._without = without

    def __len__(self) -> int:
        return sum(map(len, self._groups)) - len(self._without)

    def __iter__(self) -> Iterator[Observation]:
        """Iterate over the observers in order of their nodes."""
        everybody = sorted(chain.from_iterable(self._groups), key=attrgetter("node"))
        return (item for item in everybody if item.node not in self._without)

    def first(self, number: int = SAMPLE) -> tuple[NodeId, ...]:
        """Return the first observers, without sorting them all."""
        return tuple(sorted(node for group in self._groups for node in _first(group, self._without, number)))[
            :number
        ]


class Routes:
    """Route tables of the observers, compared with the expected one."""

    def __init__(
        self,
        *,
        expected: Expected,
        tables: Mapping[str, RouteTable],
        observers: Sequence[Observation],
        region_of: Callable[[NodeId], str],
        node_of: Callable[[PublicKey], NodeId | None],
    ) -> None:
        self._region_of = region_of
        self._node_of = node_of
        self._is_route = expected.is_route
        self._expected = expected
        self.expected = expected.by_prefix
        self.registered_routes = expected.routes
        """Registered prefixes that are routes alone (see `AddressPlan.is_route`), with their keys."""
        self.expected_keys = expected.keys
        """Number of peers and devices that the registry expects in every table."""
        self.observers = len(observers)
        holders: dict[str, list[Observation]] = defaultdict(list)
        for observation in observers:
            holders[observation.table].append(observation)
        self.deviations: tuple[Deviation, ...] = tuple(
            expected.deviation(digest, tables[digest], tuple(holders[digest])) for digest in sorted(holders)
        )
        self._by_digest = {item.digest: item for item in self.deviations}
        self._picks: dict[Prefix, tuple[Pick, ...]] = {}

    def deviation(self, digest: str) -> Deviation | None:
        """Return the deviation of the table of this digest; None if no observer holds it."""
        return self._by_digest.get(digest)

    def has_peer(self, deviation: Deviation, key: PublicKey) -> bool:
        """Tell whether the key has a line in the table."""
        if key in deviation.extra_keys:
            return True
        return self._expected.lists(key) and key not in deviation.absent_keys

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
        """List prefixes that at least one table holds otherwise than expected, in address order."""
        found: set[Prefix] = set()
        for deviation in self.deviations:
            found |= deviation.missing.keys() | deviation.extra.keys()
        return tuple(sorted(found, key=prefix_sort_key))

    def keys_in(self, deviation: Deviation, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys that have exactly this prefix in the table, the device's own line included."""
        keys = self.expected.get(prefix, _NO_KEYS)
        if prefix in deviation.missing:
            keys -= deviation.missing[prefix]
        for beside in (deviation.extra, deviation.passing):
            if prefix in beside:
                keys |= beside[prefix]
        return keys

    def keys_anywhere(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys with exactly this prefix in the registry or in some table; none in flight, and no routes."""
        keys = self.expected.get(prefix, _NO_KEYS)
        for deviation in self._touching.get(prefix, ()):
            keys |= deviation.extra.get(prefix, _NO_KEYS)
        return keys

    def keys_passing(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys with exactly this prefix in some table, by right or in flight: see `Deviation.passing`."""
        return _NO_KEYS.union(
            *(item.passing.get(prefix, _NO_KEYS) for item in self._touching.get(prefix, ()))
        )

    def is_covered(self, prefix: Prefix) -> bool:
        """Tell whether a wider prefix, in the registry or in some table, holds this one. Routes alone don't count."""
        return any(parent not in self._routes_alone for parent in self.covering(prefix))

    def picks(self, prefix: Prefix) -> tuple[Pick, ...]:
        """Count the observers that route the prefix to each key: most observers first, nobody last.

        The exact prefix counts, else the longest one that covers it. A device that holds the address
        itself, or that the prefix is registered behind, delivers it itself and is not counted.
        """
        known = self._picks.get(prefix)
        if known is None:
            known = self._picks[prefix] = self._count_picks(prefix, self.covering(prefix))
        return known

    def claiming_picks(self, prefix: Prefix) -> tuple[Pick, ...]:
        """Count the observers that give the prefix to each key, as `picks` does; carried by a route alone, to nobody.

        A default route takes no traffic: an observer without the longer prefix is a finding about the prefix's node.
        """
        parents = self.covering(prefix)
        giving = tuple(parent for parent in parents if parent not in self._routes_alone)
        return self.picks(prefix) if giving == parents else self._count_picks(prefix, giving)

    def longest_match(
        self, deviation: Deviation, prefix: Prefix
    ) -> tuple[Prefix, frozenset[PublicKey]] | None:
        """Find the table's longest prefix that covers this one, itself included, with its keys; None: there is none."""
        for candidate in (prefix, *self.covering(prefix)):
            keys = self.keys_in(deviation, candidate)
            if keys:
                return candidate, keys
        return None

    def _count_picks(self, prefix: Prefix, parents: tuple[Prefix, ...]) -> tuple[Pick, ...]:
        tally: dict[PublicKey | None, _Tally] = defaultdict(_Tally)
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
        """List the keys that a table (None: one as expected) sends the prefix to; none if to the observer itself."""
        own = observer.device.public_key if observer is not None else None
        if observer is not None and prefix in observer.device.addresses:
            return frozenset()
        for candidate in (prefix, *parents):
            expected = self.expected.get(candidate, _NO_KEYS)
            if own in self._registered_behind(candidate):
                return frozenset()
            keys = expected if deviation is None else self.keys_in(deviation, candidate)
            if keys:
                return frozenset(keys) if candidate == prefix else frozenset({min(keys)})
        return frozenset({None})

    def _apart(self, prefix: Prefix, parents: Iterable[Prefix]) -> dict[NodeId, Observation]:
        """List observers that may deliver the prefix themselves, by their own or their registered addresses."""
        apart = list(self._at_address.get(prefix, ()))
        for candidate in (prefix, *parents):
            for key in self._registered_behind(candidate):
                apart += self._by_own_key.get(key, ())
        return {item.node: item for item in sorted(apart, key=lambda item: item.node)}

    def _registered_behind(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys of nodes that a prefix of more than one address is registered behind."""
        if is_host(prefix):
            return _NO_KEYS
        return self.expected.get(prefix, _NO_KEYS) | self.registered_routes.get(prefix, _NO_KEYS)

    def _first_elsewhere(self, not_in: Collection[str], left_out: Collection[NodeId]) -> list[NodeId]:
        sample: list[NodeId] = []
        for deviation in self.deviations:
            if deviation.digest not in not_in:
                sample += _first(deviation.holders, left_out)
                if len(sample) >= SAMPLE:
                    break
        return sample

    @cached_property
    def _at_address(self) -> Mapping[Prefix, Sequence[Observation]]:
        at_address: dict[Prefix, list[Observation]] = defaultdict(list)
        for deviation in self.deviations:
            for item in deviation.holders:
                for address in item.device.addresses:
                    at_address[address].append(item)
        return dict(at_address)

    @cached_property
    def _by_own_key(self) -> Mapping[PublicKey, Sequence[Observation]]:
        by_key: dict[PublicKey, list[Observation]] = defaultdict(list)
        for deviation in self.deviations:
            for item in deviation.holders:
                by_key[item.device.public_key].append(item)
        return dict(by_key)

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
        """List expected prefixes of more than one address, in address order."""
        wide = sorted((prefix for prefix in self.expected if not is_host(prefix)), key=prefix_sort_key)
        return tuple((network(prefix), prefix) for prefix in wide)

    @cached_property
    def _wide(self) -> Mapping[tuple[int, int], Mapping[int, Prefix]]:
        """Index all prefixes of more than one address, expected or seen: by address bytes and length, by value."""
        found: dict[tuple[int, int], dict[int, Prefix]] = defaultdict(dict)
        for prefix in self.expected.keys() | self._touching.keys() | self.registered_routes.keys():
            if not is_host(prefix):
                size, value, length = prefix_sort_key(prefix)
                found[size, length][int.from_bytes(value) >> (size * 8 - length)] = prefix
        return dict(sorted(found.items(), key=lambda entry: -entry[0][1]))

    @cached_property
    def _routes_alone(self) -> frozenset[Prefix]:
        return frozenset(
            prefix
            for by_value in self._wide.values()
            for prefix in by_value.values()
            if self._is_route(prefix)
        )

    def covering(self, prefix: Prefix) -> tuple[Prefix, ...]:
        """List the prefixes that cover this one, the longest first."""
        if not self._wide:
            return ()
        size, value, own_length = prefix_sort_key(prefix)
        address = int.from_bytes(value)
        return tuple(
            parent
            for (bytes_, length), by_value in self._wide.items()
            if bytes_ == size and length < own_length
            if (parent := by_value.get(address >> (size * 8 - length))) is not None
        )

    @cached_property
    def taken(self) -> Mapping[tuple[Prefix, PublicKey], Mapping[Prefix, Sequence[Deviation]]]:
        """List, by wide prefix and its key, registered prefixes of others that tables send there, with these tables.

        Of routes, and of prefixes that the registry does not give to the key. They take nothing where the longer
        prefix is: this finds them only where that is missing.
        """
        taken: dict[tuple[Prefix, PublicKey], dict[Prefix, list[Deviation]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for deviation in self.deviations:
            if not any(map(self._is_route, deviation.passing)) and all(map(is_host, deviation.extra)):
                continue
            for prefix, keys in deviation.missing.items():
                match = self.longest_match(deviation, prefix)
                if match is None or match[0] == prefix or match[1] & keys:
                    continue
                # Nobody is a peer of himself.
                if all(item.device.public_key in keys for item in deviation.holders):
                    continue
                given = _NO_KEYS if self._is_route(match[0]) else self.expected.get(match[0], _NO_KEYS)
                for key in match[1] - given:
                    taken[match[0], key][prefix].append(deviation)
        return {target: dict(prefixes) for target, prefixes in taken.items()}

    @cached_property
    def taking(self) -> Mapping[str, Sequence[tuple[Prefix, PublicKey]]]:
        """List, by digest of a table, the wide prefixes of it that take something, with their keys: see `taken`."""
        takers: dict[str, set[tuple[Prefix, PublicKey]]] = defaultdict(set)
        for target, taken in self.taken.items():
            for deviation in chain.from_iterable(taken.values()):
                takers[deviation.digest].add(target)
        return {digest: sorted(targets) for digest, targets in takers.items()}

    # -- whole peers

    def observers_with(
        self, select: Callable[[Deviation], Iterable[PublicKey]]
    ) -> Mapping[PublicKey, ObserverGroup]:
        """List, for each key that `select` names in a table, that table's holders; never a key's own device."""
        found: dict[PublicKey, list[Deviation]] = defaultdict(list)
        for deviation in self.deviations:
            for key in select(deviation):
                found[key].append(deviation)
        return {
            key: observers
            for key, deviations in sorted(found.items())
            if (observers := self.holders(deviations, key))
        }

    def holders(self, deviations: Collection[Deviation], but_of: PublicKey) -> ObserverGroup:
        """List the holders of one of these tables, without the devices that have this key themselves."""
        own = self._by_own_key.get(but_of, ())
        digests = {item.digest for item in deviations} if own else ()
        return ObserverGroup(
            (item.holders for item in deviations), {item.node for item in own if item.table in digests}
        )


class _Tally:
    """Observers of one target, added up table by table."""

    __slots__ = ("regions", "sample")

    def __init__(self) -> None:
        self.regions: Counter[str] = Counter()
        self.sample: list[NodeId] = []

    def add(self, regions: Mapping[str, int], sample: Iterable[NodeId]) -> None:
        self.regions.update(regions)
        self.sample += sample


def _first(
    holders: Iterable[Observation], left_out: Collection[NodeId], number: int = SAMPLE
) -> list[NodeId]:
    return [item.node for item in islice((item for item in holders if item.node not in left_out), number)]
