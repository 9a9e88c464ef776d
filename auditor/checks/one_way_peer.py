"""one-way-peer: a node sends to a peer whose handshakes succeed, and nothing comes back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.findings import Evidence, Severity
from auditor.values.models import NodeId, Observation
from auditor.values.peer_transfers import PeerTransfer
from auditor.values.text import listed


class _Sender(NamedTuple):
    """The one who sends in vain."""

    node: NodeId
    observation: Observation
    transfer: PeerTransfer

    def side(self) -> _Side:
        """Return it as one of the two."""
        return _Side(*self)


class _Side(NamedTuple):
    """One of the two, and what it tells of the other one."""

    node: NodeId
    observation: Observation | None
    """None: it was not seen."""
    transfer: PeerTransfer | None
    """None: it tells nothing of it."""

    @property
    def in_vain(self) -> bool:
        return self.transfer is not None and self.transfer.unanswered

    @property
    def asked(self) -> bool:
        return self.observation is not None and self.observation.one_way is not None


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find pairs of registered nodes of which one sends to the other in vain: each pair once."""
    by_key = {item.device.public_key: item for item in fleet.witnesses}
    pairs: dict[tuple[NodeId, NodeId], tuple[_Sender, _Side]] = {}
    for observation in fleet.witnesses:
        for transfer in observation.one_way or ():
            peers = fleet.by_key.get(transfer.public_key, ())
            if not transfer.unanswered or len(peers) != 1 or peers[0].node == observation.node:
                continue  # of a peer that is not registered, or registered twice, other findings tell
            node, own = peers[0].node, observation.device.public_key
            other = by_key.get(transfer.public_key)
            if other is not None and other.node != node:
                continue  # nor is it known who that is
            here = _Sender(observation.node, observation, transfer)
            there = _Side(node, other, _told_of(other, own))
            if (pair := (min(here.node, node), max(here.node, node))) not in pairs:
                pairs[pair] = here, there
    for pair, (here, there) in sorted(pairs.items()):
        yield _draft(fleet, pair, here, there)


def _told_of(observation: Observation | None, key: PublicKey) -> PeerTransfer | None:
    transfers = (observation.one_way or ()) if observation is not None else ()
    return next((item for item in transfers if item.public_key == key), None)


def _draft(fleet: Fleet, pair: tuple[NodeId, NodeId], here: _Sender, there: _Side) -> Draft:
    first, second = (fleet.name(node) for node in pair)
    sender, receiver = fleet.name(here.node), fleet.name(there.node)
    sent = here.transfer
    device = here.observation.device.name
    addresses = [prefix for node in pair for prefix in sorted(fleet.host_addresses(node))]
    sides = (here.side(), there)
    shown = [side.node for side in sides if side.in_vain]
    return Draft(
        identity=idents.by_pair(*pair),
        party=f"{first} and {second}",
        statement=(
            f"{sender} sends to {receiver} and nothing comes back: {sent.sent:,} bytes out and {sent.received:,} in "
            f"within {sent.seconds} s, while handshakes succeed. {_other_view(sender, receiver, there)} "
            f"{_tables(fleet, sides, addresses, device)}"
        ),
        nodes=pair,
        regions=fleet.regions(pair),
        evidence=Evidence(
            observers=len(shown),
            sample=tuple(shown),
            facts=tuple(
                (
                    f"{fleet.name(side.node)}",
                    f"{side.transfer.sent:,} bytes out, {side.transfer.received:,} in, {side.transfer.seconds} s",
                )
                for side in sides
                if side.transfer is not None
            ),
        ),
        follows_from=(
            *(idents.duplicate_address(prefix) for prefix in addresses),
            *(idents.duplicate_public_key(key) for key in _keys(fleet, pair)),
            *(idents.split_routing(prefix) for prefix in addresses),
            *(idents.key_drift(node) for node in pair),
            *(idents.device_down(node) for node in pair),
        ),
        # One side alone may be wrong about the other.
        severity=None if there.asked else Severity.WARNING,
    )


def _keys(fleet: Fleet, pair: Iterable[NodeId]) -> Iterable[PublicKey]:
    keys = (fleet.by_node[node].public_key for node in pair if node in fleet.by_node)
    return [key for key in keys if key is not None]


def _other_view(sender: str, receiver: str, there: _Side) -> str:
    if not there.asked:
        return f"How {receiver} sees it is not known."
    if there.transfer is None:
        return f"{receiver} was asked too: it sends nothing to {sender} in vain."
    if there.transfer.unanswered:
        return f"{receiver} says the same of {sender}."
    if there.transfer.received > there.transfer.explained:
        return f"{receiver} receives it: what it answers is lost on the way."
    return f"{receiver} receives nothing of it."


def _tables(fleet: Fleet, sides: tuple[_Side, _Side], addresses: Iterable[Prefix], device: str) -> str:
    """Say whether it is a contested address, or something that taking the device down and up helps against."""
    contested = [prefix for prefix in addresses if prefix in fleet.contested]
    if contested:
        return (
            f"{listed(contested)} {'is' if len(contested) == 1 else 'are'} contested: repair that first; "
            f"resetting {device} does not help there."
        )
    right = [
        fleet.name(side.node)
        for side, other in (sides, sides[::-1])
        if side.observation is not None and _is_right(fleet, side.node, other.node)
    ]
    tables = (
        "Both route tables are right, so no address is contested here. "
        if len(right) == 2
        else f"The route table of {right[0]} is right. "
        if right
        else ""
    )
    return f"{tables}Take {device} down and up on one of them, and look for a firewall or MTU that drops large packets."


def _is_right(fleet: Fleet, observer: NodeId, peer: NodeId) -> bool:
    """Tell whether the observer routes all of the peer's registered addresses to its registered key alone."""
    registration = fleet.by_node.get(peer)
    if registration is None or registration.public_key is None or not registration.addresses:
        return False
    return all(
        fleet.routes.keys_at(observer, prefix) == {registration.public_key}
        for prefix in registration.addresses
    )


CHECK = Check(
    Ident.ONE_WAY_PEER,
    Severity.ERROR,
    "A node sends to a peer whose handshakes succeed, and nothing comes back.",
    run,
)
