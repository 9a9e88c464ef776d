"""Values of alerting: incidents, notifications, silences, and the memory of what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from auditor.values.addresses import PublicKey
from auditor.values.findings import CheckIdent, Severity
from auditor.values.models import NodeId


class AlertIdent(CheckIdent):
    """Idents of incidents that no finding leads."""

    BLIND = "audit-blind"
    """The audit itself cannot see enough."""
    UNSEEN = "node-unseen"
    """Some nodes do not answer, and most do."""


BLIND_CHECK = AlertIdent.BLIND
UNSEEN_CHECK = AlertIdent.UNSEEN


class NotifyReason(StrEnum):
    """Reason of a notification. Each notification has exactly one."""

    FIRST_NOTIFICATION = "first-notification"
    FLAPPING = "flapping"
    """The incident had ended, and came back soon after."""
    CLAIMANTS_CHANGED = "claimants-changed"
    SEVERITY_RAISED = "severity-raised"
    REPEAT_INTERVAL_ELAPSED = "repeat-interval-elapsed"
    RESOLVED = "resolved"
    TEST = "test"
    """Asked for by `wgaudit alerts test`; never the outcome of a plan."""


class Status(StrEnum):
    """Stage in an incident's life."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Answered(NamedTuple):
    """Observers that met one server at the incident's address, asked over the mesh, or that got no answer."""

    source: str
    """Kind of server that was asked: an `AnswerSource`'s value."""
    node: str
    """Name of the node that the server is tied to; "": to none, or there was no answer."""
    said: str
    """Name or key fingerprint by which the server calls itself; "": there was no answer."""
    observers: int
    regions: tuple[tuple[str, int], ...]
    """Observers by their region."""
    failure: str = ""
    """Words for why there was no answer; "": there was one."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause with all that follows from it, paged as one."""

    fingerprint: str
    """Fingerprint of the leading finding; also the dedup_key everywhere. Of check, subject and a mesh's name alone."""
    check: str
    severity: Severity
    subject: str
    address: str
    """Canonical prefix that is contested or affected (`10.0.0.1/32`); "" where no address is."""
    summary: str
    """Facts in one sentence, without the guess."""
    guess: str
    """Guessed cause, as a sentence that says how sure it is; "" where there is none."""
    nodes: tuple[str, ...]
    """Names of the claimants, sorted."""
    regions: tuple[str, ...]
    routing: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...] = ()
    """Destinations of the routes: (node or key, or "nobody"; observers; observers by their region)."""
    follows: tuple[tuple[str, int], ...] = ()
    """Checks of the following findings, each with its number of findings."""
    since: datetime | None = None
    """Time when the incident was first seen; None where no state remembers it."""
    not_seen_since: datetime | None = None
    """Time of the last sight, set while a gap hides the incident, or it flaps and is away."""
    flapping_since: datetime | None = None
    """Time since when the incident comes and goes; None: it does not."""
    mesh: str = ""
    """Name of the mesh when it was found; "" where it had none."""
    answers: tuple[Answered, ...] = ()
    """Who answered at the address, asked over the mesh; failures last. Empty: nobody was asked."""
    disagreement: str = ""
    """Sentence on answers that the routes do not explain; "": there are none."""
    drained: tuple[tuple[str, str], ...] = ()
    """Claimants that are out of production: name, and since when and by whom in words."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message about one incident to one notifier."""

    notifier: str
    reason: NotifyReason
    status: Status
    incident: Incident
    at: datetime | None = None
    """Time of planning: with fingerprint and notifier, the notification's identity. None: not planned."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Planned mute. All matchers that are set must match; a silence without any matches nothing."""

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
    """Selection of incidents for one notifier. Empty sets select everything."""

    notifier: str
    min_severity: Severity = Severity.INFO
    checks: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    send_resolved: bool = True
    repeat_interval: float | None = None
    """Seconds after which a standing incident is sent again. None: never. 0: with every sweep."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Last notification of one incident to one notifier: sent and accepted, or written to the outbox."""

    notifier: str
    fingerprint: str
    status: Status
    severity: Severity
    nodes: tuple[str, ...]
    sent_at: datetime
    incident: Incident
    """Incident as it was sent, for a resolve that may have no other source."""
    pages: tuple[datetime, ...] = ()
    """Times of planning of the last two firing notifications, or of all if there were fewer."""


@dataclass(frozen=True, slots=True)
class Flapping:
    """Period in which an incident came and went."""

    since: datetime
    """Time when it went away for the first time."""
    until: datetime
    """Time when it came back for the last time."""

    @property
    def lasted(self) -> timedelta:
        """Time that the incident must stay away before it is over, or stay before it is steady."""
        return self.until - self.since


@dataclass(frozen=True, slots=True)
class Ended:
    """Memory of an incident that ended lately."""

    first_seen: datetime
    at: datetime
    """Time of its end."""
    flapping_since: datetime | None = None
    """Time since when it flapped; None: it did not."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Memory of one unresolved incident, independent of notifiers."""

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
    """True: the evidence came from every node that was observed in that sweep, not from `nodes` alone."""
    flapping: Flapping | None = None
    """Period of flapping; None: the incident does not come and go."""
    away_since: datetime | None = None
    """Time when its places were first seen without it, set while it flaps and is away."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Size of the registry when it was last seen whole and not shrunk."""

    registered: int
    at: datetime
    datacenters: frozenset[str] = frozenset()
    """Datacenters whose nodes were counted."""


@dataclass(frozen=True, slots=True)
class Log:
    """Memory that a plan is made from: notifications sent, standing incidents, and when nodes were last seen."""

    sweep: int = 1
    """Number of the sweep to plan for; greater than every one before."""
    entries: Mapping[tuple[str, str], LogEntry] = field(default_factory=dict)
    """Entries by (notifier, fingerprint)."""
    standing: Mapping[str, Standing] = field(default_factory=dict)
    """By fingerprint: incidents that have not been resolved."""
    nodes: Mapping[NodeId, int] = field(default_factory=dict)
    """Number of the sweep that last observed each node, before this one."""
    datacenters: Mapping[str, int] = field(default_factory=dict)
    """Number of the sweep that last read each datacenter's registry whole, before this one."""
    blind_sweeps: int = 0
    """Number of consecutive sweeps before this one that saw too little."""
    baseline: Baseline | None = None
    ended: Mapping[str, Ended] = field(default_factory=dict)
    """By fingerprint: incidents that ended lately; one that comes back is the same incident."""
    unseen: Mapping[NodeId, int] = field(default_factory=dict)
    """Registered nodes that were not seen lately: number of the first sweep that did not see them."""
    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    """Live keys of devices that differed from the registered ones when last seen."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules of the plan: routes, and thresholds of blindness."""

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
    """Share of nodes lost since the last sweep above which a smaller registry counts as a loss of sight."""

    def audits(self, datacenter: str) -> bool:
        """Tell whether nodes of this datacenter are audited."""
        named = self.datacenters is None or datacenter in self.datacenters
        return named and datacenter not in self.left_out


@dataclass(frozen=True, slots=True)
class AlertPlan:
    """Notifications to send, and the memory to keep."""

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
    """Reasons in words why this sweep could not see enough; empty if it could."""
    closed: tuple[tuple[str, str], ...] = ()
    """(notifier, fingerprint) of resolved incidents whose route takes no resolves."""
    baseline: Baseline | None = None
    ended: Mapping[str, Ended] = field(default_factory=dict)
    unseen: Mapping[NodeId, int] = field(default_factory=dict)
    drifted: Mapping[NodeId, PublicKey] = field(default_factory=dict)
    unsettled: frozenset[NodeId] = frozenset()
    """Nodes whose registrations had not held still when the sweep ended."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Outcome of one delivery, as the other side answered."""

    notifier: str
    accepted: bool
    detail: str
    """One line: status code and what it means; never a secret."""
    attempts: int = 1
    permanent: bool = False
    """Refused for good: trying again would change nothing."""
