"""Build the claims of a registry that has none, and compare claims with registrations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from auditor.checks.idents import Ident
from auditor.errors import AdoptionDisturbed, InvalidValue, NotAdoptable, StoreConflict
from auditor.fleet.fleet import Fleet
from auditor.judge import judge
from auditor.registry.interface import Create, IndexedStore, KeyStore, Operation, Replace, Require, Stored
from auditor.repair.claims.adopted import adopted_bytes, adopted_key, adopted_networks, read_adopted
from auditor.repair.claims.claim import claim_bytes, claim_key, read_claim
from auditor.repair.claims.key_claim import is_key_claim
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.repair.claims.unclaimed import (
    AT_ONCE,
    FOUND_BY,
    check_mark_key,
    commit_in_parts,
    key_claims,
    mark_checked,
    newest_registration,
    owners_of,
    read_registrations,
)
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, format_prefix, is_host, prefix_sort_key
from auditor.values.models import AuditPolicy, Registration, RegistryReading, Snapshot
from auditor.values.report import Report

REFUSED_FOR = (
    Ident.DUPLICATE_ADDRESS,
    Ident.DUPLICATE_PUBLIC_KEY,
    Ident.DUPLICATE_NODE_NAME,
    Ident.INVALID_REGISTRATION,
)
"""Findings about the registry alone under which no claims are built: they would make a fault lawful."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Outcome of an adoption."""

    registered: int
    """Addresses that have a claim now because they are registered."""
    written: int
    """Claims that this call created or corrected."""
    seen: tuple[Prefix, ...]
    """Addresses live without a registration; the allocator leaves them out."""
    networks: tuple[Prefix, ...]
    """Prefixes of several addresses, and agreed shared ones: left out as a whole."""
    too_wide: tuple[Prefix, ...]
    """Prefixes that hold a whole pool, such as a default route: not left out, or no address would remain."""
    orphans: tuple[Prefix, ...]
    """Claimed by a node that is retired or no longer registered with them: in quarantine now."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where claims and registrations disagree."""

    address: Prefix | None
    what: str
    """The difference in one sentence."""
    under_way: bool = False
    """True: the claim is a reservation of a move that is under way, and no fault."""


def adopt(
    store: IndexedStore,
    policy: AllocatorPolicy,
    audit: AuditPolicy,
    *,
    live: Snapshot | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Adoption:
    """Build the claims of every registered address, then the marker. Repeating it adds what is missing.

    `live`: what a sweep saw; addresses and networks in it that nobody registered are kept off. Raises
    `NotAdoptable`, `AdoptionDisturbed`, `StoreError`.
    """
    at = now()
    newest = newest_registration(store, policy)
    stored = {item.key: item for item in store.list(policy.registry_prefix)}
    reading = read_registrations(stored.values(), policy)
    report = _report(reading, audit, at)
    if report.findings:
        count = len(report.findings)
        stands = "1 finding stands" if count == 1 else f"{count:,} findings stand"
        raise NotAdoptable(
            f"nothing was adopted: {stands} against it; `wgaudit plan` says how to get rid of duplicates",
            report,
        )
    # After the registrations: a claim that came in between is then seen, whoever made it.
    claims = {item.key: item for item in store.list(policy.claims_prefix)}
    owners = owners_of(reading)
    # What several nodes hold lawfully has no single owner whose claim it could be.
    networks = {prefix for prefix, nodes in owners.items() if len(nodes) > 1 or not is_host(prefix)}
    wanted = [
        _Wanted(_held(nodes[0], prefix, at), nodes[0])
        for prefix, nodes in owners.items()
        if prefix not in networks
    ]
    unregistered = tuple(sorted(_unregistered(live, owners), key=prefix_sort_key)) if live is not None else ()
    networks |= {prefix for prefix in unregistered if not is_host(prefix)}
    too_wide = set(filter(policy.address_plan.holds_a_source, networks))
    networks -= too_wide
    seen = tuple(prefix for prefix in unregistered if is_host(prefix))
    held = len(wanted)
    wanted += [
        _Wanted(AddressClaim(prefix, ClaimState.SEEN, "", None, at, None, "adopt"), None) for prefix in seen
    ]
    written = 0
    operations: list[Operation] = []
    for item in wanted:
        needed = _operations(item, claims, stored, policy)
        if len(operations) + len(needed) > AT_ONCE:
            _commit(store, operations)
            operations = []
        operations += needed
        written += bool(needed)
    _commit(store, operations)
    try:
        commit_in_parts(
            store,
            (
                [operation, Require(owner.where, stored[owner.where].modify_index)]
                for operation, owner in key_claims(reading, claims, policy)
            ),
        )
    except StoreConflict as error:
        raise _disturbed(error) from None
    orphans = _orphans(store, policy, claims, owners.keys() | frozenset(seen), at)
    _mark(store, policy, networks, at, stored)
    mark_checked(store, policy, newest, at)
    return Adoption(
        registered=held,
        written=written,
        seen=seen,
        networks=tuple(sorted(networks, key=prefix_sort_key)),
        too_wide=tuple(sorted(too_wide, key=prefix_sort_key)),
        orphans=orphans,
    )


def check(store: KeyStore, policy: AllocatorPolicy) -> tuple[Difference, ...]:
    """Compare claims with registrations: the differences in address order. Raises `NotAdopted`, `StoreError`.

    Claims and registrations are two reads, and others write in between: only what two comparisons both say
    is returned.
    """
    first = _compared(store, policy)
    if not first:
        return ()
    again = frozenset(first)
    return tuple(item for item in _compared(store, policy) if item in again)


def _compared(store: KeyStore, policy: AllocatorPolicy) -> tuple[Difference, ...]:
    adopted = read_adopted(store, policy.claims_prefix)
    claims: dict[Prefix, AddressClaim] = {}
    differences: list[Difference] = []
    for item in store.list(policy.claims_prefix):
        if item.key in (adopted.key, check_mark_key(policy.claims_prefix)):
            continue
        if is_key_claim(policy.claims_prefix, item.key):
            continue  # it leads to a node, whose registration decides
        try:
            claim = read_claim(policy.claims_prefix, item.key, item.value)
        except InvalidValue as error:
            differences.append(Difference(None, f"{item.key}: not a claim that can be read: {error}"))
        else:
            claims[claim.prefix] = claim
    reading = read_registrations(store.list(policy.registry_prefix), policy)
    differences += [
        Difference(None, f"{unreadable.where}: the registration cannot be read: {unreadable.reason}")
        for unreadable in reading.invalid
    ]
    owners = owners_of(reading)
    retired = frozenset(item.node.name for item in reading.registrations if item.retired)
    plan = policy.address_plan
    for prefix in sorted(claims.keys() | owners.keys(), key=prefix_sort_key):
        if prefix not in adopted.networks and not plan.holds_a_source(prefix):
            differences += _differences(prefix, claims.get(prefix), owners.get(prefix, ()), retired)
    return tuple(differences)


def _differences(
    prefix: Prefix, claim: AddressClaim | None, owners: Sequence[Registration], retired: Collection[str]
) -> Iterable[Difference]:
    address = format_prefix(prefix)
    names = ", ".join(item.node.name for item in owners)
    if len(owners) > 1:
        yield Difference(prefix, f"{address} is registered for {len(owners)} nodes: {names}")
    if not is_host(prefix):
        yield Difference(prefix, f"{prefix} of {names} is not in the marker: run `wgaudit adopt` again")
        return
    if claim is None:
        yield Difference(prefix, f"{address} is registered for {names} and has no claim")
        return
    holder = f"{claim.node} ({claim.public_key[:8]}…)" if claim.public_key else claim.node or "nobody"
    if claim.state is ClaimState.RESERVED:
        yield Difference(prefix, f"{address} is reserved for {holder} by {claim.by}", under_way=True)
    elif claim.state is ClaimState.HELD and not owners and claim.node in retired:
        yield Difference(
            prefix,
            f"{address} is claimed by {holder}, which is retired: `wgaudit adopt` puts it into quarantine",
        )
    elif claim.state is ClaimState.HELD and not owners:
        yield Difference(prefix, f"{address} is claimed by {holder}, and no registration has it")
    elif owners and claim.by == FOUND_BY:
        yield Difference(
            prefix,
            f"{address} was registered for {names} without a claim; `wgaudit allocate` found it and keeps off it",
        )
    elif claim.state is not ClaimState.HELD and owners:
        yield Difference(
            prefix, f"{address} is registered for {names}, and its claim says {claim.state.value}"
        )
    elif owners and not any(_owns(claim, item) for item in owners):
        yield Difference(prefix, f"{address} is registered for {names}, and its claim belongs to {holder}")


class _Wanted(NamedTuple):
    """A claim that should be there, and the registration that it follows from."""

    claim: AddressClaim
    owner: Registration | None


def _operations(
    wanted: _Wanted, claims: Mapping[str, Stored], stored: Mapping[str, Stored], policy: AllocatorPolicy
) -> list[Operation]:
    """Operations that write the claim if its registration is unchanged; none if the claim is right already."""
    key = claim_key(policy.claims_prefix, wanted.claim.prefix)
    there = claims.get(key)
    if there is not None and not _to_be_replaced(there.value, key, policy, wanted.claim):
        return []
    content = claim_bytes(wanted.claim)
    operations: list[Operation] = [
        Create(key, content) if there is None else Replace(key, content, there.modify_index)
    ]
    if wanted.owner is not None:
        where = wanted.owner.where
        operations.append(Require(where, stored[where].modify_index))
    return operations


def _orphans(
    store: KeyStore,
    policy: AllocatorPolicy,
    claims: Mapping[str, Stored],
    in_use: Collection[Prefix],
    at: datetime,
) -> tuple[Prefix, ...]:
    """Quarantine held addresses whose node is retired or not registered with them, so that no address is lost."""
    found: list[Prefix] = []
    until = at + timedelta(days=policy.quarantine_days)
    for item in claims.values():
        try:
            claim = read_claim(policy.claims_prefix, item.key, item.value)
        except InvalidValue:
            continue  # the marker, or something that `check` reports
        if claim.state is not ClaimState.HELD or claim.prefix in in_use:
            continue
        # Who allocates or moves writes claim and registration at once. So if the registration is not there
        # now, and the claim still has the index that it had before, then they do not belong together.
        held = store.read(f"{policy.registry_prefix}{claim.node}") if claim.node else None
        if held is not None and _names(held, claim.prefix, policy):
            continue
        gone = AddressClaim(
            claim.prefix, ClaimState.RELEASED, claim.node, claim.public_key, at, until, "adopt"
        )
        operations: list[Operation] = [Replace(item.key, claim_bytes(gone), item.modify_index)]
        if held is not None:
            operations.append(Require(held.key, held.modify_index))  # what is retired may come back
        _commit(store, operations)
        found.append(claim.prefix)
    return tuple(sorted(found, key=prefix_sort_key))


def _names(held: Stored, prefix: Prefix, policy: AllocatorPolicy) -> bool:
    """Tell whether the registration claims the address, or cannot be read and so may claim it."""
    reading = read_registrations([held], policy)
    return bool(reading.invalid) or prefix in owners_of(reading)


def _owns(claim: AddressClaim, registration: Registration) -> bool:
    return (claim.node, claim.public_key) == (registration.node.name, registration.public_key)


def _report(reading: RegistryReading, audit: AuditPolicy, at: datetime) -> Report:
    """Report of the registry alone, with those findings under which adoption is refused (`REFUSED_FOR`)."""
    report = judge(Snapshot(at, at, audit, reading.registrations, reading.invalid))
    return replace(report, findings=tuple(item for item in report.standing if item.check in REFUSED_FOR))


def _unregistered(live: Snapshot, owners: Mapping[Prefix, Sequence[Registration]]) -> set[Prefix]:
    return set(Fleet(live).known_prefixes) - owners.keys()


def _held(registration: Registration, prefix: Prefix, at: datetime) -> AddressClaim:
    name, key = registration.node.name, registration.public_key
    return AddressClaim(prefix, ClaimState.HELD, name, key, at, None, "adopt")


def _to_be_replaced(value: bytes, key: str, policy: AllocatorPolicy, wanted: AddressClaim) -> bool:
    """Tell whether a claim that is there says something else than what is registered. One that can't be read does."""
    try:
        there = read_claim(policy.claims_prefix, key, value)
    except InvalidValue:
        return True
    if there.state is ClaimState.RESERVED:
        return False  # a move is under way, and will settle it
    if wanted.state is ClaimState.SEEN:
        return False
    if there.by == FOUND_BY:
        return True  # the person who adopts vouches for it
    return (there.state, there.node, there.public_key) != (wanted.state, wanted.node, wanted.public_key)


def _commit(store: KeyStore, operations: Sequence[Operation]) -> None:
    if not operations:
        return
    try:
        store.commit(operations)
    except StoreConflict as error:
        raise _disturbed(error) from None


def _disturbed(error: StoreConflict) -> AdoptionDisturbed:
    return AdoptionDisturbed(
        f"the registry changed while claims were built ({error}); run `wgaudit adopt` again"
    )


def _mark(
    store: KeyStore,
    policy: AllocatorPolicy,
    networks: set[Prefix],
    at: datetime,
    read: Mapping[str, Stored],
) -> None:
    key = adopted_key(policy.claims_prefix)
    there = store.read(key)
    if there is None:
        # From here on addresses are handed out. Who registered one meanwhile has no claim for it yet.
        now = {item.key: item.modify_index for item in store.list(policy.registry_prefix)}
        if now != {item.key: item.modify_index for item in read.values()}:
            raise AdoptionDisturbed(
                "registrations were written while claims were built; run `wgaudit adopt` again"
            )
        _commit(store, [Create(key, adopted_bytes(networks, at))])
        return
    try:
        known = set(adopted_networks(there))
    except InvalidValue:
        known = None
    if known is None or networks - known:
        # Networks only ever come to it here: one that is gone from the registry may still be in use.
        content = adopted_bytes(networks | (known or set()), at)
        _commit(store, [Replace(key, content, there.modify_index)])
