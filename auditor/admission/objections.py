"""What speaks against a registration before it is written, as values: objections, what was not seen, the admission."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from auditor.checks.idents import Ident
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import InvalidRegistration, NodeId, Registration
from auditor.values.text import listed


class ObjectionIdent(StrEnum):
    """Ident of an objection: kebab-case, its row in docs/prevention.md; it never changes once released."""

    UNREADABLE = "unreadable"
    """A field of the record, or all of it, cannot be read."""
    NODE_TWICE = "node-twice"
    """The input has several records of the node."""
    ADDRESS_REGISTERED = "address-registered"
    """Another node is registered with the address, or another record of the input has it."""
    ADDRESS_OVERLAPS = "address-overlaps"
    """The address lies in a network that another node is registered with, or its network holds another's address."""
    ADDRESS_CLAIMED = "address-claimed"
    """The address claim is another node's, reserved, in quarantine, or cannot be read."""
    ADDRESS_LIVE = "address-live"
    """Another node's device holds the address, or observers route it to another key."""
    KEY_REGISTERED = "key-registered"
    """Another node is registered with the public key, or another record of the input has it."""
    KEY_LIVE = "key-live"
    """Another node's device holds the public key."""
    RETIRED_LIVE = "retired-live"
    """The address or the key is of a retired node, and is still live."""
    OUTSIDE_POOL = Ident.OUTSIDE_POOL.value
    """The address lies in none of `mesh.pools`."""
    NETWORK_ADDRESS = "network-address"
    """The address is the network address of a pool."""
    BROADCAST_ADDRESS = "broadcast-address"
    """The address is the broadcast address of a pool."""
    FIRST_ADDRESS = "first-address"
    """The address is a pool's first: what an allocator hands out that could not read the registry."""
    REGION_MISMATCH = Ident.REGION_MISMATCH.value
    """Registration, name and address plan disagree on the node's region."""
    HOST_IN_MESH = "host-in-mesh"
    """The endpoint's or the SSH host lies in a pool, so that the way to the mesh would lead through it."""
    NAME_ELSEWHERE = "name-elsewhere"
    """A node of this name is registered in another datacenter."""
    OTHERS_UNREADABLE = "others-unreadable"
    """Address or key of other registrations cannot be read, and may be these."""


FINDINGS: Mapping[ObjectionIdent, Ident] = {
    ObjectionIdent.UNREADABLE: Ident.INVALID_REGISTRATION,
    ObjectionIdent.ADDRESS_REGISTERED: Ident.DUPLICATE_ADDRESS,
    ObjectionIdent.ADDRESS_OVERLAPS: Ident.OVERLAPPING_ALLOWED_IPS,
    ObjectionIdent.ADDRESS_LIVE: Ident.DUPLICATE_ADDRESS,
    ObjectionIdent.KEY_REGISTERED: Ident.DUPLICATE_PUBLIC_KEY,
    ObjectionIdent.KEY_LIVE: Ident.DUPLICATE_PUBLIC_KEY,
    ObjectionIdent.RETIRED_LIVE: Ident.RETIRED_BUT_LIVE,
    ObjectionIdent.OUTSIDE_POOL: Ident.OUTSIDE_POOL,
    ObjectionIdent.NETWORK_ADDRESS: Ident.OUTSIDE_POOL,
    ObjectionIdent.BROADCAST_ADDRESS: Ident.OUTSIDE_POOL,
    ObjectionIdent.FIRST_ADDRESS: Ident.FALLBACK_ADDRESS,
    ObjectionIdent.REGION_MISMATCH: Ident.REGION_MISMATCH,
    ObjectionIdent.NAME_ELSEWHERE: Ident.DUPLICATE_NODE_NAME,
    ObjectionIdent.OTHERS_UNREADABLE: Ident.INVALID_REGISTRATION,
}
"""By objection: the finding that a sweep would have of it, once written. None of the others."""

Source = Literal["record", "input", "registry", "claims", "live", "plan"]
"""Source of an objection: the record itself, another record of the input, or what it was judged against."""


@dataclass(frozen=True, slots=True)
class Objection:
    """One thing that speaks against a record."""

    ident: ObjectionIdent
    source: Source
    statement: str
    """A clause of facts, without the ident."""
    refuses: bool = True
    """False: a warning, which refuses nothing."""
    field: str = ""
    """Field of the record that could not be read, or is at fault; "" where it is not one field."""
    address: Prefix | None = None
    public_key: PublicKey | None = None
    nodes: tuple[NodeId, ...] = ()
    """Other nodes that have it."""

    @property
    def finding(self) -> Ident | None:
        """Check whose finding a sweep would show; None: no check looks at it."""
        return FINDINGS.get(self.ident)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Part of what a record is judged against that was not read whole: an absence in it proves nothing."""

    source: Literal["registry", "claims", "live"]
    reason: str
    """Kebab-case: the reason of a gap where there is one, else what is lacking."""
    detail: str
    """One line for people."""


class AdmissionVerdict(StrEnum):
    """Answer to whether a record may be written."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    """Nothing speaks against it in what was read, and not all was read."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Record that is to be written, as it was read."""

    node: NodeId
    where: str
    """KV key that it would be written to."""
    registration: Registration | None
    """None: nothing of it can be read."""
    unreadable: tuple[InvalidRegistration, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """Judgement of one record."""

    proposal: Proposal
    objections: tuple[Objection, ...] = ()
    """Those that refuse first."""
    unseen: tuple[Unseen, ...] = ()

    @property
    def refusals(self) -> tuple[Objection, ...]:
        """Objections that refuse it."""
        return tuple(item for item in self.objections if item.refuses)

    @property
    def warnings(self) -> tuple[Objection, ...]:
        """Objections that refuse nothing."""
        return tuple(item for item in self.objections if not item.refuses)

    @property
    def verdict(self) -> AdmissionVerdict:
        """Answer. What is there refuses, whatever was not read; only an absence needs the whole."""
        if self.refusals:
            return AdmissionVerdict.REFUSED
        return AdmissionVerdict.UNKNOWN if self.unseen else AdmissionVerdict.ADMITTED

    @property
    def sentence(self) -> str:
        """Answer with its reasons, for one line: `no: address-registered: 10.0.0.1 is registered for edge-sin-1`."""
        said = [f"{item.ident.value}: {item.statement}" for item in self.refusals]
        if self.verdict is AdmissionVerdict.UNKNOWN:
            said = [f"{item.source} ({item.reason}): {item.detail}" for item in self.unseen]
        words = {
            AdmissionVerdict.ADMITTED: "yes",
            AdmissionVerdict.REFUSED: "no",
            AdmissionVerdict.UNKNOWN: "can't tell",
        }
        answer = words[self.verdict]
        text = f"{answer}: {'; '.join(said)}" if said else answer
        warned = listed(
            (f"{item.ident.value}: {item.statement}" for item in self.warnings), most=3, last="; "
        )
        return f"{text} (warning: {warned})" if warned else text

    def allowing(self, idents: frozenset[ObjectionIdent]) -> Admission:
        """Return the same judgement with these objections as warnings."""
        eased = [replace(item, refuses=item.refuses and item.ident not in idents) for item in self.objections]
        return replace(self, objections=tuple(sorted(eased, key=lambda item: not item.refuses)))
