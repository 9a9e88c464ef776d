"""Registrations that came without claims: whether there may be any, told by Consul's indexes, and claims for them.

Whoever allocates, releases or adopts writes a mark in the same transaction. So where the newest write of the registry
is the mark's, or older, nothing was registered past the claims, and one read of few bytes tells. Else the registry is
read whole, once, and what came without claims gets them. Only a write in the very moments between an allocation's look
and its transaction is passed over, until the next one that is seen.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from auditor.errors import InvalidValue, StoreError
from auditor.registry.interface import Create, IndexedStore, Operation, Overwrite, Replace, Require, Stored
from auditor.registry.records import KvItem, read_kv
from auditor.repair.claims.adopted import Adopted, adopted_bytes, adopted_key, read_adopted, stored_adopted
from auditor.repair.claims.claim import claim_bytes, claim_key, read_claim, time_text
from auditor.repair.claims.key_claim import key_claim_bytes, key_claim_key, read_key_claim
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, PublicKey, is_host
from auditor.values.models import Registration, RegistryReading

AT_ONCE = 64
"""Operations of one transaction: what every Consul takes."""
FOUND_BY = "found"
"""Writer of claims for registrations that came without one; `wgaudit adopt` makes them its own."""


class Marks(NamedTuple):
    """Marker of adoption, and how far the registry is known to have its claims."""

    adopted: Adopted
    checked: int
    """Consul's index up to which each registration has its claims; 0: not known."""


def check_mark_key(claims_prefix: str) -> str:
    """The mark's key: it begins as the marker's, so that one read brings both."""
    return f"{adopted_key(claims_prefix)}-checked"


def set_mark(claims_prefix: str, at: datetime) -> Operation:
    """Write the mark. Its value is never the same twice, for Consul passes over a write that changes nothing."""
    value = json.dumps({"at": time_text(at), "unique": uuid4().hex}).encode()
    return Overwrite(check_mark_key(claims_prefix), value)


def read_marks(store: IndexedStore, claims_prefix: str) -> Marks:
    """Read marker and mark. Raises `NotAdopted`, `StoreError`."""
    found = {item.key: item for item in store.beginning(adopted_key(claims_prefix))}
    marker, mark = found.get(adopted_key(claims_prefix)), found.get(check_mark_key(claims_prefix))
    # A list leaves out what the token may not read; of the single key, Consul says so.
    adopted = stored_adopted(marker) if marker is not None else read_adopted(store, claims_prefix)
    return Marks(adopted, mark.modify_index if mark is not None else 0)


def is_checked(store: IndexedStore, policy: AllocatorPolicy, index: int, marks: Marks) -> bool:
    """Tell whether each registration has its claims. Raises `StoreError`.

    index: of a key that does not exist, read before the marks: that of the newest write to any key. Where something
    else was written since, the registry's own newest write is asked for.
    """
    if not marks.checked:
        return False
    if marks.adopted.modify_index <= index <= marks.checked:
        return True
    newest = newest_registration(store, policy)
    return newest is not None and newest <= max(
        marks.checked, read_marks(store, policy.claims_prefix).checked
    )


def newest_registration(store: IndexedStore, policy: AllocatorPolicy) -> int | None:
    """Read the index of the registry's newest write; None: the token may not ask for it. Raises `StoreError`."""
    try:
        return store.newest(policy.registry_prefix)
    except StoreError as error:
        if error.permanent:
            return None
        raise


def take_in(store: IndexedStore, policy: AllocatorPolicy, at: datetime) -> bool:
    """Read the registry whole, and write the claims that are lacking. Tell whether nothing was registered meanwhile.

    Then the mark is set. Raises `StoreConflict` where a registration changed meanwhile, `NotAdopted`, `StoreError`.
    """
    before = newest_registration(store, policy)
    stored = {item.key: item for item in store.list(policy.registry_prefix)}
    reading = read_registrations(stored.values(), policy)
    claims = {item.key: item for item in store.list(policy.claims_prefix)}
    marks = read_marks(store, policy.claims_prefix)
    owners = owners_of(reading)
    _cover_networks(store, policy, marks.adopted, owners, at)
    wanted = [
        *_address_claims(owners, claims, policy, at),
        *key_claims(reading, claims, policy),
    ]
    commit_in_parts(store, ([operation, *_unchanged(owner, stored)] for operation, owner in wanted))
    return mark_checked(store, policy, before, at)


def mark_checked(store: IndexedStore, policy: AllocatorPolicy, before: int | None, at: datetime) -> bool:
    """Set the mark unless it is set, or something was registered since; tell whether it is set now.

    before: index of the registry's newest write before it was read; None: not known. Raises `StoreError`.
    """
    after = newest_registration(store, policy)
    checked = read_marks(store, policy.claims_prefix).checked
    if checked and after is not None and after <= checked:
        return True
    if before is None or after is None or after > before:
        return False
    store.commit([set_mark(policy.claims_prefix, at)])
    return True


def commit_in_parts(store: IndexedStore, groups: Iterable[Sequence[Operation]]) -> int:
    """Commit groups of operations, each group in one transaction. Returns their number. Raises as `commit`."""
    operations: list[Operation] = []
    number = 0
    for group in groups:
        if len(operations) + len(group) > AT_ONCE:
            store.commit(operations)
            operations = []
        operations += group
        number += 1
    if operations:
        store.commit(operations)
    return number


def read_registrations(stored: Iterable[Stored], policy: AllocatorPolicy) -> RegistryReading:
    """Read stored registrations as a sweep reads them."""
    items = [KvItem(item.key, item.value, item.create_index, item.modify_index) for item in stored]
    return read_kv("kv-json", "", policy.registry_prefix, items, policy.fields, policy.rules)


def owners_of(reading: RegistryReading) -> Mapping[Prefix, Sequence[Registration]]:
    """By prefix, the registrations that claim it. A retired one claims nothing."""
    owners: dict[Prefix, list[Registration]] = defaultdict(list)
    for registration in filter(lambda item: not item.retired, reading.registrations):
        for prefix in registration.addresses:
            owners[prefix].append(registration)
    return dict(owners)


def key_claims(
    reading: RegistryReading, claims: Mapping[str, Stored], policy: AllocatorPolicy
) -> Iterable[tuple[Operation, Registration]]:
    """Make the claims of public keys that are lacking, each with the registration that it follows from."""
    nodes: dict[PublicKey, list[Registration]] = defaultdict(list)
    for item in reading.registrations:
        if item.public_key is not None and not item.retired:
            nodes[item.public_key].append(item)
    for public_key, owners in nodes.items():
        key = key_claim_key(policy.claims_prefix, public_key)
        there = claims.get(key)
        value = key_claim_bytes(owners[0].node.name)
        if there is None:
            yield Create(key, value), owners[0]
        elif _claimed_by(there) not in {owner.node.name for owner in owners}:
            yield Replace(key, value, there.modify_index), owners[0]


def _address_claims(
    owners: Mapping[Prefix, Sequence[Registration]],
    claims: Mapping[str, Stored],
    policy: AllocatorPolicy,
    at: datetime,
) -> Iterable[tuple[Operation, Registration]]:
    for prefix, nodes in owners.items():
        if not is_host(prefix):
            continue
        owner, key = nodes[0], claim_key(policy.claims_prefix, prefix)
        claim = AddressClaim(prefix, ClaimState.HELD, owner.node.name, owner.public_key, at, None, FOUND_BY)
        if len(nodes) > 1:  # a claim for one of them would make the fault lawful
            claim = AddressClaim(prefix, ClaimState.SEEN, "", None, at, None, FOUND_BY)
        there = claims.get(key)
        if there is None:
            yield Create(key, claim_bytes(claim)), owner
        elif _was_released(there, policy):
            yield Replace(key, claim_bytes(claim), there.modify_index), owner


def _was_released(stored: Stored, policy: AllocatorPolicy) -> bool:
    try:
        return read_claim(policy.claims_prefix, stored.key, stored.value).state is ClaimState.RELEASED
    except InvalidValue:
        return False  # whatever it is, it keeps the address


def _claimed_by(stored: Stored) -> str:
    try:
        return read_key_claim(stored.value)
    except InvalidValue:
        return ""


def _unchanged(owner: Registration, stored: Mapping[str, Stored]) -> Sequence[Operation]:
    held = stored.get(owner.where)
    return [Require(held.key, held.modify_index)] if held is not None else []


def _cover_networks(
    store: IndexedStore,
    policy: AllocatorPolicy,
    adopted: Adopted,
    owners: Mapping[Prefix, Sequence[Registration]],
    at: datetime,
) -> None:
    """Add networks that were registered since to the marker, so that no address in them is handed out."""
    plan = policy.address_plan
    new = {item for item in owners if not is_host(item) and not plan.holds_a_source(item)}
    if new - set(adopted.networks):
        content = adopted_bytes(new | set(adopted.networks), at)
        store.commit([Replace(adopted.key, content, adopted.modify_index)])
