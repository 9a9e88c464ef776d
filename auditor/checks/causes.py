"""Guesses at the cause of a finding, and the evidence that makes one probable.

A guess is possible as long as another explanation would show the same. It is probable where the evidence excludes
the others that are known. docs/findings.md says for each cause what that is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix
from auditor.values.findings import Claim, Guess, GuessedCause, Sureness, Witness
from auditor.values.models import AddressWrite, Device, NodeId, Observation, Registration

PARALLEL_WRITERS = 16
"""Registrations that lie no further apart, in the order in which they were written, may have been written by
parallel writers: one that raced another is overtaken by few."""
PARALLEL_WRITES = 512
"""Raft indexes that lie no further apart count as close. Consul's index grows with every write of the whole
cluster, and around one registration there are many: sessions, tries for the lock, its release. 32 writers
with 16 writes each."""
TOGETHER = 5.0
"""Seconds. Who writes so soon after another can have chosen before the other had written."""
APART = 15.0
"""Seconds. Who writes so long after another could have read what was written: Consul holds a lock back no longer whose
holder died, and no allocator takes so long from its choice to its write."""
REPEATED = 3
"""So many registrations with a pool's first address, each written long after the one before, are no race and no
one slip of a hand."""


# -- one address of several nodes


class _CloseWrites(NamedTuple):
    """Pair of registrations of one prefix that parallel writers may have written."""

    first: int
    last: int
    prefix: Prefix
    nodes: frozenset[NodeId]


class WriteTimes:
    """Times at which nodes got one address, where the journal knows them."""

    def __init__(self, fleet: Fleet, registered: Sequence[Claim]) -> None:
        created = {claim.node: claim.create_index for claim in registered}
        found = (
            fleet.address_writes.get((claim.node, claim.prefix))
            for claim in registered
            if claim.node is not None
        )
        self.known = tuple(sorted(filter(None, set(found)), key=lambda item: (item.at, item.node)))
        self._moments = tuple(item for item in self.known if item.to_the_moment)
        self._given_later = frozenset(
            item.node for item in self.known if item.index is not None and item.index != created[item.node]
        )

    @property
    def nearest(self) -> tuple[AddressWrite, AddressWrite] | None:
        """Two writes that are known to the moment and nearest to each other, the earlier one first."""
        return min(pairwise(self._moments), key=self.seconds, default=None)

    @staticmethod
    def seconds(pair: tuple[AddressWrite, AddressWrite]) -> float:
        """Return the seconds between two writes."""
        return (pair[1].at - pair[0].at).total_seconds()

    def are_apart(self, nodes: frozenset[NodeId]) -> bool:
        """Tell whether two nodes certainly got it so long after one another that none overlooked the other."""
        pair = tuple(item for item in self.known if item.node in nodes)
        # The later one must be known to the moment; the earlier one was written then, or before.
        return len(pair) == 2 and pair[1].to_the_moment and self.seconds((pair[0], pair[1])) >= APART

    def is_of_this_write(self, name: str, nodes: frozenset[NodeId]) -> bool:
        """Tell whether an index of these nodes' registrations may be that of the write which gave them the address.

        Who is known to have got it by a later write than its registration's first one has a CreateIndex that says
        nothing of it.
        """
        return name != "CreateIndex" or not (self._given_later & nodes)

    @property
    def times_apart(self) -> int:
        """Count the writes that certainly came long after the one before."""
        return sum(
            later.to_the_moment and self.seconds((earlier, later)) >= APART
            for earlier, later in pairwise(self.known)
        )


class WriteOrder:
    """Order of the registry's writes: Raft indexes by datacenter, for each counts its own."""

    def __init__(self, fleet: Fleet) -> None:
        self._first_addresses = fleet.address_plan.first_addresses
        self._fleet = fleet
        self._every = {
            "CreateIndex": _indexes(fleet.registrations, "CreateIndex"),
            "ModifyIndex": _indexes(fleet.registrations, "ModifyIndex"),
        }
        self._raced: dict[tuple[str, str], list[_CloseWrites]] = defaultdict(list)
        for prefix in fleet.contested:
            if prefix not in self._first_addresses:
                for name, datacenter, pair in self._close(registry_claims(fleet.claims(prefix))):
                    self._raced[name, datacenter].append(pair)
        for pairs in self._raced.values():
            pairs.sort(key=lambda pair: pair.first)

    def guess(self, prefix: Prefix, claims: Sequence[Claim]) -> Guess | None:
        """Guess why several nodes are registered with the prefix; None: nothing points anywhere.

        Registrations of one key are none of the allocator's doing.
        """
        registered = registry_claims(claims)
        keys = {claim.public_key for claim in registered}
        if len({claim.node for claim in registered}) < 2 or (len(keys) == 1 and None not in keys):
            return None
        pool = self._first_addresses.get(prefix)
        if pool is not None:
            return _fallback(pool, self._sureness_of_fallback(registered))
        times = WriteTimes(self._fleet, registered)
        close = [
            one
            for one in self._close(registered)
            if times.is_of_this_write(one[0], one[2].nodes) and not times.are_apart(one[2].nodes)
        ]
        if (pair := times.nearest) is not None and (seconds := times.seconds(pair)) <= TOGETHER:
            earlier, later = (self._fleet.name(write.node) for write in pair)
            nested = any(self._is_nested(name, datacenter, one) for name, datacenter, one in close)
            return Guess(
                GuessedCause.PARALLEL_WRITERS,
                Sureness.PROBABLE if nested else Sureness.POSSIBLE,
                f"written by parallel writers: {later} only {seconds:.1f} s after {earlier}",
                (("seconds apart", f"{seconds:.1f}"),),
            )
        for name in self._every:
            pairs = [(datacenter, pair) for index, datacenter, pair in close if index == name]
            if pairs:
                apart = min(pair.last - pair.first for _, pair in pairs)
                return Guess(
                    GuessedCause.PARALLEL_WRITERS,
                    Sureness.PROBABLE
                    if any(self._is_nested(name, datacenter, pair) for datacenter, pair in pairs)
                    else Sureness.POSSIBLE,
                    f"written by parallel writers: {name} of the registrations only {apart} apart",
                    ((f"{name} apart", str(apart)),),
                )
        return None

    def _close(self, registered: Sequence[Claim]) -> Iterable[tuple[str, str, _CloseWrites]]:
        """List neighbours among these that parallel writers may have written, with index and datacenter."""
        for name, every in self._every.items():
            by_datacenter: dict[str, list[tuple[int, NodeId]]] = defaultdict(list)
            for claim in registered:
                index = _index(claim, name)
                if index is not None and claim.node is not None:
                    by_datacenter[claim.node.datacenter].append((index, claim.node))
            for datacenter, indexed in by_datacenter.items():
                for (earlier, one), (later, other) in pairwise(sorted(indexed)):
                    if self._are_close(every[datacenter], earlier, later):
                        pair = _CloseWrites(earlier, later, registered[0].prefix, frozenset((one, other)))
                        yield name, datacenter, pair

    @staticmethod
    def _are_close(every: Sequence[int], earlier: int, later: int) -> bool:
        places = bisect_left(every, later) - bisect_left(every, earlier)
        return places <= PARALLEL_WRITERS and later - earlier <= PARALLEL_WRITES

    def _is_nested(self, name: str, datacenter: str, pair: _CloseWrites) -> bool:
        """Tell whether another address was handed out twice between these two, or these two between such others.

        One hand that writes in order, or that runs twice over the same list, never does that.
        """
        raced = self._raced[name, datacenter]
        start = bisect_left(raced, pair.first - PARALLEL_WRITES, key=lambda other: other.first)
        for other in map(raced.__getitem__, range(start, len(raced))):
            if other.first >= pair.last:
                return False
            inside = pair.first < other.first and other.last < pair.last
            around = other.first < pair.first and pair.last < other.last
            if (inside or around) and other.prefix != pair.prefix and not other.nodes & pair.nodes:
                return True
        return False

    def _sureness_of_fallback(self, registered: Sequence[Claim]) -> Sureness:
        by_datacenter: dict[str, set[int]] = defaultdict(set)
        for claim in registered:
            if claim.create_index is not None and claim.node is not None:
                by_datacenter[claim.node.datacenter].add(claim.create_index)
        if WriteTimes(self._fleet, registered).times_apart >= REPEATED - 1:
            return Sureness.PROBABLE
        for datacenter, indexes in by_datacenter.items():
            every = self._every["CreateIndex"][datacenter]
            apart = sum(
                not self._are_close(every, earlier, later) for earlier, later in pairwise(sorted(indexes))
            )
            if apart >= REPEATED - 1:
                return Sureness.PROBABLE
        return Sureness.POSSIBLE


def _fallback(pool: Prefix, sureness: Sureness) -> Guess:
    """Guess that the allocator could not read the registry and handed out the pool's first address."""
    return Guess(
        GuessedCause.ALLOCATOR_FALLBACK,
        sureness,
        f"the allocator fell back: it is the first address of {pool}, "
        "handed out when the registry could not be read",
        (("first address of", pool),),
    )


def registry_claims(claims: Iterable[Claim]) -> list[Claim]:
    """List the claims that the registry makes."""
    return [claim for claim in claims if claim.witness is Witness.REGISTERED]


def _index(item: Claim | Registration, name: str) -> int | None:
    return item.create_index if name == "CreateIndex" else item.modify_index


def _indexes(registrations: Iterable[Registration], name: str) -> Mapping[str, Sequence[int]]:
    by_datacenter: dict[str, list[int]] = defaultdict(list)
    for item in registrations:
        index = _index(item, name)
        if index is not None:
            by_datacenter[item.node.datacenter].append(index)
    return {datacenter: sorted(indexes) for datacenter, indexes in by_datacenter.items()}


# -- one key of several nodes


def key_guess(fleet: Fleet, registered: Sequence[Registration], live: Sequence[Observation]) -> Guess | None:
    """Guess why a key is registered for several nodes, or on several devices.

    `registered`: the registrations with it; `live`: what answered with it, by whatever name it was asked.
    """
    if len(live) > 1:
        if not _are_machines(fleet, live):
            same = {item.host_key for item in live}
            sure = len(same) == 1 and None not in same and _are_one_target(_ways(fleet, live))
            return _registered_twice(Sureness.PROBABLE if sure else Sureness.POSSIBLE)
        # A copy of the whole disk has the same SSH host key as well; without it, the key alone may have been copied.
        devices_of: dict[str, set[Device]] = defaultdict(set)
        for item in live:
            if item.host_key is not None:
                devices_of[item.host_key].add(item.device)
        copied = any(len(devices) > 1 for devices in devices_of.values())
        return Guess(
            GuessedCause.CLONED_IMAGE,
            Sureness.PROBABLE if copied else Sureness.POSSIBLE,
            "a cloned disk image: peers talk to whichever spoke last",
        )
    if len({item.node for item in registered}) < 2:
        return None
    # A server that answered with a key of its own is another one than the server with this key.
    others = {item.node for item in fleet.witnesses} - {item.node for item in live}
    if live and any(item.node in others for item in registered):
        return _copied_registration(Sureness.PROBABLE)
    shared = set.intersection(*(set(item.addresses) for item in registered))
    if shared or _are_one_target(registered):
        return _registered_twice(Sureness.POSSIBLE)
    return _copied_registration(Sureness.POSSIBLE)


def _are_machines(fleet: Fleet, live: Sequence[Observation]) -> bool:
    """Tell whether these show that they are several machines: by addresses, or by host keys at several hosts."""
    if len({frozenset(item.device.addresses) for item in live}) > 1:
        return True
    # One sshd may prove one of its keys today and another tomorrow, but at one place.
    host_keys = {item.host_key for item in live if item.host_key is not None}
    return len(host_keys) > 1 and not _are_one_target(_ways(fleet, live))


def _ways(fleet: Fleet, live: Iterable[Observation]) -> list[Registration]:
    return [fleet.by_node[item.node] for item in live if item.node in fleet.by_node]


def _are_one_target(registrations: Sequence[Registration]) -> bool:
    """Tell whether all of these lead to one and the same SSH host or endpoint."""
    if len(registrations) < 2:
        return False
    return any(
        len(places) == 1 and not places & {None, ""}
        for places in (
            {item.ssh_host for item in registrations},
            {item.endpoint for item in registrations},
        )
    )


def _registered_twice(sureness: Sureness) -> Guess:
    return Guess(
        GuessedCause.REGISTERED_TWICE,
        sureness,
        "one server that is registered under several names",
    )


def _copied_registration(sureness: Sureness) -> Guess:
    return Guess(GuessedCause.COPIED_REGISTRATION, sureness, "one registration was copied from the other")
