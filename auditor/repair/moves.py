"""PURE: the values of repair: who keeps a contested address, who moves where, and in which steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from auditor.values.addresses import Prefix, PublicKey
from auditor.values.drains import DrainPolicy
from auditor.values.findings import Severity
from auditor.values.models import NodeId


class Rule(StrEnum):
    """Rule by which a claimant keeps the address, or moves. Named in every form of a plan."""

    OLDEST = "oldest-registration"
    """Claimant with the lowest CreateIndex."""
    CARRIES_WORKLOAD = "carries-workload"
    """Claimant that carries workload while others do not; among several, the oldest."""
    FALLBACK_NOBODY = "fallback-kept-by-nobody"
    """The address came from the allocator's fallback, and the configuration says that nobody keeps it."""
    CHOSEN = "chosen-by-hand"
    """`--keep` names it."""
    ONLY_REGISTERED = "only-registered-holder"
    """The others hold it on their devices alone, against their own registrations."""


class Kind(StrEnum):
    """Kind of a move, by its changes."""

    RENUMBER = "renumber"
    """The node gets a new address, in the registry and on its device."""
    RESTORE = "restore"
    """The device goes back to the address that is registered for it; the registry stays as it is."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeper of a contested address; `node` None: there is none."""

    node: NodeId | None
    public_key: PublicKey | None
    rule: Rule
    why: str
    """One sentence with the numbers that decided."""
    addresses: tuple[Prefix, ...] = ()
    """All that is registered for it: what its peers must see once the others are gone."""


@dataclass(frozen=True, slots=True)
class Move:
    """One node that leaves a contested address."""

    kind: Kind
    node: NodeId
    public_key: PublicKey
    """Registered and on its device, both seen."""
    old: Prefix
    new: Prefix
    region: str
    """"" where it is not known."""
    source: Prefix
    """The region's prefix, or the pool, that the new address is taken from."""
    rule: Rule
    why: str
    where: str
    """The registration's key in Consul."""
    modify_index: int | None
    """Of the registration as the plan saw it: the write happens only if it still has this one."""
    addresses: tuple[Prefix, ...]
    """All that is registered for the node, in its order, before the move."""
    idle: bool | None = None
    """True: it carries no workload. None: that is not known."""
    sample: tuple[NodeId, ...] = ()
    """Observers that the plan saw routing the old address to this node: they show what the move changes."""
    host: str = ""
    """Host that SSH reaches it at, by its registration; "" where there is none in it."""
    chosen: bool = False
    """Whether a person chose the new address (`--to`)."""

    @property
    def ident(self) -> str:
        """`edge-sin-1 10.0.0.1`: names the move in a plan, a journal and on the screen."""
        address = self.old.rpartition("/")[0]
        return f"{self.node} {address}"

    @property
    def addresses_after(self) -> tuple[Prefix, ...]:
        """Addresses that are registered for the node after its move."""
        if self.kind is Kind.RESTORE:
            return self.addresses
        return tuple(self.new if prefix == self.old else prefix for prefix in self.addresses)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody, or a whole address, that the plan does not move, and why."""

    address: Prefix
    node: NodeId | None
    """None: nobody of those who claim the address is moved."""
    why: str
    """Reason or advice for people, in one sentence."""


@dataclass(frozen=True, slots=True)
class Routed:
    """Observers that send a contested address to one key, as the sweep saw it."""

    public_key: PublicKey | None
    """None: they send it to nobody."""
    node: NodeId | None
    """Node that is registered with the key; None where none is."""
    observers: int


@dataclass(frozen=True, slots=True)
class Contested:
    """One contested address, with what becomes of each claimant."""

    address: Prefix
    claimants: tuple[NodeId, ...]
    keeper: Keeper
    moves: tuple[Move, ...]
    left_out: tuple[LeftOut, ...] = ()
    routed: tuple[Routed, ...] = ()
    """Where observers send it now, most observers first. Empty where the plan's file is of an older version."""

    @property
    def observers(self) -> int:
        """Number of observers whose route for the address is known."""
        return sum(routed.observers for routed in self.routed)

    @property
    def reaching_keeper(self) -> int:
        """Number of observers that send it to the keeper now."""
        key = self.keeper.public_key
        return sum(routed.observers for routed in self.routed if key is not None and routed.public_key == key)

    @property
    def changing(self) -> int:
        """Number of observers that send it to another server than now once all is done.

        Those are the ones that send it to a node that moves and, if somebody keeps it, those that send it to nobody.
        """
        moving = {move.public_key for move in self.moves}
        return sum(
            routed.observers
            for routed in self.routed
            if (self.keeper.node is not None if routed.public_key is None else routed.public_key in moving)
        )

    @property
    def poorly_reached(self) -> bool:
        """Tell whether nobody reaches the keeper now, or fewer observers than reach another one."""
        reach = self.reaching_keeper
        if self.keeper.node is None or not self.observers:
            return False
        return not reach or any(item.observers > reach for item in self.routed if item.public_key is not None)

    @property
    def better_reached(self) -> Routed | None:
        """The mover that most observers reach, where the keeper is poorly reached and it could keep the address."""
        if not self.poorly_reached or self.keeper.rule is Rule.CHOSEN:
            return None
        able = {move.node for move in self.moves if move.kind is Kind.RENUMBER}
        others = (item for item in self.routed if item.node in able and item.observers > self.reaching_keeper)
        return max(others, key=lambda item: item.observers, default=None)


class Because(StrEnum):
    """Reason why a finding stands after the plan was carried out."""

    LEFT_OUT = "left-out"
    """The plan does not move all who claim the address."""
    NOT_ASKED = "not-asked"
    """The plan was asked for another address (`--address`)."""
    KEEPER_HOLDS = "keeper-holds-it"
    """The pool's first address stays with its keeper, which is a finding for as long as anybody holds it."""
    NO_MOVE = "no-move"
    """It is not a matter of moves."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """Finding that stands after the plan was carried out, and why."""

    check: str
    """Ident of its check."""
    severity: Severity
    subject: str
    fingerprint: str
    because: Because
    followers: int = 0
    """Findings that follow from it, and stand with it."""


class CarriedService(NamedTuple):
    """Service of Consul's catalog on a node."""

    name: str
    instances: int


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """Plan from one snapshot to a mesh without contested addresses. The same snapshot gives the same one."""

    snapshot_at: datetime
    """Time when its sweep ended."""
    verdict: str
    device: str
    contested: tuple[Contested, ...]
    left_out: tuple[LeftOut, ...] = ()
    """Whole addresses that no move can be vouched for."""
    notes: tuple[str, ...] = ()
    """Remarks on facts that were not read, such as workload or quarantine."""
    peers: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Keepers and movers with their registered keys."""
    claims_prefix: str = "wireguard/claims/"
    """Prefix of the store's keys for the claims to new addresses."""
    remaining: tuple[Remaining, ...] = ()
    """Findings that stand when all is done, in the order of the report."""
    unseen: tuple[NodeId, ...] = ()
    """Registered nodes that the sweep did not see: what is on them is not known before and after."""
    drain: DrainPolicy | None = None
    """How each node is taken out of production before it is moved, and put back; None: it is not."""
    carried: Mapping[NodeId, tuple[CarriedService, ...]] = field(default_factory=dict)
    """Services of movers by Consul's catalog, most instances first; a node of which that is not known is left out."""

    @property
    def moves(self) -> tuple[Move, ...]:
        """In the order in which they are made: nodes without workload first, then by address and name."""
        every = (move for contested in self.contested for move in contested.moves)
        return tuple(sorted(every, key=lambda move: move.idle is not True))

    @property
    def ident(self) -> str:
        """Ten hex digits over all that the plan would change, and where."""
        lines = [f"{self.device} {self.claims_prefix}"]
        if self.drain is not None:
            lines.append(f"{self.drain.means} {self.drain.drain!r} {self.drain.undrain!r}")
        for contested in self.contested:
            keeper = contested.keeper
            lines.append(
                f"{contested.address} {_words(keeper.node)} {keeper.public_key} {' '.join(keeper.addresses)}"
            )
            lines += [
                f"{move.kind} {_words(move.node)} {move.public_key} {move.old} {move.new} {move.where!r} "
                f"{move.modify_index} {' '.join(move.addresses)} {move.host!r}"
                for move in contested.moves
            ]
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _words(node: NodeId | None) -> str:
    return repr(tuple(node)) if node is not None else "nobody"


class Step(StrEnum):
    """One step of a move, in the order in which they are made. The way back is the other way round."""

    DRAIN = "drain"
    """The node is out of production, where the plan says how."""
    RESERVE = "reserve"
    """The new address is claimed in Consul for the node: nobody else gets it."""
    ADD = "add"
    """The device holds the new address beside the old one."""
    REGISTER = "register"
    """The registration has the new address; in one transaction with the claim, which is then held."""
    PEERS = "peers"
    """The observers route the new address to the node's key."""
    PERSIST = "persist"
    """The device's file has the new address in place of the old one, so that it outlives a restart."""
    REMOVE = "remove"
    """The device no longer holds the old address."""
    VERIFY = "verify"
    """The node and a sample of observers were looked at afterwards."""
    UNDRAIN = "undrain"
    """The node is back in production, if its move took it out."""


def steps_of(move: Move, drain: DrainPolicy | None) -> tuple[Step, ...]:
    """The steps of a move, in order. A restored device changes nothing in the registry.

    drain: the plan's; every drain has its undrain.
    """
    left_out = set[Step]() if drain is not None else {Step.DRAIN, Step.UNDRAIN}
    if move.kind is Kind.RESTORE:
        left_out |= {Step.RESERVE, Step.REGISTER}
    return tuple(step for step in Step if step not in left_out)
