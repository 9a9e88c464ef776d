"""missing-peer: a registered node that is no peer on an observer's device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import NAMED
from auditor.fleet.fleet import Fleet
from auditor.fleet.observer_sets import ObserverGroup
from auditor.values.addresses import PublicKey
from auditor.values.findings import Evidence, Reference, Severity
from auditor.values.models import NodeId, Observation
from auditor.values.text import count, listed

LONELY_SHARE = 0.5
"""An observer that lacks more than this share of all peers is one finding, not one for each peer."""


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registered nodes that observers lack, and observers that lack most nodes."""
    if fleet.policy.topology == "partial":
        return
    absent, observed = fleet.routes.deviations.absent_keys, fleet.routes.observers
    lonely = 0
    for observation, lacks in _lonely_observers(fleet):
        yield _lonely(fleet, observation, lacks, fleet.routes.expected_keys - 1)
        lonely |= observed.named(observation.node)
    others = observed.everyone if fleet.registry_unread else ~lonely
    for key, members in sorted(absent.items()):
        observers = ObserverGroup(observed, members & others & ~_selves(fleet, key))
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
                everyone=observers.nodes,
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


def _lonely_observers(fleet: Fleet) -> Iterable[tuple[Observation, int]]:
    """List observers that lack most peers, with the number of these."""
    absent, expected = fleet.routes.deviations.absent_keys, fleet.routes.expected_keys - 1
    most = LONELY_SHARE * expected
    if expected <= 1 or len(absent) <= most:
        return
    lacked: Counter[NodeId] = Counter()
    # Keys that the same observers lack are counted together: where all is lacking, all of them.
    for members, keys in Counter(absent.values()).items():
        for observation in fleet.routes.observers.members(members):
            lacked[observation.node] += keys
    for observation in fleet.routes.observers.members(fleet.routes.observers.everyone):
        if lacked[observation.node] > most:
            itself = fleet.routes.observers.named(observation.node)
            own = {key for key in _own_keys(fleet, observation) if absent.get(key, 0) & itself}
            if (number := lacked[observation.node] - len(own)) > most:
                yield observation, number


def _own_keys(fleet: Fleet, observation: Observation) -> Iterable[PublicKey]:
    """A node never has itself as a peer, under its live key or under the one it is registered with."""
    registration = fleet.by_node.get(observation.node)
    yield observation.device.public_key
    if registration is not None and registration.public_key is not None:
        yield registration.public_key


def _selves(fleet: Fleet, key: PublicKey) -> int:
    """List the observers that have the key themselves: see `_own_keys`."""
    observers = fleet.routes.observers
    found = observers.own(key)
    for registration in fleet.by_key.get(key, ()):
        found |= observers.named(registration.node)
    return found


def _whole_lists(fleet: Fleet, observers: ObserverGroup) -> Iterable[Reference]:
    """Make findings about observers' whole peer lists, while their expected length is not known."""
    if fleet.registry_unread:
        yield from (Reference(Ident.MISSING_PEER, idents.by_peer_list(other)) for other in observers.first())


def _lonely(fleet: Fleet, observation: Observation, absent: int, expected: int) -> Draft:
    node = observation.node
    return Draft(
        identity=idents.by_peer_list(node),
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
            *(idents.overlapping_allowed_ips(*route) for route in fleet.routes.taking(observation.node)),
        ),
    )


CHECK = Check(
    Ident.MISSING_PEER, Severity.WARNING, "A registered node is no peer on an observer's device.", run
)
