"""Putting a lost registration back: who has its address by now, and the transaction that writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from auditor.fleet.fleet import Fleet
from auditor.registry.interface import Create, Operation, Replace, Require
from auditor.repair.claims.claim import claim_bytes, claim_key
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, PublicKey, format_prefix, is_host
from auditor.values.models import LostRegistration, NodeId
from auditor.values.text import listed, minute

RESTORED_BY = "restore"
"""Writer of the claims of addresses that a restored registration has again."""


def given_away(fleet: Fleet, lost: LostRegistration) -> tuple[str, ...]:
    """List why the registration cannot be put back, as registry, devices and routes show it; a clause each."""
    registration = lost.registration
    reasons = []
    if registration.public_key in fleet.known_keys:
        names = listed(
            fleet.name(item.node) for item in fleet.by_key.get(registration.public_key or PublicKey(""), ())
        )
        reasons.append(f"its key is registered for {names or 'a node that is retired or in flight'}")
    for prefix in registration.addresses:
        reasons += _holders(fleet, prefix, registration.public_key)
    return tuple(reasons)


def _holders(fleet: Fleet, prefix: Prefix, key: PublicKey | None) -> Iterator[str]:
    address = format_prefix(prefix)
    if claims := fleet.registered_claims.get(prefix):
        yield f"{address} is registered for {_names(fleet, (claim.node for claim in claims))}"
    elif prefix in fleet.registered.in_flight_prefixes:
        yield f"a registration with {address} is being written"
    held = [
        claim.node for claim in fleet.device_claims.get(prefix, ()) if claim.public_key != key
    ]  # the node's own device may answer under another name
    if held:
        yield f"{address} is on the device of {_names(fleet, held)}"
    others = fleet.routes.keys_anywhere(prefix) - {key}
    if others:
        names = sorted({_owner(fleet, other) for other in others})
        yield f"observers route {address} to {listed(names)}"


def _owner(fleet: Fleet, key: PublicKey) -> str:
    node = fleet.node_of_key(key)
    return fleet.name(node) if node is not None else f"key {key[:8]}…"


def _names(fleet: Fleet, nodes: Iterable[NodeId | None]) -> str:
    return listed(sorted({fleet.name(node) for node in nodes if node is not None}))


def claimed_away(
    lost: LostRegistration, claims: Mapping[Prefix, AddressClaim], now: datetime
) -> tuple[str, ...]:
    """List why the registration cannot be put back, as the address claims have it; a clause each."""
    registration = lost.registration
    reasons = []
    for prefix in registration.addresses:
        claim = claims.get(prefix)
        if claim is None or claim.is_over(now):
            continue
        own = claim.node == registration.node.name and claim.public_key in (registration.public_key, None)
        if claim.state is ClaimState.SEEN:
            own = claim.public_key in (registration.public_key, None)
        if own and claim.state is not ClaimState.RESERVED:
            continue
        until = f" until {minute(claim.until)}" if claim.until is not None else ""
        holder = claim.node or (f"key {claim.public_key[:8]}…" if claim.public_key else "nobody known")
        reasons.append(f"{format_prefix(prefix)} is {claim.state.value} by its claim, of {holder}{until}")
    return tuple(reasons)


def restoring(
    lost: LostRegistration,
    claims: Mapping[Prefix, tuple[AddressClaim, int]],
    claims_prefix: str,
    adopted_index: int | None,
    now: datetime,
) -> Sequence[Operation]:
    """Make the transaction: the record where no key is, and the claims that go with it.

    claims: those of its addresses, with the index of each. adopted_index: index of the marker that every registered
    address has a claim; None where there is none, and claims are not begun then.
    """
    registration = lost.registration
    operations: list[Operation] = [Create(registration.where, lost.record.encode())]
    for prefix in filter(is_host, registration.addresses):
        key = claim_key(claims_prefix, prefix)
        held = AddressClaim(
            prefix,
            ClaimState.HELD,
            registration.node.name,
            registration.public_key,
            now,
            None,
            RESTORED_BY,
        )
        there = claims.get(prefix)
        if there is None:
            operations += [Create(key, claim_bytes(held))] if adopted_index is not None else []
            continue
        claim, index = there
        whose = (claim.state, claim.node, claim.public_key)
        if whose == (held.state, held.node, held.public_key):
            operations.append(Require(key, index))
        else:
            operations.append(Replace(key, claim_bytes(held), index))
    return operations
