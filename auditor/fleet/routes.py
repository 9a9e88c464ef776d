"""Routes of all observers: the distinct route tables and their holders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from functools import cached_property, partial
from itertools import chain
from typing import NamedTuple

from auditor.fleet.deviations import Expected
from auditor.fleet.observer_sets import SAMPLE, ObserverGroup, Observers
from auditor.values.addresses import Network, Prefix, PublicKey, is_host, network, prefix_sort_key
from auditor.values.findings import Pick
from auditor.values.models import NodeId, Observation
from auditor.values.route_table import RouteTable

_NO_KEYS: frozenset[PublicKey] = frozenset()


class Sent(NamedTuple):
    """Observers that send one prefix to the same keys, by the same prefix of their tables."""

    keys: frozenset[PublicKey]
    """Where it goes; none: to nobody, or to the observers themselves."""
    by: Prefix | None
    """Prefix of their tables that decides: the same one, or the longest that covers it. None: none does."""
    itself: bool
    """True: each of them holds the prefix, or has it registered behind it, and delivers it itself."""
    number: int
    list_observers: Callable[[], Iterable[Observation]]
    """Lists them, in no order. Called only where names are wanted: there may be as many as nodes."""

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """Observers by name."""
        return tuple(sorted(item.node for item in self.list_observers()))


class Held(NamedTuple):
    """Observers in whose tables the same prefix decides about an address, with the same keys."""

    by: Prefix | None
    """Longest prefix of their tables that covers the address; None: none does."""
    keys: frozenset[PublicKey]
    observers: int
    """As a set of `Observers`."""


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
        self._node_of = node_of
        self._is_route = expected.is_route
        self._expected = expected
        self.expected = expected.by_prefix
        self.registered_routes = expected.routes
        """Registered prefixes that are routes alone (see `AddressPlan.is_route`), with their keys."""
        self.expected_keys = expected.keys
        """Number of peers and devices that the registry expects in every table."""
        self.observers = Observers(observers, region_of)
        self.deviations = expected.compare(tables, self.observers)
        self._picks: dict[Prefix, tuple[Pick, ...]] = {}
        self._held: dict[Prefix, Mapping[frozenset[PublicKey], int]] = {}

    def has_peer(self, observer: NodeId, key: PublicKey) -> bool:
        """Tell whether the key has a line in the observer's table."""
        itself = self.observers.named(observer)
        if itself & self.deviations.extra_keys.get(key, 0):
            return True
        return self._expected.lists(key) and not itself & self.deviations.absent_keys.get(key, 0)

    # -- where one prefix goes

    @cached_property
    def deviating_prefixes(self) -> tuple[Prefix, ...]:
        """List prefixes that at least one table holds otherwise than expected, in address order."""
        found = self.deviations.missing.keys() | self.deviations.extra.keys()
        return tuple(sorted(found, key=prefix_sort_key))

    def holding(self, prefix: Prefix) -> Mapping[frozenset[PublicKey], int]:
        """Tell observers apart by the keys that have exactly this prefix in their tables, own lines included.

        Only those whose tables do not have it as expected are listed.
        """
        known = self._held.get(prefix)
        if known is None:
            known = self._held[prefix] = self._told_apart(prefix)
        return known

    def _told_apart(self, prefix: Prefix) -> Mapping[frozenset[PublicKey], int]:
        as_expected = self.expected.get(prefix, _NO_KEYS)
        parts = {as_expected: self.observers.everyone}
        for key, members in self.deviations.missing.get(prefix, {}).items():
            parts = _split(parts, members, lambda keys, key=key: keys - {key})  # type: ignore[misc]
        for lines in (self.deviations.extra, self.deviations.passing):
            for key, members in lines.get(prefix, {}).items():
                parts = _split(parts, members, lambda keys, key=key: keys | {key})  # type: ignore[misc]
        parts.pop(as_expected, None)
        return parts

    def keys_at(self, observer: NodeId, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys that have exactly this prefix in the observer's table, its own line included."""
        if prefix in self._deviating:
            itself = self.observers.named(observer)
            for keys, held in self.holding(prefix).items():
                if held & itself:
                    return keys
        return self.expected.get(prefix, _NO_KEYS)

    @cached_property
    def _deviating(self) -> frozenset[Prefix]:
        return self.deviations.prefixes

    def deviating_at(self, prefix: Prefix) -> int:
        """Return the observers whose tables do not have the prefix as expected, as a set of `Observers`."""
        found = 0
        if prefix in self._deviating:
            for held in self.holding(prefix).values():
                found |= held
        return found

    def prefixes_at(self, observer: NodeId) -> Iterator[Prefix]:
        """List the prefixes that the observer's table lacks, or has though they are not expected."""
        itself = self.observers.named(observer)
        for lines in (self.deviations.missing, self.deviations.extra):
            for prefix, by_key in lines.items():
                if any(members & itself for members in by_key.values()):
                    yield prefix

    def keys_anywhere(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys with exactly this prefix in the registry or in some table; none in flight, and no routes."""
        keys = self.expected.get(prefix, _NO_KEYS)
        extra = self.deviations.extra.get(prefix)
        return keys.union(extra) if extra else keys

    def keys_passing(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys with exactly this prefix in some table, by right or in flight: see `Deviations.passing`."""
        return frozenset(self.deviations.passing.get(prefix, ()))

    def extra_prefixes(self, keys: Set[PublicKey]) -> Mapping[PublicKey, set[Prefix]]:
        """List by key the prefixes that some observer routes to it beyond what is registered for it."""
        found: dict[PublicKey, set[Prefix]] = defaultdict(set)
        for prefix, holders in self.deviations.extra.items():
            for key in holders.keys() & keys:
                found[key].add(prefix)
        return found

    def prefixes_of(self, key: PublicKey) -> tuple[Prefix, ...]:
        """List the prefixes that some observer routes to the key, registered ones left out; in order of their text."""
        lines = (self.deviations.extra, self.deviations.passing)
        return tuple(sorted({prefix for each in lines for prefix, keys in each.items() if key in keys}))

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

    def sent(self, prefix: Prefix) -> tuple[Sent, ...]:
        """Group all observers by where they send the prefix: every observer is in one group.

        Counts as `picks` does, and also those that deliver it themselves. Costs tables that deviate at the prefix;
        names are listed only where they are asked for.
        """
        return self._sent(prefix, self.covering(prefix))

    def _sent(self, prefix: Prefix, parents: tuple[Prefix, ...]) -> tuple[Sent, ...]:
        """Group all observers as `sent` does, with these prefixes as the ones that cover it."""
        apart = self._apart(prefix, parents)
        groups: dict[tuple[Prefix | None, frozenset[PublicKey | None]], int] = defaultdict(int)
        for held in self._matches(prefix, parents):
            if others := held.observers & ~apart:
                groups[held.by, _targets(held, prefix)] |= others
        for item in self.observers.members(apart):
            itself = self.observers.named(item.node)
            groups[self._match(item, prefix, parents)] |= itself
        found = [
            Sent(
                frozenset(key for key in keys if key is not None),
                by,
                not keys,
                members.bit_count(),
                partial(self.observers.members, members),
            )
            for (by, keys), members in groups.items()
        ]
        return tuple(
            sorted(
                found, key=lambda item: (item.itself, not item.keys, -item.number, min(item.keys, default=""))
            )
        )

    def _observers_to(
        self, prefix: Prefix, parents: tuple[Prefix, ...], key: PublicKey | None
    ) -> tuple[NodeId, ...]:
        """Name all observers that send the prefix to the key; None: to nobody."""
        return tuple(
            sorted(
                item.node
                for sent in self._sent(prefix, parents)
                if not sent.itself and (key in sent.keys if key is not None else not sent.keys)
                for item in sent.list_observers()
            )
        )

    def sent_by(self, observer: Observation, prefix: Prefix) -> Sent:
        """Tell where one observer sends the prefix."""
        by, keys = self._match(observer, prefix, self.covering(prefix))
        targets = frozenset(key for key in keys if key is not None)
        return Sent(targets, by, not keys, 1, lambda: (observer,))

    def longest_matches(self, prefix: Prefix) -> Iterator[Held]:
        """Tell all observers apart by their table's longest prefix that covers this one, itself included."""
        return self._matches(prefix, self.covering(prefix))

    def _matches(self, prefix: Prefix, parents: Iterable[Prefix]) -> Iterator[Held]:
        rest = self.observers.everyone
        for candidate in (prefix, *parents):
            expected = rest
            for keys, held in self.holding(candidate).items() if candidate in self._deviating else ():
                expected &= ~held
                if keys and (those := rest & held):
                    rest ^= those
                    yield Held(candidate, keys, those)
            keys = self.expected.get(candidate, _NO_KEYS)
            if keys and expected:
                rest ^= expected
                yield Held(candidate, keys, expected)
            if not rest:
                return
        yield Held(None, _NO_KEYS, rest)

    def _count_picks(self, prefix: Prefix, parents: tuple[Prefix, ...]) -> tuple[Pick, ...]:
        observers, apart = self.observers, self._apart(prefix, parents)
        deviating = 0
        for wide in (prefix, *parents):
            deviating |= self.deviating_at(wide)
        tally: dict[PublicKey | None, int] = defaultdict(int)
        for held in self._matches(prefix, parents):
            for target in _targets(held, prefix):
                tally[target] |= held.observers & ~apart
        alone: dict[PublicKey | None, int] = defaultdict(int)
        for item in observers.members(apart):
            for target in self._match(item, prefix, parents)[1]:
                alone[target] |= observers.named(item.node)
        picks = []
        for key in tally.keys() | alone.keys():
            others, few = tally.get(key, 0), alone.get(key, 0)
            if not others | few:
                continue
            # Those who deviate come first.
            sample = observers.sample(others & deviating)
            if len(sample) < SAMPLE:
                sample += observers.sample(others & ~deviating)
            if len(sample) < SAMPLE:
                sample += observers.first_by_name(few, SAMPLE)
            picks.append(
                Pick(
                    public_key=key,
                    node=self._node_of(key) if key is not None else None,
                    observers=(others | few).bit_count(),
                    regions=observers.regions(others | few),
                    sample=tuple(sample[:SAMPLE]),
                    everyone=partial(self._observers_to, prefix, parents, key),
                )
            )
        return tuple(
            sorted(picks, key=lambda pick: (pick.public_key is None, -pick.observers, pick.public_key or ""))
        )

    def _match(
        self, observer: Observation, prefix: Prefix, parents: Iterable[Prefix]
    ) -> tuple[Prefix | None, frozenset[PublicKey | None]]:
        """Find the prefix of an observer's table that decides, and the keys; none if it delivers the prefix itself."""
        own = observer.device.public_key
        if prefix in observer.device.addresses:
            return prefix, frozenset()
        for candidate in (prefix, *parents):
            if own in self._registered_behind(candidate):
                return candidate, frozenset()
            keys = self.keys_at(observer.node, candidate)
            if keys:
                return candidate, frozenset(keys) if candidate == prefix else frozenset({min(keys)})
        return None, frozenset({None})

    def _apart(self, prefix: Prefix, parents: Iterable[Prefix]) -> int:
        """List observers that may deliver the prefix themselves, by their own or their registered addresses."""
        apart = self.observers.at(prefix)
        for candidate in (prefix, *parents):
            for key in self._registered_behind(candidate):
                apart |= self.observers.own(key)
        return apart

    def _registered_behind(self, prefix: Prefix) -> frozenset[PublicKey]:
        """List the keys of nodes that a prefix of more than one address is registered behind."""
        if is_host(prefix):
            return _NO_KEYS
        return self.expected.get(prefix, _NO_KEYS) | self.registered_routes.get(prefix, _NO_KEYS)

    @cached_property
    def expected_wide(self) -> tuple[tuple[Network, Prefix], ...]:
        """List expected prefixes of more than one address, in address order."""
        wide = sorted((prefix for prefix in self.expected if not is_host(prefix)), key=prefix_sort_key)
        return tuple((network(prefix), prefix) for prefix in wide)

    @cached_property
    def _wide(self) -> Mapping[tuple[int, int], Mapping[int, Prefix]]:
        """Index all prefixes of more than one address, expected or seen: by address bytes and length, by value."""
        found: dict[tuple[int, int], dict[int, Prefix]] = defaultdict(dict)
        for prefix in self.expected.keys() | self._deviating | self.registered_routes.keys():
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
    def taken(self) -> Mapping[tuple[Prefix, PublicKey], Mapping[Prefix, int]]:
        """List, by wide prefix and its key, registered prefixes of others that tables send there, with the observers.

        Of routes, and of prefixes that the registry does not give to the key. They take nothing where the longer
        prefix is: this finds them only where that is missing. Observers are sets of `Observers`.
        """
        taken: dict[tuple[Prefix, PublicKey], dict[Prefix, int]] = defaultdict(lambda: defaultdict(int))
        routes = (item for prefix, item in self.deviations.passing.items() if self._is_route(prefix))
        wide = (item for prefix, item in self.deviations.extra.items() if not is_host(prefix))
        wide_at = 0
        for by_key in chain(routes, wide):
            for members in by_key.values():
                wide_at |= members
        if not wide_at:
            return {}
        for prefix, lacked in self.deviations.missing.items():
            for held in self.longest_matches(prefix):
                if held.by is None or held.by == prefix or not held.observers & wide_at:
                    continue
                for keys, members in _by_lacked(lacked, held.observers & wide_at):
                    # Nobody is a peer of himself.
                    others = members & ~self._with_own_alone(keys)
                    if not others or held.keys & keys:
                        continue
                    given = _NO_KEYS if self._is_route(held.by) else self.expected.get(held.by, _NO_KEYS)
                    for key in held.keys - given:
                        taken[held.by, key][prefix] |= others
        return {target: dict(prefixes) for target, prefixes in taken.items()}

    def _with_own_alone(self, keys: Iterable[PublicKey]) -> int:
        """List observers with these keys of their own whose tables nobody else holds."""
        own = 0
        for key in keys:
            own |= self.observers.own(key)
        found = 0
        for item in self.observers.members(own):
            holders = self.observers.holders([self.observers.number(item.table)])
            if not holders & ~own:
                found |= holders
        return found

    def taking(self, observer: NodeId) -> Sequence[tuple[Prefix, PublicKey]]:
        """List the wide prefixes of an observer's table that take something, with their keys: see `taken`."""
        itself = self.observers.named(observer)
        return sorted(
            target
            for target, taken in self.taken.items()
            if any(members & itself for members in taken.values())
        )

    # -- whole peers

    def observers_with(
        self, members: Mapping[PublicKey, int], keys: Set[PublicKey]
    ) -> Mapping[PublicKey, ObserverGroup]:
        """List the observers of each of these keys, in order of keys; never a key's own device."""
        return {
            key: observers
            for key in sorted(members.keys() & keys)
            if (observers := self.group(members[key], but_of=key))
        }

    def group(self, members: int, but_of: PublicKey) -> ObserverGroup:
        """List the members of a set of `Observers`, without the devices that have this key themselves."""
        return ObserverGroup(self.observers, members & ~self.observers.own(but_of))


def _targets(held: Held, prefix: Prefix) -> frozenset[PublicKey | None]:
    """List the keys that the prefix goes to; None: nobody. Of a wider prefix it goes to one of them."""
    if not held.keys:
        return frozenset({None})
    return frozenset(held.keys) if held.by == prefix else frozenset({min(held.keys)})


def _by_lacked(lacked: Mapping[PublicKey, int], among: int) -> Iterable[tuple[frozenset[PublicKey], int]]:
    """Tell observers apart by the keys whose line they lack; those that lack none are left out."""
    parts = {_NO_KEYS: among}
    for key, members in lacked.items():
        parts = _split(parts, members, lambda keys, key=key: keys | {key})  # type: ignore[misc]
    parts.pop(_NO_KEYS, None)
    return parts.items()


def _split(
    parts: Mapping[frozenset[PublicKey], int],
    members: int,
    changed: Callable[[frozenset[PublicKey]], frozenset[PublicKey]],
) -> dict[frozenset[PublicKey], int]:
    """Move the members from each part to the one of the changed keys."""
    found: dict[frozenset[PublicKey], int] = {}
    for keys, held in parts.items():
        if moved := held & members:
            to = changed(keys)
            found[to] = found.get(to, 0) | moved
        if rest := held ^ moved:
            found[keys] = found.get(keys, 0) | rest
    return found
