"""Values shared by all rooms: frozen, comparable, free of I/O and of secrets.

Words are those of the field (`wg`'s own where it has one): device, peer, allowed-ips, endpoint. Text
that came from Consul or from a node is kept as it came, bounded in size, and escaped on printing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from auditor.errors import GapReason, GapScope
from auditor.values.address_claims import AddressClaim
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.drains import Drained
from auditor.values.hidden_addresses import ShadowingRoute
from auditor.values.node_ids import NodeId as NodeId  # apart, for values that this file imports itself
from auditor.values.peer_transfers import PeerTransfer
from auditor.values.route_table import RouteTable
from auditor.values.witness_answers import WitnessAnswer


@dataclass(frozen=True, slots=True)
class Registration:
    """Consul's entry for a node. Source: one KV record, one folder of KV keys, or one catalog node."""

    node: NodeId
    public_key: PublicKey | None
    """None: it is missing or cannot be read."""
    addresses: tuple[Prefix, ...]
    """Addresses that could be read, in the order in which the registration gives them, without repeats."""
    region: str | None = None
    endpoint: str | None = None
    """Outer UDP `ip:port`, as text; not validated beyond its size."""
    ssh_host: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    """Other short text values of the registration, for the `[ssh] host` template."""
    where: str = ""
    """KV key or catalog entry that it was read from."""
    create_index: int | None = None
    """Consul's Raft index of the first write. None where the source has none (a file)."""
    modify_index: int | None = None
    """Consul's Raft index of the last write."""
    state: str | None = None
    """State of the node's life by its registration, such as `decommissioned`."""
    retired: bool = False
    """True: the state means that the node left the mesh. It is expected nowhere then, and claims nothing."""
    all_addresses_read: bool = True
    """False: it gives an address that cannot be read, or none. Then its peers may route more than `addresses`."""


class FieldFault(NamedTuple):
    """Field of a registration that could not be read."""

    field: str
    """Name in the registration, with its place in a list: `region`, `ip[1]`."""
    reason: str


@dataclass(frozen=True, slots=True)
class InvalidRegistration:
    """Unreadable part of a registration. Reported, never dropped.

    Where the rest of it could be read, a `Registration` of the same node and `where` stands beside it.
    """

    node: NodeId
    where: str
    reason: str
    excerpt: str
    """First 80 characters of the text."""
    faults: tuple[FieldFault, ...] = ()
    """Fields that could not be read, each with its reason. Empty: nothing could be read, for `reason`."""


class OtherKind(StrEnum):
    """Kind of a key under the prefix that is no registration."""

    LOCK = "lock"
    """`consul lock` keeps it, by its Flags."""
    SEMAPHORE = "semaphore"
    """`consul lock -n`, or one of the libraries that do the same, keeps it, by its Flags."""
    SESSION = "session"
    """A session holds it, and its value is no registration."""
    DOT_NAME = "dot name"
    """Its name begins with a dot."""
    FOLDER = "folder"
    DEVICE = "other device"
    """`<node>/<device>` of a device that is not the audited one."""
    IGNORED = "ignored"
    """`consul.ignore` names it."""


@dataclass(frozen=True, slots=True)
class OtherKeys:
    """Keys under the prefix that are no registrations: counted, never judged."""

    counts: Mapping[OtherKind, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of keys of all kinds."""
        return sum(self.counts.values())

    @property
    def sentence(self) -> str:
        """Counts in words; "" where there are none."""
        kinds = ", ".join(f"{number:,} {kind.value}" for kind, number in self.counts.items())
        return f"{self.total:,} other {'key' if self.total == 1 else 'keys'}: {kinds}" if kinds else ""

    def __add__(self, other: OtherKeys) -> OtherKeys:
        """Add up two readings of different keys."""
        sums = {
            kind: number
            for kind in OtherKind
            if (number := self.counts.get(kind, 0) + other.counts.get(kind, 0))
        }
        return OtherKeys(sums)


@dataclass(frozen=True, slots=True)
class Gap:
    """Part of the fleet that could not be seen, and the reason."""

    source: Literal["consul", "file", "ssh", "witness", "sweep"]
    reason: GapReason
    detail: str
    """One line for people: the attempt, its place and its outcome. Never a secret."""
    node: str | None = None
    datacenter: str | None = None

    @property
    def scope(self) -> GapScope:
        """Scope that the gap hides: the only place that draws this conclusion."""
        if self.reason is GapReason.UNSETTLED and self.node is not None:
            return GapScope.REGISTRY
        return _SCOPES[self.source]

    @property
    def hides_registrations(self) -> bool:
        """Tell whether registrations may be missing because of it: a datacenter, a list or a file not read whole."""
        return self.scope is GapScope.REGISTRY and self.node is None

    @property
    def of_witness(self) -> bool:
        """Tell whether it is a question of a witness without an answer: it hides nothing of registry and nodes."""
        return self.scope is GapScope.WITNESS


_SCOPES = {
    "consul": GapScope.REGISTRY,
    "file": GapScope.REGISTRY,
    "ssh": GapScope.NODE,
    "witness": GapScope.WITNESS,
    "sweep": GapScope.SWEEP,
}


@dataclass(frozen=True, slots=True)
class RegistryReading:
    """Reading of the registry. `gaps` not empty means: there may be registrations that were not seen."""

    registrations: tuple[Registration, ...] = ()
    """Retired ones included."""
    invalid: tuple[InvalidRegistration, ...] = ()
    gaps: tuple[Gap, ...] = ()
    others: OtherKeys = OtherKeys()


@dataclass(frozen=True, slots=True)
class Device:
    """WireGuard interface on a node: `wg show DEVICE public-key` and `ip addr show dev DEVICE`."""

    name: str
    public_key: PublicKey
    addresses: tuple[Prefix, ...]
    """Its own addresses as host prefixes, link-local ones left out. Empty if it has none."""
    link_up: bool | None = None
    """True: its link is up (the flag UP). None: not reported, as by probes installed before 0.2."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Live state of one node at one time. The node is the one that was *asked for*."""

    node: NodeId
    device: Device
    table: str
    """Digest of its route table; the text is in the snapshot's `tables`."""
    region: str | None = None
    """Answer of the node itself to `[regions] command`."""
    host_key: str | None = None
    """`SHA256:…` of the SSH host key that the server proved to hold. Tells a clone from a wrong host."""
    endpoints: Mapping[PublicKey, str] | None = None
    """Endpoint of each peer, only where it was asked for and known."""
    handshake_ages: Mapping[PublicKey, int] | None = None
    """Seconds since the last handshake with each of these peers that had one, by the node's own clock. None: it was not
    asked for, or not told."""
    digested: bool = True
    """True: the node sent a digest first. False: it could not, and its table came at full cost."""
    shadows: tuple[ShadowingRoute, ...] | None = None
    """Routes of it that hide mesh addresses. None: it did not tell, as an older installed probe does not."""
    routes_unread: str = ""
    """Why it could not read its routes; "" where it could, or was not asked to."""
    transfers_unread: str = ""
    """Why it could not compare the traffic with its peers; "" where it could, or was not asked to."""
    one_way: tuple[PeerTransfer, ...] | None = None
    """Peers that it sends to in vain, and other peers whose handshakes come too often. None: it was not asked, or
    it has not looked for long enough, or its installed probe is older."""


@dataclass(frozen=True, slots=True)
class SharedAddress:
    """Address that several nodes are meant to hold (anycast), as the operators agreed."""

    prefix: Prefix
    nodes: frozenset[str]
    """Names that may hold it. One more claimant, and the agreement covers none of them."""
    reason: str
    until: datetime
    """From then on it is a finding again."""


@dataclass(frozen=True, slots=True)
class Roaming:
    """Nodes that are met at several outer hosts at once, as the operators agreed."""

    nodes: frozenset[str]
    """Names of the nodes."""
    hosts: tuple[Prefix, ...]
    """Outer addresses at which they may be met beside the registered ones. Empty: at any."""
    reason: str
    until: datetime
    """From then on it is a finding again."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """Meeting of one key at one outer host, by an observer with a session that was alive."""

    public_key: PublicKey
    host: str
    """Outer address, without a port, a zone or brackets."""
    observer: NodeId


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """Part of the configuration that decides verdicts; recorded, so that a replay decides alike."""

    device: str = "wg0"
    pools: tuple[Prefix, ...] = (Prefix("10.0.0.0/8"),)
    topology: Literal["full", "partial"] = "full"
    name_pattern: str | None = None
    region_pools: Mapping[str, Prefix] = field(default_factory=dict)
    minimum_coverage: float = 1.0
    shared: tuple[SharedAddress, ...] = ()
    roaming: tuple[Roaming, ...] = ()
    mesh: str = ""
    """Name of the mesh; "" where it has none. Part of every fingerprint if it is set."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Rounds of a sweep in which one node answered. Round 0 is the look at all nodes."""

    first: int = 0
    changed: int = 0
    """Round since which it has answered the same."""
    last: int = 0


@dataclass(frozen=True, slots=True)
class MovedRegistration:
    """Form of a registration that came, went or changed between two readings."""

    registration: Registration
    round: int
    """Round whose reading showed the change; the nodes of that round were looked at before it."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Second look at suspects and moved nodes, round after round. `asked` names them.

    A node in neither `observations` nor `gaps` was not reached in time.
    """

    asked: tuple[NodeId, ...]
    observations: tuple[Observation, ...]
    """Latest observation of each node that answered again."""
    gaps: tuple[Gap, ...] = ()
    """Of nodes that answered before, and did not when they were asked again."""
    rounds: int = 1
    time_up: bool = False
    """True: there was no further round, although something may still have moved."""
    looks: Mapping[NodeId, Looks] = field(default_factory=dict)
    """Of each node that answered in a round after the first look. Empty in recordings made before there were rounds."""
    moved: tuple[MovedRegistration, ...] = ()


@dataclass(frozen=True, slots=True)
class LostNodeLook:
    """Look at a node whose registration is lost, at the host that it was last registered with."""

    public_key: PublicKey | None = None
    """Key of the device that answered; None: none did."""
    addresses: tuple[Prefix, ...] = ()
    """Addresses of that device."""
    why_not: str = ""
    """Why none answered, in one line that begins with the reason."""


@dataclass(frozen=True, slots=True)
class LostRegistration:
    """Registration that an earlier sweep read, of a node that the registry does not list now."""

    registration: Registration
    last_read: datetime
    """Time at which it was still there: the last sweep that read it began then."""
    record: str = ""
    """Text that, written at `registration.where`, registers the node as before, without fields that are not read.
    "": its registry is not one key with JSON a node."""
    released: bool | None = None
    """True: `wgaudit release` freed an address of it, on purpose. None: that could not be read."""
    look: LostNodeLook | None = None
    """None: the node was not asked."""


@dataclass(frozen=True, slots=True)
class AddressWrite:
    """Write by which a node got an address in the registry, as the journal knows it."""

    node: NodeId
    prefix: Prefix
    at: datetime
    """Time of the write, or a time at which it was done already."""
    to_the_moment: bool
    """True: a watch was told of it when it was written. False: it was written at `at` or at any time before."""
    index: int | None = None
    """Consul's index of the write; None: it is not known."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of earlier alerted sweeps, as far as it helps to judge this one. Empty where there is no state."""

    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Key that a node's device held when it was last seen, where that was not the registered one."""
    unsettled: frozenset[NodeId] = frozenset()
    """Nodes whose registrations had not held still when the last sweep ended."""
    ghosts: frozenset[PublicKey] = frozenset()
    """Keys of standing findings of unregistered peers that were alerted."""
    lost: tuple[LostRegistration, ...] = ()
    """Of nodes that this sweep's registry does not list, in datacenters that were read whole."""
    writes: tuple[AddressWrite, ...] = ()
    """Writes by which nodes got addresses that several are registered with."""
    several: frozenset[PublicKey] = frozenset()
    """Keys of standing findings that a key is met at several outer hosts, which were alerted."""
    met: Mapping[str, frozenset[NodeId]] = field(default_factory=dict)
    """By fingerprint: standing incidents that may rest on answers of witnesses, with the nodes that showed them."""
    drained: Mapping[NodeId, Drained] = field(default_factory=dict)
    """Nodes that were taken out of production and not put back."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot of all that one run saw. Checks are functions over this and nothing else."""

    started_at: datetime
    finished_at: datetime
    policy: AuditPolicy
    registrations: tuple[Registration, ...]
    """Registrations at the end of the sweep (at its start, if the end could not be read)."""
    invalid: tuple[InvalidRegistration, ...] = ()
    observations: tuple[Observation, ...] = ()
    tables: Mapping[str, RouteTable] = field(default_factory=dict)
    """Tables by digest; each distinct one once."""
    gaps: tuple[Gap, ...] = ()
    in_flight: tuple[Registration, ...] = ()
    """Registrations that had not held still when the sweep ended, in each form that was read of them, oldest first."""
    second_look: SecondLook | None = None
    """None: nobody was looked at twice."""
    cut_short: str | None = None
    """Reason of an early end (`interrupted`, `deadline`); None if the sweep ran to its end."""
    address_claims: tuple[AddressClaim, ...] | None = None
    """Claims in the store to addresses that were handed out. None: it was not read."""
    workloads: frozenset[NodeId] | None = None
    """Nodes of `repair.workload_service`. None: it was not read."""
    others: OtherKeys = OtherKeys()
    """Keys under the prefix that are no registrations."""
    memory: Memory = Memory()
    """Memory of earlier sweeps."""
    meetings: tuple[Meeting, ...] | None = None
    """Meetings of keys that a watch met at several outer hosts, at each anew after it had met them at all of these.
    None: it has asked nobody yet; or this is a sweep, whose observations have it."""
    answers: tuple[WitnessAnswer, ...] = ()
    """Answers of active witnesses, failed questions included. Empty: nobody was asked."""
