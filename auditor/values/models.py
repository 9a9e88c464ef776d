"""Values shared by all rooms: frozen, comparable, free of I/O and of secrets.

Words are those of the field (`wg`'s own where it has one): device, peer, allowed-ips, endpoint. Text
that came from Consul or from a node is kept as it came, bounded in size, and escaped on printing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple

from auditor.errors import GapReason, GapScope
from auditor.values.address_claims import AddressClaim
from auditor.values.addresses import Prefix, PublicKey


class Severity(StrEnum):
    """Severity of a finding: PagerDuty's own four, worst first."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)

    def at_least(self, other: Severity) -> bool:
        """Tell whether this is as bad as `other`, or worse."""
        return self.rank <= other.rank


class Verdict(StrEnum):
    """Verdict of a sweep. Not seeing is not clean."""

    CLEAN = "clean"
    FINDINGS = "findings"
    INCONCLUSIVE = "inconclusive"


class NodeId(NamedTuple):
    """Node's name with its datacenter, within which alone it is unique; "" where none is known."""

    datacenter: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}@{self.datacenter}" if self.datacenter else self.name


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

    source: Literal["consul", "file", "ssh", "sweep"]
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


_SCOPES = {
    "consul": GapScope.REGISTRY,
    "file": GapScope.REGISTRY,
    "ssh": GapScope.NODE,
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
class RouteTable:
    """Allowed-ips of a node as a value: the canonical text that all healthy nodes of a mesh share.

    One `key⇥prefix` (or `key⇥(none)`) a line, the device's own addresses included under its own key,
    sorted bytewise, no duplicates, each line ended by a newline.
    """

    text: bytes

    @property
    def digest(self) -> str:
        """Hash (sha256, hex) of the text, which a node sends in place of it."""
        return hashlib.sha256(self.text).hexdigest()

    def lines(self) -> list[bytes]:
        """Lines without their newlines."""
        return self.text.splitlines()


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
    digested: bool = True
    """True: the node sent a digest first. False: it could not, and its table came at full cost."""


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
class AuditPolicy:
    """Part of the configuration that decides verdicts; recorded, so that a replay decides alike."""

    device: str = "wg0"
    pools: tuple[Prefix, ...] = (Prefix("10.0.0.0/8"),)
    topology: Literal["full", "partial"] = "full"
    name_pattern: str | None = None
    region_pools: Mapping[str, Prefix] = field(default_factory=dict)
    minimum_coverage: float = 1.0
    shared: tuple[SharedAddress, ...] = ()


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
class Memory:
    """Memory of earlier alerted sweeps, as far as it helps to judge this one. Empty where there is no state."""

    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Key that a node's device held when it was last seen, where that was not the registered one."""
    unsettled: frozenset[NodeId] = frozenset()
    """Nodes whose registrations had not held still when the last sweep ended."""
    ghosts: frozenset[PublicKey] = frozenset()
    """Keys of standing findings of unregistered peers that were alerted."""


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


class Witness(StrEnum):
    """Source of a claim."""

    REGISTERED = "registered"
    DEVICE = "device"
    ROUTED = "routed"


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim of a key to an address, with its source."""

    witness: Witness
    prefix: Prefix
    public_key: PublicKey | None
    """None: a registration whose key cannot be read."""
    node: NodeId | None
    """None: a key that no registration knows."""
    where: str
    create_index: int | None = None
    modify_index: int | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """Observers that route one address to one key (or, `public_key` None, to nobody)."""

    public_key: PublicKey | None
    node: NodeId | None
    """Node that is registered under the key, else the one whose device holds it, else None."""
    observers: int
    regions: Mapping[str, int]
    """Observers by their own region; "" where a region is not known. Sums to `observers`."""
    sample: tuple[NodeId, ...] = ()
    """Sample of the observers, by name; never more than a handful."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of a finding, in a form that people and programs can check."""

    claims: tuple[Claim, ...] = ()
    routing: tuple[Pick, ...] = ()
    observers: int = 0
    """Number of observers that show it, for findings about observers' tables."""
    sample: tuple[NodeId, ...] = ()
    """Sample of those observers, by name."""
    facts: tuple[tuple[str, str], ...] = ()
    """Labelled values, such as ("name says", "fra")."""


class CheckIdent(StrEnum):
    """Base of the enums that spell idents of checks. It has no members: the checks give it theirs.

    So everything can take an ident for a type, and a plain text is none.
    """


Identity = tuple[str, ...]
"""Identity of a finding: texts that distinguish it from others of its check, the same in every sweep."""


def fingerprint(check: str, identity: str) -> str:
    """Make the identity of a finding across sweeps: 20 hex digits of sha256 over the check's ident and the subject."""
    return hashlib.sha256(f"{check}\0{identity}".encode("utf-8", "surrogatepass")).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference to a finding by its check and identity, whether or not there is one."""

    check: CheckIdent
    identity: Identity

    @property
    def fingerprint(self) -> str:
        """Fingerprint of that finding."""
        return fingerprint(self.check, " ".join(self.identity))


class GuessedCause(StrEnum):
    """Cause that may have brought a finding about."""

    ALLOCATOR_FALLBACK = "allocator-fallback"
    """The allocator could not read the registry and handed out a pool's first address."""
    PARALLEL_WRITERS = "parallel-writers"
    """Two writers chose an address before either had written it."""
    CLONED_IMAGE = "cloned-image"
    """A disk image was copied with the key on it."""
    REGISTERED_TWICE = "registered-twice"
    """One server is registered under several names."""
    COPIED_REGISTRATION = "copied-registration"
    """A registration was copied from another node's."""


class Sureness(StrEnum):
    """Sureness of a guess."""

    PROBABLE = "probable"
    """Guess whose other known explanations are excluded by the evidence."""
    POSSIBLE = "possible"

    @property
    def adverb(self) -> str:
        """Word that begins a sentence of a guess."""
        return {"probable": "Probably", "possible": "Possibly"}[self.value]


@dataclass(frozen=True, slots=True)
class Guess:
    """Guess at a cause that was not seen, and its sureness."""

    cause: GuessedCause
    sureness: Sureness
    explanation: str
    """Guessed cause, as a clause that follows the adverb: `the allocator fell back`."""
    facts: tuple[tuple[str, str], ...] = ()
    """Evidence of the guess, as labelled values."""

    @property
    def sentence(self) -> str:
        """Guess in words, marked as one."""
        return f"{self.sureness.adverb} {self.explanation}."


@dataclass(frozen=True, slots=True)
class Finding:
    """Finding of a check."""

    check: CheckIdent
    severity: Severity
    subject: str
    """Subject as people write it: an address, a node, a key. Made from `address` and `party`."""
    statement: str
    """One or two sentences of facts, without the guess."""
    routing_statement: str = ""
    """Sentence for `evidence.routing`; forms that draw the routing leave it out."""
    identity: Identity = ()
    """Values that identify it across sweeps; empty where `subject` does."""
    address: Prefix | None = None
    """Address that it is about; None where it is about a node or a key as a whole."""
    public_key: PublicKey | None = None
    """Key that it is about, where the subject is that key."""
    party: str = ""
    """Name of the node, key or place that it is about, beside an address (its holder) or in place of one."""
    guess: Guess | None = None
    """Guess at its cause."""
    nodes: tuple[NodeId, ...] = ()
    regions: tuple[str, ...] = ()
    evidence: Evidence = Evidence()
    follows_from: tuple[Reference, ...] = ()
    """Findings that would be its cause, likeliest first, if they turn out to be there too."""
    reached_elsewhere: bool = False
    """True: a look at one of its nodes led to another machine, so its nodes must be asked again, though unseen."""
    from_absence: bool = False
    """True: it rests on absence from the registry, which proves nothing where that was not read."""
    hidden_at: tuple[NodeId, ...] = ()
    """Unseen nodes whose devices may explain it: it proves nothing while they are not seen."""
    confirmed: bool | None = None
    """True: shown again on a second look. False: looked at again, and gone. None: not looked at twice."""
    caused_by: str | None = None
    """Fingerprint of the finding that this one follows from."""
    agreed: str | None = None
    """Reason and end of the agreement on it (`[[shared]]`): then it does not count. None: it does."""
    silenced: str | None = None
    """Silence that mutes its alerts. The finding counts all the same."""

    @property
    def reference(self) -> Reference:
        """Reference by which other findings name this one as their cause."""
        return Reference(self.check, self.identity or (self.subject,))

    @property
    def fingerprint(self) -> str:
        """Identity across sweeps, of check and subject, never a time or an observer."""
        return self.reference.fingerprint

    @property
    def facts(self) -> str:
        """Evidence in words, routing included."""
        return f"{self.statement} {self.routing_statement}" if self.routing_statement else self.statement

    @property
    def summary(self) -> str:
        """Facts, then the guess, if there is one."""
        return f"{self.facts} {self.guess.sentence}" if self.guess is not None else self.facts

    @property
    def probable_cause(self) -> GuessedCause | None:
        """Name of the guessed cause."""
        return self.guess.cause if self.guess is not None else None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Coverage of the fleet by a sweep."""

    registered: int
    """Nodes that the registry lists."""
    observed: int
    """Of these, the ones whose own device answered."""
    distinct_tables: int = 0
    undigested: int = 0
    """Nodes that sent their table at full cost because they could not digest it."""
    unreadable: int = 0
    """Of the registered, those that could not be asked because nothing in their registration leads to them."""

    @property
    def share(self) -> float:
        """Share of nodes seen, 0 to 1; 0 where nothing is registered: an empty registry is not a covered one."""
        return self.observed / self.registered if self.registered else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Report of a sweep, for every format alike."""

    verdict: Verdict
    started_at: datetime
    finished_at: datetime
    coverage: Coverage
    findings: tuple[Finding, ...]
    """Worst first, in a fixed order. Those that were gone on a second look are in it, `confirmed` False."""
    gaps: tuple[Gap, ...]
    in_flight: tuple[NodeId, ...] = ()
    """Nodes that had not held still when the sweep ended: their registrations, or what shows a finding of theirs."""
    cut_short: str | None = None
    node_regions: Mapping[NodeId, str] = field(default_factory=dict)
    """Regions of the nodes that findings and gaps name, for display."""
    node_keys: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Registered keys of the nodes that findings name, for display."""
    ambiguous_names: frozenset[str] = frozenset()
    """Names that are registered in more than one datacenter."""
    registered: frozenset[NodeId] = frozenset()
    """Every node that the registry lists, readable or not, in flight or not."""
    retired: frozenset[NodeId] = frozenset()
    """Nodes that the registry lists as no longer in the mesh; none of them is in `registered`."""
    observed: frozenset[NodeId] = frozenset()
    """Nodes whose own device answered."""
    seen_enough: bool = True
    """True: the sweep saw enough to be clean: the registry whole, enough of its nodes, nothing withheld."""
    others: OtherKeys = OtherKeys()
    """Keys under the registry's prefix that are no registrations."""
    covered: bool = True
    """True: enough nodes were seen, however much of the registry was read."""
    withheld: frozenset[str] = frozenset()
    """Fingerprints of findings that are withheld, because unseen nodes or registrations may explain them."""
    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Live keys of devices that differ from the registered ones, as seen now."""

    def name(self, node: NodeId) -> str:
        """Name the node; with its datacenter only where the name alone is ambiguous."""
        return str(node) if node.name in self.ambiguous_names else node.name

    @property
    def standing(self) -> tuple[Finding, ...]:
        """Findings that count: not those that were gone when looked at again, nor those agreed on."""
        return tuple(item for item in self.findings if item.confirmed is not False and item.agreed is None)
