"""Allocate addresses that no other node can hold: uniqueness comes from one transaction, never from a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from auditor.admission.judged_against import JudgedAgainst
from auditor.admission.judgement import admissions
from auditor.admission.objections import Proposal
from auditor.errors import AllocationError, InvalidValue, StoreConflict, StoreError, UsageError
from auditor.registry.interface import Create, IndexedStore, Operation, Remove, Replace, Require, Stored
from auditor.repair.claims.call_budget import CallBudget
from auditor.repair.claims.claim import RELEASED_BY, claim_bytes, claim_key, claimed_prefix, read_claim
from auditor.repair.claims.key_claim import key_claim_bytes, key_claim_key, read_key_claim
from auditor.repair.claims.registration import (
    AllocatorPolicy,
    check_node,
    new_record,
    read_registration,
    source_of,
)
from auditor.repair.claims.unclaimed import Marks, check_mark_key, is_checked, read_marks, set_mark, take_in
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host
from auditor.values.models import NodeId, Registration, RegistryReading

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


class _Standing(NamedTuple):
    """The node's registration and the marks, as they stood when they were read."""

    held: Stored | None
    marks: Marks
    checked: bool
    """True: each registration had its claims."""


class Allocator:
    """Allocate and releases in one store. Holds nothing between two calls, so any number may run at once."""

    def __init__(
        self,
        store: IndexedStore,
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
        wanted = self._free(source, region, f"{node} {public_key}", budget)
        candidate: Prefix | None = None
        replaces: Stored | None = None
        key_claim: Stored | None = None
        while True:
            seen = self._look(key, budget)
            if seen.held is not None:
                return self._held(node, public_key, seen.held, budget)
            adopted = seen.marks.adopted
            if candidate is None:
                # By the marker as it is now: it may have come to name more since the call began.
                candidate = next((item for item in wanted if not adopted.covers(item)), None)
                replaces = None
                if candidate is None:
                    raise AllocationError(f"allocate {node}: {self._why_none(source, region)}")
                self._judge(node, key, record(candidate))
            try:
                self._store.commit(
                    [
                        Require(adopted.key, adopted.modify_index),
                        self._claimed(candidate, node, public_key, replaces),
                        Create(key, record(candidate)),
                        self._key_claimed(node, public_key, key_claim),
                        *self._mark(checked=seen.checked),
                    ]
                )
            except StoreConflict:
                # One of them was no longer so. Marker and registration are read above in any case.
                key_claim = self._key_free(node, public_key, record(candidate), budget)
                free, replaces = self._takeable(candidate, budget)
                if not free or budget.read(self._marks).adopted.covers(candidate):
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
        first: int | None = None
        freed: tuple[Prefix, ...] = ()
        while True:
            # Nothing is ever written there, so it tells how new the newest write is.
            index = budget.read(lambda: self._store.glance(f"{self._mark_key}/never")).index
            marks = budget.read(self._marks)
            held = budget.read(lambda: self._store.read(key))
            # One that was created anew since then is not what this call is to free.
            if held is None or first not in (None, held.create_index):
                return Release(node, freed, until if freed else None)
            first = held.create_index
            freed, quarantine = self._quarantine(node, held, now, until, budget)
            mark = self._mark(checked=self._checked(index, marks, budget))
            try:
                self._store.commit([Remove(key, held.modify_index), *quarantine, *mark])
            except StoreConflict:
                budget.check()
            except StoreError as error:
                budget.doubt(error)
            else:
                return Release(node, freed, until if freed else None)

    def _budget(self, what: str) -> CallBudget:
        return CallBudget(what, self._policy.timeout, self._clock, self._pause)

    # -- what stands

    @property
    def _mark_key(self) -> str:
        return check_mark_key(self._policy.claims_prefix)

    def _look(self, key: str, budget: CallBudget) -> _Standing:
        """Read registration and marks; where registrations may have come without claims, give them theirs first."""
        glance = budget.read(lambda: self._store.glance(key))
        marks = budget.read(self._marks)
        if glance.stored is not None:
            return _Standing(glance.stored, marks, checked=False)
        if self._checked(glance.index, marks, budget):
            return _Standing(None, marks, checked=True)
        while True:
            try:
                settled = budget.read(lambda: take_in(self._store, self._policy, self._now()))
            except StoreConflict:
                budget.check()  # a registration changed meanwhile
            else:
                return _Standing(None, budget.read(self._marks), checked=settled)

    def _marks(self) -> Marks:
        return read_marks(self._store, self._policy.claims_prefix)

    def _checked(self, index: int, marks: Marks, budget: CallBudget) -> bool:
        return budget.read(lambda: is_checked(self._store, self._policy, index, marks))

    def _judge(self, node: str, key: str, record: bytes) -> None:
        """Refuse a record that a sweep would find fault with, whoever else is registered. Raises `UsageError`."""
        refused = self._refusals(node, key, record, RegistryReading())
        if refused:
            raise UsageError(f"allocate {node}: {refused}")

    def _refusals(self, node: str, key: str, record: bytes, reading: RegistryReading) -> str:
        """Say what refuses a record beside these registrations, as `wgaudit check` does; "" for nothing."""
        registration, _ = read_registration(self._policy, node, Stored(key, record, 0, 0))
        against = JudgedAgainst(self._policy.audit, self._now(), reading)
        (found,) = admissions([Proposal(NodeId("", node), key, registration)], against)
        return "; ".join(f"{item.ident.value}: {item.statement}" for item in found.refusals)

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
            gone = AddressClaim(prefix, ClaimState.RELEASED, node, registered_key, now, until, RELEASED_BY)
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
        key_claim = self._read_key_claim(registered_key, budget)
        if key_claim is not None and self._names_node(key_claim) == node:
            operations.append(Remove(key_claim.key, key_claim.modify_index))
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

    def _read_key_claim(self, public_key: PublicKey, budget: CallBudget) -> Stored | None:
        key = key_claim_key(self._policy.claims_prefix, public_key)
        return budget.read(lambda: self._store.read(key))

    def _names_node(self, key_claim: Stored) -> str:
        try:
            return read_key_claim(key_claim.value)
        except InvalidValue:
            return ""  # it keeps nobody off, and is replaced

    def _key_free(self, node: str, public_key: PublicKey, record: bytes, budget: CallBudget) -> Stored | None:
        """Return the key's claim, to be replaced; None: there is none. Raises `AllocationError` if another has it.

        The claim leads to a node, and that node's registration decides: it may have got another key since.
        """
        key_claim = self._read_key_claim(public_key, budget)
        other = self._names_node(key_claim) if key_claim is not None else ""
        if not other or other == node:
            return key_claim
        key = self._policy.registry_prefix + other
        held = budget.read(lambda: self._store.read(key))
        if held is None:
            return key_claim
        registration, registered_key = self._registration(other, held)
        if registered_key == public_key and not registration.retired:
            reading = RegistryReading((registration,))
            refused = self._refusals(node, self._policy.registry_prefix + node, record, reading)
            raise AllocationError(f"allocate {node}: {refused}")
        return key_claim

    def _parsed(self, stored: Stored) -> AddressClaim:
        try:
            return read_claim(self._policy.claims_prefix, stored.key, stored.value)
        except InvalidValue as error:
            raise AllocationError(f"{stored.key}: the claim cannot be read: {error}") from None

    # -- what is written

    def _mark(self, *, checked: bool) -> Sequence[Operation]:
        """Set the mark that each registration has its claims, where that was so before this transaction."""
        return [set_mark(self._policy.claims_prefix, self._now())] if checked else []

    def _key_claimed(self, node: str, public_key: PublicKey, replaces: Stored | None) -> Create | Replace:
        value = key_claim_bytes(node)
        if replaces is not None:
            return Replace(replaces.key, value, replaces.modify_index)
        return Create(key_claim_key(self._policy.claims_prefix, public_key), value)

    def _claimed(
        self, candidate: Prefix, node: str, public_key: PublicKey, replaces: Stored | None
    ) -> Create | Replace:
        claim = AddressClaim(candidate, ClaimState.HELD, node, public_key, self._now(), None, "allocate")
        key, value = claim_key(self._policy.claims_prefix, candidate), claim_bytes(claim)
        return Create(key, value) if replaces is None else Replace(key, value, replaces.modify_index)


def _of(claim: AddressClaim, node: str, public_key: PublicKey) -> bool:
    return (claim.node, claim.public_key) == (node, public_key)
