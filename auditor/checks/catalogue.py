"""Catalogue of the checks, as one explicit tuple, in the order in which a finding may lead others."""

from __future__ import annotations

from auditor.checks import (
    address_drift,
    answered_by_other,
    device_down,
    displaced_allowed_ips,
    duplicate_address,
    duplicate_node_name,
    duplicate_public_key,
    fallback_address,
    invalid_registration,
    key_drift,
    missing_peer,
    one_way_peer,
    outside_pool,
    overlapping_allowed_ips,
    region_mismatch,
    registration_vanished,
    retired_but_live,
    self_routed_address,
    several_endpoints,
    shadowed_addresses,
    split_routing,
    unregistered_allowed_ips,
    unregistered_peer,
    unsettled_registration,
    wrong_host,
)
from auditor.checks.interface import Check

# A finding may be the cause of findings of later checks only. As severities fall along the tuple, what
# leads an incident is never less severe than what follows from it.
CHECKS: tuple[Check, ...] = (
    duplicate_public_key.CHECK,
    wrong_host.CHECK,
    duplicate_address.CHECK,
    split_routing.CHECK,
    answered_by_other.CHECK,
    key_drift.CHECK,
    device_down.CHECK,
    address_drift.CHECK,
    retired_but_live.CHECK,
    registration_vanished.CHECK,
    displaced_allowed_ips.CHECK,
    overlapping_allowed_ips.CHECK,
    region_mismatch.CHECK,
    self_routed_address.CHECK,
    shadowed_addresses.CHECK,
    one_way_peer.CHECK,
    invalid_registration.CHECK,
    unsettled_registration.CHECK,
    unregistered_peer.CHECK,
    unregistered_allowed_ips.CHECK,
    several_endpoints.CHECK,
    missing_peer.CHECK,
    fallback_address.CHECK,
    outside_pool.CHECK,
    duplicate_node_name.CHECK,
)

BY_IDENT = {check.ident: check for check in CHECKS}
