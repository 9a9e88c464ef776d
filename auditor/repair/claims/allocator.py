"""Allocate addresses that no other node can hold: uniqueness comes from one transaction, never from a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from auditor.errors import AllocationError, InvalidValue, StoreConflict, StoreError
from auditor.registry.interface import Create, KeyStore, Operation, Remove, Replace, Require, Stored
from auditor.repair.claims.adopted import read_adopted
from auditor.repair.claims.call_budget import CallBudget
from auditor.repair.claims.claim import claim_bytes, claim_key, claimed_prefix, read_claim
from auditor.repair.claims.registration import (
    AllocatorPolicy,
    check_node,
    new_record,
    read_registration,
    source_of,
)
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host
from auditor.values.models import Registration

CROWDED = 24
"""Taken candidates in a row after which the claims are listed: until then nothing depends on their number."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """An address that the store holds for the node, confirmed by it."""

    node: str
    public_key: PublicKey
    address: Prefix
    created: bool
    """False: the node had it already."""

    def __str__(self) -> str:
        """The address alone, as it stands in a configuration."""
        return format_prefix(self.address)


@dataclass(frozen=True, slots=True)
class Release:
    """Outcome of a release."""

    node: str
    addresses: tuple[Prefix, ...]
    until: datetime | None
    """End of their quarantine; None: there was nothing to release."""


class Allocator:
    """Allocate and releases in one store. Holds nothing between two calls, so any number may run at once."""

    def __init__(
        self,
        store: KeyStore,
        policy: AllocatorPolicy,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._policy = policy
        self._now = now
        self._clock = clock
        self._pause = pause

    def allocate(
        self,
        node: str,
        public_key: PublicKey,
        region: str,
        *,
        values: Mapping[str, str] | None = None,
    ) -> Allocation:
        """Return the node's address: the one it has, or a new one that the store confirmed.

        `values`: `endpoint` and `ssh_host` for a new registration. Raises `AllocationError`: then no address
        was handed out, and repeating the call is safe, whatever has happened. Raises `UsageError` for what
        no repeating helps.
        """
        check_node(node)
        source = source_of(self._policy, region)
        budget = self._budget(f"allocate {node}")
        key = self._policy.registry_prefix + node
        record = new_record(self._policy, node, public_key, region, values or {})
        adopted = budget.read(lambda: read_adopted(self._store, self._policy.claims_prefix))
        wanted = self._free(source, region, f"{node} {public_key}", budget)
        candidate: Prefix | None = None
        replaces: Stored | None = None
        while True:
            held = budget.read(lambda: self._store.read(key))
            if held is not None:
                return self._held(node, public_key, held, budget)
            if candidate is None:
                # By the marker as it is now: it may have come to name more since the call began.
                candidate = next((item for item in wanted if not adopted.covers(item)), None)
                replaces = None
                if candidate is None:
                    raise AllocationError(f"allocate {node}: {self._why_none(source, region)}")
            try:
                self._store.commit(
                    [
                        Require(adopted.key, adopted.modify_index),
                        self._claimed(candidate, node, public_key, replaces),
                        Create(key, record(candidate)),
                    ]
                )
            except StoreConflict:
                # One of the three was no longer so. The registration is read above in any case.
                adopted = budget.read(lambda: read_adopted(self._store, self._policy.claims_prefix))
                free, replaces = self._takeable(candidate, budget)
                if not free or adopted.covers(candidate):
                    candidate = None
                budget.check()
            except StoreError as error:
                # It may have been written, now or a little later. The read above tells; and if it comes later
                # still, it and the next try cannot both be: each creates one and the same registration.
                budget.doubt(error)
            else:
                return Allocation(node, public_key, candidate, created=True)

    def release(self, node: str) -> Release:
        """Free the node's addresses: registration gone, claims in quarantine, in one transaction.

        Repeating it is no error. Raises `AllocationError`, and `UsageError` for what no repeating helps.
        """
        check_node(node)
        budget = self._budget(f"release {node}")
        key = self._policy.registry_prefix + node
        now = self._now()
        until = now + timedelta(days=self._policy.quarantine_days)
        budget.read(lambda: read_adopted(self._store, self._policy.claims_prefix))
        first: int | None = None
        freed: tuple[Prefix, ...] = ()
        while True:
            held = budget.read(lambda: self._store.read(key))
            # One that was created anew since then is not what this call is to free.
            if held is None or first not in (None, held.create_index):
                return Release(node, freed, until if freed else None)
            first = held.create_index
            freed, quarantine = self._quarantine(node, held, now, until, budget)
            try:
                self._store.commit([Remove(key, held.modify_index), *quarantine])
            except StoreConflict:
                budget.check()
            except StoreError as error:
                budget.doubt(error)
            else:
                return Release(node, freed, until if freed else None)

    def _budget(self, what: str) -> CallBudget:
        return CallBudget(what, self._policy.timeout, self._clock, self._pause)

    # -- what is held already

    def _held(self, node: str, public_key: PublicKey, held: Stored, budget: CallBudget) -> Allocation:
        registration, registered_key = self._registration(node, held)
        if registered_key != public_key:
            raise AllocationError(
                f"allocate {node}: it is registered with another key ({registered_key[:8]}…); "
                f"if the server was reinstalled, run `wgaudit release --node {node}` first"
            )
        if registration.retired:
            raise AllocationError(
                f"allocate {node}: its registration is retired (state {registration.state}); "
                f"if the server is back, run `wgaudit release --node {node}` first"
            )
        for prefix in filter(is_host, registration.addresses):
            stored = self._read_claim(prefix, budget)
            claim = self._parsed(stored) if stored is not None else None
            if claim is not None and claim.state is ClaimState.HELD and _of(claim, node, public_key):
                return Allocation(node, public_key, prefix, created=budget.in_doubt)
        addresses = ", ".join(map(format_prefix, registration.addresses))
        raise AllocationError(
            f"allocate {node}: it is registered with {addresses}, and no claim says that it is its own; "
            "`wgaudit adopt --check` tells more"
        )

    def _quarantine(
        self, node: str, held: Stored, now: datetime, until: datetime, budget: CallBudget
    ) -> tuple[tuple[Prefix, ...], list[Operation]]:
        """The node's own addresses among those registered, and the operations that quarantine their claims."""
        registration, registered_key = self._registration(node, held)
        freed: list[Prefix] = []
        operations: list[Operation] = []
        for prefix in filter(is_host, registration.addresses):
            gone = AddressClaim(prefix, ClaimState.RELEASED, node, registered_key, now, until, "release")
            stored = self._read_claim(prefix, budget)
            if stored is None:
                # No claim where one should be: it was used all the same, so nobody gets it at once.
                key = claim_key(self._policy.claims_prefix, prefix)
                operations.append(Create(key, claim_bytes(gone)))
            elif _of(self._parsed(stored), node, registered_key):
                operations.append(Replace(stored.key, claim_bytes(gone), stored.modify_index))
            else:
                continue  # somebody else's: the registration was wrong about it
            freed.append(prefix)
        return tuple(freed), operations

    def _registration(self, node: str, held: Stored) -> tuple[Registration, PublicKey]:
        """The registration, which must be readable whole, and its key."""
        try:
            return read_registration(self._policy, node, held)
        except InvalidValue as error:
            raise AllocationError(str(error)) from None

    # -- candidates

    def _free(self, source: Prefix, region: str, seed: str, budget: CallBudget) -> Iterator[Prefix]:
        """Candidates without a known claim; claims are listed only after many candidates were taken."""
        taken: frozenset[Prefix] | None = None
        given = 0
        for candidate in self._policy.address_plan.candidates(source, region, seed):
            if taken is not None and candidate in taken:
                continue
            yield candidate
            given += 1
            if given == CROWDED:
                taken = budget.read(self._taken)

    def _why_none(self, source: Prefix, region: str) -> str:
        if next(self._policy.address_plan.candidates(source, region, ""), None) is None:
            return (
                f"nothing in {source} is to be given to region {region}: it lies in no pool (mesh.pools), or other "
                "regions' prefixes fill it (regions.pools)"
            )
        return f"no free address in {source}; widen the region's prefix"

    def _taken(self) -> frozenset[Prefix]:
        """Addresses with a claim that has not expired."""
        found: set[Prefix] = set()
        for stored in self._store.list(self._policy.claims_prefix):
            try:
                prefix = claimed_prefix(self._policy.claims_prefix, stored.key)
            except InvalidValue:
                continue  # the marker, or no address: it is in nobody's way
            if not self._expired(stored):
                found.add(prefix)
        return frozenset(found)

    def _takeable(self, candidate: Prefix, budget: CallBudget) -> tuple[bool, Stored | None]:
        """Check whether the candidate can be taken; return that, and the expired claim to replace, if any."""
        stored = self._read_claim(candidate, budget)
        if stored is None:
            return True, None
        return (True, stored) if self._expired(stored) else (False, None)

    def _expired(self, stored: Stored) -> bool:
        try:
            claim = read_claim(self._policy.claims_prefix, stored.key, stored.value)
        except InvalidValue:
            return False  # whatever it is, it is not known to be over
        return claim.is_over(self._now())

    def _read_claim(self, prefix: Prefix, budget: CallBudget) -> Stored | None:
        key = claim_key(self._policy.claims_prefix, prefix)
        return budget.read(lambda: self._store.read(key))

    def _parsed(self, stored: Stored) -> AddressClaim:
        try:
            return read_claim(self._policy.claims_prefix, stored.key, stored.value)
        except InvalidValue as error:
            raise AllocationError(f"{stored.key}: the claim cannot be read: {error}") from None

    # -- what is written

    def _claimed(
        self, candidate: Prefix, node: str, public_key: PublicKey, replaces: Stored | None
    ) -> Create | Replace:
        claim = AddressClaim(candidate, ClaimState.HELD, node, public_key, self._now(), None, "allocate")
        key, value = claim_key(self._policy.claims_prefix, candidate), claim_bytes(claim)
        return Create(key, value) if replaces is None else Replace(key, value, replaces.modify_index)


def _of(claim: AddressClaim, node: str, public_key: PublicKey) -> bool:
    return (claim.node, claim.public_key) == (node, public_key)
