"""Standing findings that rest on answers of witnesses: what to ask again, and what must not be taken for over.

An answer is had only where it was asked for, and a timeout says nothing. So such a finding stands until the address
answers again, and otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from auditor.checks import idents
from auditor.fleet.fleet import ANSWERED, Fleet
from auditor.values.addresses import Prefix, is_host
from auditor.values.findings import Reference
from auditor.values.models import NodeId

MetBefore = Mapping[str, frozenset[NodeId]]
"""Standing findings by fingerprint, with the nodes that showed them."""


def addresses_met(fleet: Fleet, met: MetBefore) -> tuple[Prefix, ...]:
    """List the registered addresses at which others were met, by the standing findings."""
    if not met:
        return ()
    return tuple(
        prefix
        for prefix in sorted(fleet.registered_claims)
        if is_host(prefix) and _mark(fleet, idents.answered_by_other(prefix)) in met
    )


def nodes_met(fleet: Fleet, met: MetBefore) -> tuple[NodeId, ...]:
    """List the nodes whose own server named another region, by the standing findings."""
    if not met:
        return ()
    return tuple(node for node in sorted(fleet.by_node) if _mark(fleet, idents.region_mismatch(node)) in met)


def observers_met(fleet: Fleet, met: MetBefore, address: Prefix) -> frozenset[NodeId]:
    """Name the nodes that met others at the address, of those that were seen now and do not claim it.

    One that was not seen is a gap of its own, which keeps the finding standing too.
    """
    nodes = met.get(_mark(fleet, idents.answered_by_other(address)), frozenset())
    claimants = {claim.node for claim in fleet.claims(address)}
    return frozenset(
        node for node in nodes if node in fleet.by_node and node in fleet.observed and node not in claimants
    )


def not_met_again(fleet: Fleet, met: MetBefore) -> frozenset[str]:
    """Name the standing findings whose places did not all answer this time: they are withheld, and not over."""
    silent = set[str]()
    for prefix in addresses_met(fleet, met):
        heard = {answer.observer for answer in fleet.answers_at.get(prefix, ()) if answer.reason is None}
        if not heard or observers_met(fleet, met, prefix) - heard:
            silent.add(_mark(fleet, idents.answered_by_other(prefix)))
    for node in nodes_met(fleet, met):
        if not any(word.source == ANSWERED for word in fleet.region_witnesses(node)):
            silent.add(_mark(fleet, idents.region_mismatch(node)))
    return frozenset(silent)


def _mark(fleet: Fleet, reference: Reference) -> str:
    return replace(reference, mesh=fleet.policy.mesh).fingerprint
