"""The values that alerting speaks in: incidents, notifications, silences, and the memory of what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, PublicKey, format_prefix, parse_public_key
from auditor.values.models import CheckIdent, NodeId, Severity
from auditor.values.text import for_shell


class AlertIdent(CheckIdent):
    """Idents of incidents that no finding leads."""

    BLIND = "audit-blind"
    """The audit itself cannot see enough."""
    UNSEEN = "node-unseen"
    """Some nodes do not answer, and most do."""


BLIND_CHECK = AlertIdent.BLIND
UNSEEN_CHECK = AlertIdent.UNSEEN


class NotifyReason(StrEnum):
    """Why somebody is told something. Each notification has exactly one."""

    FIRST_NOTIFICATION = "first-notification"
    FLAPPING = "flapping"
    """It had ended, and came back soon after."""
    CLAIMANTS_CHANGED = "claimants-changed"
    SEVERITY_RAISED = "severity-raised"
    REPEAT_INTERVAL_ELAPSED = "repeat-interval-elapsed"
    RESOLVED = "resolved"
    TEST = "test"
    """Asked for by `wgaudit alerts test`; never the outcome of a plan."""


class Status(StrEnum):
    """Where an incident is in its life."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause with all that follows from it: what is paged as one."""

    fingerprint: str
    """That of the finding that leads it; also the dedup_key everywhere. Never a time or an observer."""
    check: str
    severity: Severity
    subject: str
    address: str
    """Canonical prefix that it is about (`10.0.0.1/32`); "" where it is about no address."""
    summary: str
    """Facts, without the guess."""
    guess: str
    """The cause that is guessed, as a sentence that says how sure it is; "" where there is none."""
    nodes: tuple[str, ...]
    """The claimants, as people call them; sorted."""
    regions: tuple[str, ...]
    routing: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...] = ()
    """Who is routed where: (node or key, or "nobody"; observers; observers by their region)."""
    follows: tuple[tuple[str, int], ...] = ()
    """Checks of the findings that follow from it, with how many each."""
    since: datetime | None = None
    """When it was first seen; None while nobody remembers it."""
    not_seen_since: datetime | None = None
    """Set while a gap hides whether it still stands, and while it flaps and is away."""
    flapping_since: datetime | None = None
    """Since when it comes and goes; None: it does not."""

    @property
    def explain(self) -> str:
        """The command that tells its whole story."""
        if self.check == BLIND_CHECK:
            return "wgaudit sweep"
        try:
            if self.check == UNSEEN_CHECK:
                return (
                    f"wgaudit doctor --node {for_shell(self.nodes[0])}"
                    if len(self.nodes) == 1
                    else "wgaudit sweep"
                )
            return f"wgaudit explain {for_shell(self._target)}"
        except ValueError:  # no shell can spell this name; the report of a sweep has it
            return "wgaudit sweep"

    @property
    def _target(self) -> str:
        """The address, key or node that it is about, as `explain` takes it."""
        if self.address:
            return format_prefix(Prefix(self.address))
        if len(self.nodes) == 1 and not _is_key(self.subject):
            return self.nodes[0]
        return self.subject

    @property
    def docs(self) -> str:
        """Where the documentation explains it."""
        return f"docs/findings.md#{self.check}"


def _is_key(text: str) -> bool:
    try:
        parse_public_key(text)
    except InvalidValue:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell one notifier."""

    notifier: str
    reason: NotifyReason
    status: Status
    incident: Incident
    at: datetime | None = None
    """When it was planned: with fingerprint and notifier it tells one telling from the next. None: not planned."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A planned mute. All matchers that are set must match; one that sets none matches nothing."""

    ident: str
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    checks: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    """Canonical prefixes (`10.0.0.1/32`)."""
    nodes: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Route:
    """What one notifier wants to be told. Empty sets want everything."""

    notifier: str
    min_severity: Severity = Severity.INFO
    checks: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    send_resolved: bool = True
    repeat_interval: float | None = None
    """Seconds after which a standing incident is told again. None: never. 0: with every sweep."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What one notifier was last told of one incident: sent and accepted, or written to the outbox."""

    notifier: str
    fingerprint: str
    status: Status
    severity: Severity
    nodes: tuple[str, ...]
    sent_at: datetime
    incident: Incident
    """As it was told, for the resolve that may have nothing else to go by."""
    pages: tuple[datetime, ...] = ()
    """When the last two firing notifications of it were planned, or all if there were fewer."""


@dataclass(frozen=True, slots=True)
class Flapping:
    """An incident that comes and goes."""

    since: datetime
    """When it went away for the first time."""
    until: datetime
    """When it came back for the last time."""

    @property
    def lasted(self) -> timedelta:
        """So long it must stay away before it is over, or stay before it is steady."""
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Ended:
    """What is remembered of an incident that ended lately."""

    first_seen: datetime
    at: datetime
    """When it ended."""
    flapping_since: datetime | None = None
    """None: it did not flap."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of one incident, whomever it was told to."""

    incident: Incident
    first_seen: datetime
    last_seen: datetime
    last_sweep: int
    """Number of the sweep that last showed it."""
    datacenters: frozenset[str]
    """Registries that its evidence came from."""
    nodes: frozenset[NodeId]
    """Nodes whose own view its evidence came from."""
    everybody: bool
    """Its evidence came from every node that was observed in that sweep, not from `nodes` alone."""
    flapping: Flapping | None = None
    """None: it does not come and go."""
    away_since: datetime | None = None
    """Set while it flaps and is away: when its places were first seen without it."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How large the registry was when it was last seen whole and not shrunk."""

    registered: int
    at: datetime
    datacenters: frozenset[str] = frozenset()
    """Datacenters whose nodes were counted."""


@dataclass(frozen=True, slots=True)
class Log:
    """The memory that a plan is made from: what was sent, what stands, and what was last seen when."""

    sweep: int = 1
    """Number of the sweep that is being planned for; greater than every one before."""
    entries: Mapping[tuple[str, str], LogEntry] = field(default_factory=dict)
    """By (notifier, fingerprint)."""
    standing: Mapping[str, Standing] = field(default_factory=dict)
    """By fingerprint: incidents that have not been resolved."""
    nodes: Mapping[NodeId, int] = field(default_factory=dict)
    """Number of the sweep that last observed each node, before this one."""
    datacenters: Mapping[str, int] = field(default_factory=dict)
    """Number of the sweep that last read each datacenter's registry whole, before this one."""
    blind_sweeps: int = 0
    """How many sweeps that saw too little came right before this one."""
    baseline: Baseline | None = None
    ended: Mapping[str, Ended] = field(default_factory=dict)
    """By fingerprint: incidents that ended so lately that they are the same one if they come back."""
    unseen: Mapping[NodeId, int] = field(default_factory=dict)
    """Registered nodes that were not seen lately: number of the first sweep that did not see them."""
    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """The keys of devices that held another one than is registered, when they were last seen."""


@dataclass(frozen=True, slots=True)
class Policy:
    """When to tell what."""

    routes: tuple[Route, ...] = ()
    blind_after: int = 2
    """Sweeps in a row that make blindness an incident, and a node that they did not see an unseen one."""
    blind_below: float = 0.9
    """Share of nodes seen under which the audit itself is blind."""
    datacenters: frozenset[str] | None = None
    """Datacenters that are audited, by name; "" is the agent's own. None: every one."""
    left_out: frozenset[str] = frozenset()
    """Datacenters that are left out of every one."""
    shrink_share: float = 0.1
    """A registry that lost more than this share of its nodes since the last sweep is a loss of sight."""

    def audits(self, datacenter: str) -> bool:
        """Whether nodes of this datacenter are looked at."""
        named = self.datacenters is None or datacenter in self.datacenters
        return named and datacenter not in self.left_out


@dataclass(frozen=True, slots=True)
class AlertPlan:
    """What to send, and what to remember."""

    notifications: tuple[Notification, ...]
    standing: Mapping[str, Standing]
    """All incidents that stand after this sweep, by fingerprint."""
    resolved: tuple[str, ...]
    """Fingerprints that resolved with this sweep."""
    silenced: Mapping[str, str] = field(default_factory=dict)
    """Fingerprint to the ident of the silence that mutes it."""
    nodes: Mapping[NodeId, int] = field(default_factory=dict)
    datacenters: Mapping[str, int] = field(default_factory=dict)
    blind_sweeps: int = 0
    blind: tuple[str, ...] = ()
    """Why this sweep could not see enough, in words; empty if it could."""
    closed: tuple[tuple[str, str], ...] = ()
    """(notifier, fingerprint) of resolved incidents whose notifier does not want to hear of resolves."""
    baseline: Baseline | None = None
    ended: Mapping[str, Ended] = field(default_factory=dict)
    unseen: Mapping[NodeId, int] = field(default_factory=dict)
    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    unsettled: frozenset[NodeId] = frozenset()
    """Nodes whose registrations had not held still when the sweep ended."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the other side said to one delivery."""

    notifier: str
    accepted: bool
    detail: str
    """One line: status code and what it means; never a secret."""
    attempts: int = 1
    permanent: bool = False
    """Refused for good: trying again would change nothing."""
