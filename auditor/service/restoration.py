"""Putting a lost registration back by check-and-set, after a look at who has its address by now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from auditor.errors import InvalidValue, NotRestored, StoreConflict, StoreError, UsageError
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.registry.interface import KeyStore, Operation
from auditor.repair.claims.adopted import adopted_key
from auditor.repair.claims.claim import claim_key, read_claim
from auditor.repair.restoring import claimed_away, given_away, restoring
from auditor.service.parts import build_store
from auditor.settings.file import Config
from auditor.values.address_claims import AddressClaim
from auditor.values.addresses import Prefix, format_prefix, is_host
from auditor.values.models import LostRegistration, NodeId, Snapshot
from auditor.values.text import count, for_log, listed


class Restoration(NamedTuple):
    """Registration that may be put back, as one transaction of its datacenter's store."""

    lost: LostRegistration
    operations: Sequence[Operation]
    unseen: int
    """Registered nodes that were not seen: whether their devices hold the address is not known."""


def check_restorable(config: Config) -> None:
    """Check that registrations can be written as one key each. Raises `UsageError`."""
    if config.consul.file is not None:
        raise UsageError("restore: consul.file is only read; set consul.url")
    if config.consul.layout != "kv-json":
        raise UsageError(f'restore: consul.layout: {config.consul.layout} is only read; "kv-json" is written')


def prepare(config: Config, snapshot: Snapshot, target: str) -> Restoration:
    """Make the transaction that puts the registration of a node back.

    target: `name` or `name@datacenter`. Raises `NotRestored` where its address was given away or that could not be
    seen, and `UsageError` where nothing is remembered of it.
    """
    fleet = Fleet(latest_state(snapshot))
    lost = _find(fleet, snapshot, target)
    if not lost.record:
        raise NotRestored(
            f"{for_log(target, most=80)}: not all of its registration could be read, so it cannot be written again"
        )
    reasons = given_away(fleet, lost)
    now = datetime.now(UTC)
    store = build_store(config, lost.registration.node.datacenter)
    prefix = config.repair.policy().claims_prefix
    try:
        claims = _read_claims(store, prefix, lost)
        marker = store.read(adopted_key(prefix))
    except (StoreError, InvalidValue) as error:
        raise NotRestored(f"address claims cannot be read: {error}; nothing was written") from None
    reasons += claimed_away(lost, {address: claim for address, (claim, _) in claims.items()}, now)
    if reasons:
        raise NotRestored(f"{fleet.name(lost.registration.node)}: {'; '.join(reasons)}; nothing was written")
    operations = restoring(lost, claims, prefix, marker.modify_index if marker is not None else None, now)
    seen = {item.node for item in fleet.witnesses}
    return Restoration(lost, operations, len(fleet.by_node.keys() - seen))


def _find(fleet: Fleet, snapshot: Snapshot, target: str) -> LostRegistration:
    named = for_log(target, most=80)
    unread = [gap for gap in snapshot.gaps if gap.hides_registrations]
    if unread or snapshot.cut_short:
        why = snapshot.cut_short or for_log(unread[0].detail, most=200)
        raise NotRestored(f"{named}: the registry was not read whole ({why}); nothing was written")
    for node in (*fleet.by_node, *fleet.registered.unreadable_nodes):
        if target in (node.name, str(node)):
            has = listed(map(format_prefix, fleet.host_addresses(node)))
            raise NotRestored(f"{named} is registered{f', with {has}' if has else ''}; nothing was written")
    found = [item for item in snapshot.memory.lost if _is(item.registration.node, target)]
    if len(found) > 1:
        names = listed(str(item.registration.node) for item in found)
        raise UsageError(f"restore: {named} is lost in several datacenters; name one: {for_log(names)}")
    if not found:
        raise UsageError(
            f"restore: no registration of {named} is remembered, or it was retired; "
            "`wgaudit history node` tells what is known"
        )
    return found[0]


def _is(node: NodeId, target: str) -> bool:
    return target in (node.name, str(node))


def _read_claims(
    store: KeyStore, claims_prefix: str, lost: LostRegistration
) -> dict[Prefix, tuple[AddressClaim, int]]:
    found = {}
    for prefix in filter(is_host, lost.registration.addresses):
        stored = store.read(claim_key(claims_prefix, prefix))
        if stored is not None:
            claim = read_claim(claims_prefix, stored.key, stored.value)
            found[prefix] = claim, stored.modify_index
    return found


def put_back(config: Config, restoration: Restoration) -> None:
    """Write it. Raises `NotRestored`: something changed meanwhile, or the outcome is not known."""
    registration = restoration.lost.registration
    store = build_store(config, registration.node.datacenter)
    try:
        store.commit(restoration.operations)
    except StoreConflict as error:
        raise NotRestored(
            f"{registration.where}: somebody wrote it or its claims meanwhile ({error}); nothing was written"
        ) from None
    except StoreError as error:
        raise NotRestored(f"{error}; it may have been written: repeat the call, it finds out") from None


def unseen_words(restoration: Restoration) -> str:
    """Word what was not seen; "" where everything was."""
    if not restoration.unseen:
        return ""
    were = "was" if restoration.unseen == 1 else "were"
    return (
        f"{count(restoration.unseen, 'registered node')} {were} not seen: whether a device there holds the address is "
        "not known"
    )
