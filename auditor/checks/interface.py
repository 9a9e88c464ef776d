"""Interface of a check: an ident, a severity, a sentence, and a pure function from fleet to drafts of findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from auditor.checks.idents import Ident
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, PublicKey, format_prefix
from auditor.values.findings import Evidence, Finding, Guess, Identity, Reference, Severity
from auditor.values.models import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Finding as its check states it, before ident and severity are stamped on it."""

    identity: Identity
    """Values that identify the finding across sweeps; the ident is added. See auditor/checks/idents.py."""
    address: Prefix | None = None
    """Address that the finding is about, if it is about one."""
    public_key: PublicKey | None = None
    """Key that the finding is about, if its subject is one."""
    party: str = ""
    """Name of the node, key or place that it is about, beside or in place of an address."""
    relation: Literal["of", "on", "peers of"] = "of"
    """Relation of address and party: `10.0.0.1 of edge-fra-1`. `peers of` is about a party's whole peer list."""
    statement: str
    """Facts in one or two sentences."""
    routing_statement: str = ""
    """See `Finding`."""
    answers_statement: str = ""
    """See `Finding`."""
    disagreement: str = ""
    """See `Finding`."""
    guess: Guess | None = None
    nodes: tuple[NodeId, ...] = ()
    regions: tuple[str, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)
    follows_from: tuple[Reference, ...] = ()
    """Findings that would be its cause, likeliest first. Only those of checks before its own are looked for."""
    reached_elsewhere: bool = False
    """See `Finding`."""
    from_absence: bool = False
    """See `Finding`."""
    hidden_at: tuple[NodeId, ...] = ()
    """See `Finding`."""
    from_answers: bool = False
    """See `Finding`."""
    severity: Severity | None = None
    """Deliberate exception: this finding's own severity. None, nearly always: that of its check."""

    @property
    def subject(self) -> str:
        """Subject of the finding, as people write it."""
        if self.address is None:
            return f"peers of {self.party}" if self.relation == "peers of" else self.party
        address = format_prefix(self.address)
        return f"{address} {self.relation} {self.party}" if self.party else address


@dataclass(frozen=True, slots=True)
class Check:
    """Rule of the audit. Its ident is also its anchor in docs/findings.md and part of each finding's fingerprint."""

    ident: Ident
    severity: Severity
    says: str
    """Meaning of its findings, in one sentence."""
    run: Callable[[Fleet], Iterable[Draft]]
    """Function from the fleet alone to drafts, in any order."""

    def findings(self, fleet: Fleet) -> Iterator[Finding]:
        """Run the check, and stamp its ident, severity and mesh on each draft."""
        mesh = fleet.policy.mesh
        for draft in self.run(fleet):
            yield Finding(
                check=self.ident,
                severity=draft.severity or self.severity,
                subject=draft.subject,
                statement=draft.statement,
                routing_statement=draft.routing_statement,
                answers_statement=draft.answers_statement,
                disagreement=draft.disagreement,
                identity=draft.identity,
                address=draft.address,
                public_key=draft.public_key,
                party=draft.party,
                guess=draft.guess,
                nodes=draft.nodes,
                regions=draft.regions,
                evidence=draft.evidence,
                follows_from=tuple(replace(cause, mesh=mesh) for cause in draft.follows_from)
                if mesh
                else draft.follows_from,
                reached_elsewhere=draft.reached_elsewhere,
                from_absence=draft.from_absence,
                hidden_at=draft.hidden_at,
                from_answers=draft.from_answers,
                confirmed=True if draft.from_answers else None,
                mesh=mesh,
            )
