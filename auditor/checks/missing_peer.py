"""missing-peer: a registered node that is no peer on an observer's device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import NAMED
from auditor.fleet.deviations import Deviation
from auditor.fleet.fleet import Fleet
from auditor.fleet.routes import ObserverGroup
from auditor.values.addresses import PublicKey
from auditor.values.models import Evidence, Identity, NodeId, Observation, Reference, Severity
from auditor.values.text import count, listed

LONELY_SHARE = 0.5
"""An observer that lacks more than this share of all peers is one finding, not one for each peer."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registered nodes that observers lack, and observers that lack most nodes."""
    if fleet.policy.topology == "partial":
        return
    lacking: dict[PublicKey, list[list[Observation]]] = defaultdict(list)
    themselves: dict[PublicKey, set[NodeId]] = defaultdict(set)
    for deviation in fleet.routes.deviations:
        if not deviation.absent_keys:
            continue
        lonely, others = _told_apart(fleet, deviation)
        yield from lonely
        for key in deviation.absent_keys:
            lacking[key].append(others)
        for observation in others:
            for key in deviation.absent_keys & _selves(fleet, observation):
                themselves[key].add(observation.node)
    for key, groups in sorted(lacking.items()):
        observers = ObserverGroup(groups, without=themselves.get(key, frozenset()))
        if not observers:
            continue
        node = fleet.by_key[key][0].node
        yield Draft(
            identity=idents.by_node(node),
            party=fleet.name(node),
            statement=(
                f"{fleet.name(node)} is registered, but is no peer on {count(len(observers), 'observer')}: "
                f"{listed(map(fleet.name, observers.first(NAMED)), total=len(observers))}."
            ),
            nodes=(node,),
            regions=fleet.regions((node,)),
            evidence=Evidence(
                observers=len(observers),
                sample=observers.first(),
                facts=(("registered key", key),),
            ),
            follows_from=(
                idents.key_drift(node),
                idents.duplicate_public_key(key),
                idents.wrong_host(node),
                *_whole_lists(fleet, observers),
                *(
                    idents.overlapping_allowed_ips(*route)
                    for route, taken in sorted(fleet.routes.taken.items())
                    if not taken.keys().isdisjoint(fleet.by_node[node].addresses)
                ),
            ),
        )


def _told_apart(fleet: Fleet, deviation: Deviation) -> tuple[list[Draft], list[Observation]]:
    """Split holders into findings about those that lack most peers, and those that lack some."""
    lonely: list[Draft] = []
    others: list[Observation] = []
    expected = fleet.routes.expected_keys - 1
    for observation in deviation.holders:
        absent = len(deviation.absent_keys) - len(deviation.absent_keys & _selves(fleet, observation))
        alone = absent > LONELY_SHARE * expected and expected > 1
        if alone:
            lonely.append(_lonely(fleet, observation, absent, expected))
        if not alone or fleet.registry_unread:
            others.append(observation)
    return lonely, others


def _selves(fleet: Fleet, observation: Observation) -> frozenset[PublicKey]:
    """A node never has itself as a peer, under its live key or under the one it is registered with."""
    live, registration = observation.device.public_key, fleet.by_node.get(observation.node)
    if registration is None or registration.public_key is None:
        return frozenset((live,))
    return frozenset((live, registration.public_key))


def _whole_lists(fleet: Fleet, observers: ObserverGroup) -> Iterable[Reference]:
    """Make findings about observers' whole peer lists, while their expected length is not known."""
    if fleet.registry_unread:
        yield from (Reference(Ident.MISSING_PEER, _peers_of(other)) for other in observers.first())


def _peers_of(node: NodeId) -> Identity:
    return ("peers of", str(node))


def _lonely(fleet: Fleet, observation: Observation, absent: int, expected: int) -> Draft:
    node = observation.node
    return Draft(
        identity=_peers_of(node),
        from_absence=True,  # which share it lacks is known only of a registry that was read whole
        party=fleet.name(node),
        relation="peers of",
        statement=(
            f"{fleet.name(node)} lacks {absent:,} of the {expected:,} peers that the registry lists: "
            "its own peer list is old, or was never written."
        ),
        nodes=(node,),
        regions=fleet.regions((node,)),
        evidence=Evidence(observers=1, sample=(node,)),
        follows_from=(
            idents.key_drift(node),
            *(
                idents.overlapping_allowed_ips(*route)
                for route in fleet.routes.taking.get(observation.table, ())
            ),
        ),
    )


CHECK = Check(
    Ident.MISSING_PEER, Severity.WARNING, "A registered node is no peer on an observer's device.", run
)
