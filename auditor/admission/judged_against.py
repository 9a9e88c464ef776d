"""What stands where a registration is to be written: registry, address claims, and what is live, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from auditor.admission.objections import Unseen
from auditor.fleet.fleet import Fleet
from auditor.values.address_claims import AddressClaim
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import AuditPolicy, NodeId, Registration, RegistryReading


@dataclass(frozen=True, slots=True)
class LiveHolder:
    """Holder of an address in the mesh: a node's own device, or a key that observers route it to."""

    node: NodeId | None
    """None: a key that no node is known to have."""
    public_key: PublicKey | None
    observers: int = 0
    """Observers that route it there; 0: the node's own device holds it."""


@dataclass(frozen=True, slots=True)
class LiveHolders:
    """What was seen live, as far as it concerns the records."""

    held: Mapping[Prefix, tuple[LiveHolder, ...]] = field(default_factory=dict)
    """Holders by address."""
    keys: Mapping[PublicKey, tuple[NodeId, ...]] = field(default_factory=dict)
    """Nodes by the key that their device holds."""
    routed_keys: frozenset[PublicKey] = frozenset()
    """Keys that observers have as peers beyond what is registered."""


@dataclass(frozen=True, slots=True)
class JudgedAgainst:
    """What records are judged against."""

    policy: AuditPolicy
    at: datetime
    """Time of the judgement, for quarantines and agreements."""
    reading: RegistryReading
    """Registry as it is, their own earlier registrations included. A gap in it means: not read whole."""
    claims: Mapping[Prefix, AddressClaim] = field(default_factory=dict)
    """Address claims, those of the records' addresses at least."""
    live: LiveHolders = LiveHolders()
    unseen: tuple[Unseen, ...] = ()
    """What was not read whole, beside the registry's own gaps."""

    @property
    def all_unseen(self) -> tuple[Unseen, ...]:
        """What was not read whole, the registry's gaps first."""
        gaps = (
            Unseen("registry", gap.reason.value, gap.detail)
            for gap in self.reading.gaps
            if gap.hides_registrations
        )
        return (*gaps, *self.unseen)


def live_in(fleet: Fleet, records: Iterable[Registration]) -> LiveHolders:
    """Gather from a fleet that was looked at what concerns these records."""
    held: dict[Prefix, tuple[LiveHolder, ...]] = {}
    keys: dict[PublicKey, tuple[NodeId, ...]] = {}
    routed: set[PublicKey] = set()
    for record in records:
        for prefix in record.addresses:
            # A wider prefix takes nothing from a longer one.
            exact = fleet.routes.keys_anywhere(prefix) | fleet.routes.keys_passing(prefix)
            held[prefix] = (
                *(LiveHolder(claim.node, claim.public_key) for claim in fleet.device_claims.get(prefix, ())),
                *(
                    LiveHolder(pick.node, pick.public_key, pick.observers)
                    for pick in fleet.routes.picks(prefix)
                    if pick.public_key in exact and pick.observers
                ),
            )
        if record.public_key is not None:
            keys[record.public_key] = tuple(fleet.device_holders.get(record.public_key, ()))
            if record.public_key in fleet.routes.deviations.extra_keys:
                routed.add(record.public_key)
    return LiveHolders(held, keys, frozenset(routed))
