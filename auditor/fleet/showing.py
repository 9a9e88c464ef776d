"""Nodes that show a finding, and one node's part in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.findings import Finding, Witness
from auditor.values.hidden_addresses import RouteKind
from auditor.values.models import Device, MovedRegistration, NodeId, Registration


class Shown(NamedTuple):
    """Part of one node in one finding. Equal as long as nothing changed that concerns the finding."""

    device: Device
    region: str | None
    routed: tuple[frozenset[PublicKey], ...]
    """Keys that its table gives the finding's prefixes to, each in turn."""
    peers: frozenset[PublicKey]
    """Of the finding's keys, those that are on its device."""
    shadows: tuple[tuple[RouteKind, str], ...] = ()
    """Kind and device of its routes that hide the finding's prefix."""
    in_vain: frozenset[PublicKey] = frozenset()
    """Of the finding's keys, those that it sends to in vain."""


def asked_first(finding: Finding) -> frozenset[NodeId]:
    """Name the nodes that a finding is about, and a few of its observers."""
    nodes = {*finding.nodes, *finding.evidence.sample}
    for pick in finding.evidence.routing:
        nodes.update(pick.sample)
    return frozenset(nodes)


def showing(fleet: Fleet, finding: Finding) -> frozenset[NodeId]:
    """Name all nodes that a finding rests on: its own, and each observer whose table deviates there."""
    nodes = set(asked_first(finding))
    evidence = finding.evidence
    if evidence.routing or evidence.observers > len(evidence.sample):
        prefixes, keys = _places(fleet, finding)
        routes, shown = fleet.routes, 0
        for prefix in prefixes:
            shown |= routes.deviating_at(prefix)
        for key in keys:
            shown |= routes.deviations.absent_keys.get(key, 0) | routes.deviations.extra_keys.get(key, 0)
        nodes.update(item.node for item in routes.observers.members(shown))
    return frozenset(nodes)


def shown_by(fleet: Fleet, finding: Finding, node: NodeId) -> Shown | None:
    """Return the node's part in the finding; None if it did not answer itself."""
    observation = fleet.observed.get(node)
    if observation is None or not fleet.routes.observers.named(node):
        return None
    prefixes, keys = _places(fleet, finding)
    return Shown(
        observation.device,
        observation.region,
        tuple(fleet.routes.keys_at(node, prefix) for prefix in prefixes),
        frozenset(key for key in keys if fleet.routes.has_peer(node, key)),
        tuple(
            (item.kind, item.device) for item in observation.shadows or () if item.prefix == finding.address
        ),
        frozenset(item.public_key for item in observation.one_way or () if item.unanswered) & keys,
    )


def moved_in(finding: Finding, moved: Iterable[MovedRegistration]) -> int:
    """Find the last round that showed a change of a registration that the finding rests on; -1 if none did."""
    return max((item.round for item in moved if _rests_on(finding, item.registration)), default=-1)


def _rests_on(finding: Finding, registration: Registration) -> bool:
    if finding.address in registration.addresses or registration.node in finding.nodes:
        # A collision of two claimants without this registration does not depend on it.
        return len(_claimants_without(finding, registration.node)) < 2
    return finding.public_key is not None and registration.public_key == finding.public_key


def _claimants_without(finding: Finding, node: NodeId) -> set[NodeId | None]:
    return {
        claim.node
        for claim in finding.evidence.claims
        if claim.witness is not Witness.REGISTERED or claim.node != node
    }


def _places(fleet: Fleet, finding: Finding) -> tuple[tuple[Prefix, ...], frozenset[PublicKey]]:
    """List the prefixes and keys whose lines in a table matter to the finding."""
    if finding.address is not None:
        return (finding.address, *fleet.covering(finding.address)), frozenset()
    if finding.public_key is not None:
        return (), frozenset({finding.public_key})
    keys = (fleet.by_node[node].public_key for node in finding.nodes if node in fleet.by_node)
    return (), frozenset(key for key in keys if key is not None)
