"""Registrations that earlier sweeps read and this one did not: which were freed on purpose, what to write again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.errors import InvalidValue, StateError, WgauditError
from auditor.repair.claims.claim import RELEASED_BY, read_claim
from auditor.repair.claims.registration import record_again
from auditor.service.parts import build_store
from auditor.settings.file import Config
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix
from auditor.values.models import LostRegistration, Snapshot

if TYPE_CHECKING:
    from auditor.service.remembered import Remembered

log = logging.getLogger(__name__)


def lost_registrations(
    config: Config, snapshot: Snapshot, before: Remembered, complain: Callable[[str], None]
) -> tuple[LostRegistration, ...]:
    """List remembered registrations of nodes that the snapshot's registry does not list, where it was read whole.

    Address claims are read only where one is lost. Claims that cannot be read are no fault: the lost ones say so.
    A state that cannot be read is a complaint, and none is lost.
    """
    groups = (snapshot.registrations, snapshot.invalid, snapshot.in_flight)
    read = {item.node for group in groups for item in group}
    unread = {gap.datacenter or "" for gap in snapshot.gaps if gap.hides_registrations}
    datacenters = {node.datacenter for node in read} - unread
    if "" in unread:
        return ()
    try:
        lost = before.registered.lost(read, datacenters)
    except StateError as error:
        complain(f"{error}; registrations that vanished are not missed")
        return ()
    lost = tuple(item for item in lost if not item.registration.retired)
    claims = {
        datacenter: _claims(config, datacenter)
        for datacenter in sorted({item.registration.node.datacenter for item in lost})
    }
    return tuple(
        replace(
            item,
            record=_record(config, item),
            released=_released(item, claims[item.registration.node.datacenter]),
        )
        for item in lost
    )


def _record(config: Config, item: LostRegistration) -> str:
    if config.consul.layout != "kv-json":
        return ""
    return record_again(config.consul.fields, item.registration) or ""


def _claims(config: Config, datacenter: str) -> Mapping[Prefix, AddressClaim] | None:
    """Read the claims of one datacenter's store; None: they cannot be read."""
    if config.consul.file is not None or config.consul.layout != "kv-json":
        return {}  # nothing claims addresses there
    prefix = config.repair.policy().claims_prefix
    try:
        stored = build_store(config, datacenter).list(prefix)
    except WgauditError as error:
        log.info("address claims are not read: %s", error)
        return None
    return dict(_readable(prefix, ((item.key, item.value) for item in stored)))


def _readable(
    claims_prefix: str, stored: Iterable[tuple[str, bytes]]
) -> Iterable[tuple[Prefix, AddressClaim]]:
    for key, value in stored:
        try:
            claim = read_claim(claims_prefix, key, value)
        except InvalidValue:
            continue  # the marker, or what `wgaudit adopt --check` reports; it frees nobody's address
        yield claim.prefix, claim


def _released(item: LostRegistration, claims: Mapping[Prefix, AddressClaim] | None) -> bool | None:
    """Tell whether `wgaudit release` freed an address of the node; None: claims were not read."""
    if claims is None:
        return None
    found = (claims[prefix] for prefix in item.registration.addresses if prefix in claims)
    return any(
        claim.state is ClaimState.RELEASED
        # Not by `adopt`, which quarantines what nobody is registered with, for whatever reason.
        and (claim.node, claim.by) == (item.registration.node.name, RELEASED_BY)
        for claim in found
    )
