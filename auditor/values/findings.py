"""What a check finds: a finding with its severity, its evidence, its cause and the guess at what brought it about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import AddressWrite, NodeId
from auditor.values.witness_answers import Reached


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
    everyone: Callable[[], tuple[NodeId, ...]] | None = field(default=None, compare=False, repr=False)
    """Names all of the observers, in order: see `Evidence.everyone`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence of a finding, in a form that people and programs can check."""

    claims: tuple[Claim, ...] = ()
    routing: tuple[Pick, ...] = ()
    observers: int = 0
    """Number of observers that show it, for findings about observers' tables."""
    sample: tuple[NodeId, ...] = ()
    """Sample of those observers, by name."""
    everyone: Callable[[], tuple[NodeId, ...]] | None = field(default=None, compare=False, repr=False)
    """Names all of those observers, in order. A function, for a list with each finding would be observers × peers
    in a bad incident. None: `sample`, or the routing, names them."""
    facts: tuple[tuple[str, str], ...] = ()
    """Labelled values, such as ("name says", "fra")."""
    writes: tuple[AddressWrite, ...] = ()
    """Writes by which the nodes got the address, in the order of their times; those that are known."""
    answers: tuple[Reached, ...] = ()
    """Who answered at the address, asked over the mesh: most observers first, failed questions last. Empty: nobody
    was asked."""


class CheckIdent(StrEnum):
    """Base of the enums that spell idents of checks. It has no members: the checks give it theirs.

    So everything can take an ident for a type, and a plain text is none.
    """


Identity = tuple[str, ...]
"""Identity of a finding: texts that distinguish it from others of its check, the same in every sweep."""


@lru_cache(maxsize=10_000)
def fingerprint(check: str, identity: str, mesh: str = "") -> str:
    """Make the identity of a finding across sweeps: 20 hex digits of sha256 over the check's ident and the subject.

    mesh: the name of its mesh, so that two meshes with one address are told apart; "": it has no name.
    """
    text = f"{mesh}\0{check}\0{identity}" if mesh else f"{check}\0{identity}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Reference:
    """Reference to a finding by its check and identity, whether or not there is one."""

    check: CheckIdent
    identity: Identity
    mesh: str = ""
    """Name of the mesh; "" where it has none."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of that finding."""
        return fingerprint(self.check, " ".join(self.identity), self.mesh)


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
    answers_statement: str = ""
    """Sentence for `evidence.answers`; forms that draw the answers leave it out."""
    disagreement: str = ""
    """Sentence on answers that the route tables do not explain; "": there are none. Forms say it on its own."""
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
    from_answers: bool = False
    """True: it rests on answers of witnesses, who were asked after all looks, and twice."""
    confirmed: bool | None = None
    """True: shown again on a second look. False: looked at again, and gone. None: not looked at twice."""
    caused_by: str | None = None
    """Fingerprint of the finding that this one follows from."""
    agreed: str | None = None
    """Reason and end of the agreement on it (`[[shared]]`): then it does not count. None: it does."""
    silenced: str | None = None
    """Silence that mutes its alerts. The finding counts all the same."""
    mesh: str = ""
    """Name of the mesh; "" where it has none."""

    @property
    def reference(self) -> Reference:
        """Reference by which other findings name this one as their cause."""
        return Reference(self.check, self.identity or (self.subject,), self.mesh)

    @property
    def fingerprint(self) -> str:
        """Identity across sweeps, of check and subject, never a time or an observer."""
        return self.reference.fingerprint

    @property
    def facts(self) -> str:
        """Evidence in words, routing and answers included."""
        return " ".join(
            filter(None, (self.statement, self.routing_statement, self.answers_statement, self.disagreement))
        )

    @property
    def summary(self) -> str:
        """Facts, then the guess, if there is one."""
        return f"{self.facts} {self.guess.sentence}" if self.guess is not None else self.facts

    @property
    def probable_cause(self) -> GuessedCause | None:
        """Name of the guessed cause."""
        return self.guess.cause if self.guess is not None else None
