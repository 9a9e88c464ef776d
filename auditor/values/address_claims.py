"""Address claims as values, one for each address that was handed out, and the policy of repair."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from auditor.values.addresses import Prefix, PublicKey
from auditor.values.drains import DrainPolicy


class ClaimState(StrEnum):
    """State of an address by its claim in the store."""

    HELD = "held"
    """A registered node has it."""
    RESERVED = "reserved"
    """A move that is under way will give it to the node."""
    RELEASED = "released"
    """Nobody has it, and nobody gets it before `until`."""
    SEEN = "seen"
    """Address that was seen live without a registration when the registry was adopted."""


@dataclass(frozen=True, slots=True)
class AddressClaim:
    """Value of Consul's key `<claims prefix><address>`: one key an address, so a claim exists once or not at all."""

    prefix: Prefix
    state: ClaimState
    node: str
    """Node that has or had the address; "" where only a key is known."""
    public_key: PublicKey | None
    at: datetime
    until: datetime | None = None
    """Of a released one: the end of its quarantine."""
    by: str = ""
    """Writer of the claim: `allocate`, `adopt`, `apply 1a2b3c4d5e`."""

    def is_over(self, at: datetime) -> bool:
        """Tell whether its quarantine has ended, so that the address may be given again. No other claim ever is."""
        return self.state is ClaimState.RELEASED and self.until is not None and self.until <= at


@dataclass(frozen=True, slots=True)
class RepairPolicy:
    """Part of `[repair]` that decides plans."""

    claims_prefix: str = "wireguard/claims/"
    quarantine_days: int = 30
    """Days in which a released address is given to nobody."""
    fallback_keeper: str = "oldest"
    """`oldest` or `nobody`: who keeps an address that came from the allocator's fallback."""
    workload_field: str = ""
    """Name of the registration's value that says that a node carries workload; empty: not used."""
    workload_service: str = ""
    """Consul service whose nodes carry workload; empty: not used."""
    drain: DrainPolicy | None = None
    """How a node is taken out of production before it is moved; None: it is not."""
