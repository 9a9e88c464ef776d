"""A small fleet, findings and reports written down in a few words, and a watch that plans sweep after sweep.

The fleet is a … h in datacenter dc1 and x, y in dc2. A `Watch` takes everything that was planned for
accepted, and feeds it back into the memory of the next plan.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from alerts.incidents import groups, incident
from alerts.models import (
    AlertPlan,
    Incident,
    Log,
    LogEntry,
    Notification,
    NotifyReason,
    Policy,
    Route,
    Silence,
    Status,
)
from alerts.plan import plan
from auditor.checks.idents import Ident
from auditor.errors import GapReason, InvalidValue
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.findings import (
    Claim,
    Evidence,
    Finding,
    Guess,
    GuessedCause,
    Pick,
    Severity,
    Sureness,
    Witness,
)
from auditor.values.models import Gap, NodeId
from auditor.values.report import Coverage, Report, Verdict
from tests.fleets import key_of

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def node(name: str) -> NodeId:
    """`a` of the fleet; `a@dc3` of another datacenter."""
    plain, _, datacenter = name.partition("@")
    return NodeId(datacenter or ("dc2" if plain in ("x", "y") else "dc1"), plain)


def nodes(names: Iterable[str]) -> tuple[NodeId, ...]:
    """Several, in the order given."""
    return tuple(map(node, names))


FLEET = frozenset(nodes("abcdefghxy"))


RACE = Guess(GuessedCause.PARALLEL_WRITERS, Sureness.PROBABLE, "a race")


def _address(subject: str) -> Prefix | None:
    try:
        return parse_prefix(subject)
    except InvalidValue:
        return None


def finding(
    subject: str,
    names: Iterable[str] = "",
    *,
    check: str = "duplicate-address",
    severity: Severity = Severity.CRITICAL,
    by: Iterable[str] = "",
    observers: int | None = None,
    routed: bool = False,
    follows_from: Iterable[Finding] = (),
    cause: Finding | None = None,
    statement: str = "Two hold it.",
    guess: Guess | None = RACE,
    regions: Iterable[str] = ("fra",),
) -> Finding:
    """A finding about these nodes, shown `by` these observers (by everybody, if it is `routed`)."""
    claimants, sample = nodes(names), nodes(by)
    return Finding(
        check=Ident(check),
        severity=severity,
        subject=subject,
        statement=statement,
        address=_address(subject),
        guess=guess,
        reached_elsewhere=check == "wrong-host",
        from_absence=check == "unregistered-peer",
        nodes=claimants,
        regions=tuple(regions),
        evidence=Evidence(
            claims=tuple(
                Claim(Witness.REGISTERED, Prefix("10.0.0.9/32"), key_of(str(item)), item, "wg0")
                for item in claimants
            ),
            routing=(Pick(key_of("a"), node("a"), 3, {"fra": 3}),) if routed else (),
            observers=len(sample) if observers is None else observers,
            sample=sample,
        ),
        follows_from=tuple(item.reference for item in follows_from),
        caused_by=cause.fingerprint if cause is not None else None,
    )


PAIR = finding("10.0.0.9", "ab")
"""a and b claim one address; only the registry and their own devices say so."""


def gap(
    reason: GapReason = GapReason.CONSUL_TIMEOUT,
    source: Literal["consul", "file", "ssh", "witness", "sweep"] = "consul",
    datacenter: str | None = None,
) -> Gap:
    """Something of the registry, or of the sweep, that could not be seen."""
    return Gap(source, reason, "planted", None, datacenter)


def report(
    *findings: Finding,
    unseen: Iterable[str] = "",
    unread: Collection[str] = (),
    gone: Iterable[str] = "",
    in_flight: Iterable[str] = "",
    gaps: Sequence[Gap] = (),
    fleet: Iterable[NodeId] = FLEET,
    ambiguous: Iterable[str] = (),
    withheld: Iterable[Finding] = (),
) -> Report:
    """What a sweep says that did not see some nodes, did not read some datacenters, and found some `gone`."""
    registered = frozenset(item for item in fleet if item.datacenter not in unread) - frozenset(nodes(gone))
    observed = registered - frozenset(nodes(unseen))
    missing = sorted(registered - observed)
    every = (
        *(gap(datacenter=datacenter) for datacenter in unread),
        *(Gap("ssh", GapReason.CONNECT_REFUSED, "planted", item.name, item.datacenter) for item in missing),
        *gaps,
    )
    whole = all(item.source == "ssh" for item in every)
    return Report(
        verdict=Verdict.FINDINGS if findings else Verdict.CLEAN,
        started_at=NOW,
        finished_at=NOW,
        coverage=Coverage(len(registered), len(observed)),
        findings=findings,
        gaps=every,
        in_flight=nodes(in_flight),
        ambiguous_names=frozenset(ambiguous),
        registered=registered,
        observed=observed,
        seen_enough=whole and registered == observed,
        covered=bool(observed) and registered == observed,
        withheld=frozenset(item.fingerprint for item in withheld),
        drifted={},
    )


def silence(
    ident: str = "s1",
    *,
    checks: Iterable[str] = (),
    addresses: Iterable[str] = (),
    names: Iterable[str] = (),
    regions: Iterable[str] = (),
    start: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=365),
) -> Silence:
    """A silence that holds in all tests' time, unless they say otherwise."""
    return Silence(
        ident, start, end, "anna", "moving racks",
        frozenset(checks), frozenset(addresses), frozenset(names), frozenset(regions),
    )  # fmt: skip


ONE_ROUTE = Policy(routes=(Route("slack"),), blind_after=1000)
"""One notifier that wants everything; blindness is left to the tests that are about it."""


class Watch:
    """Sweep after sweep, each with the memory of those before it; everything that is sent is accepted."""

    def __init__(self, policy: Policy = ONE_ROUTE) -> None:
        self.policy = policy
        self.log = Log()
        self.now = NOW

    def sweep(
        self, seen: Report, silences: Iterable[Silence] = (), *, after: timedelta = MINUTE
    ) -> AlertPlan:
        """The plan for one more sweep, `after` the one before."""
        self.now += after
        made = plan(seen, self.log, silences, self.now, self.policy)
        self.log = fed_back(self.log, made, self.now)
        return made

    def reasons(
        self, seen: Report, silences: Iterable[Silence] = (), *, after: timedelta = MINUTE
    ) -> list[str]:
        """What one more sweep sends: `duplicate-address first-notification`."""
        made = self.sweep(seen, silences, after=after)
        return [f"{item.incident.check} {item.reason.value}" for item in made.notifications]


def fed_back(log: Log, made: AlertPlan, now: datetime) -> Log:
    """The memory after a plan of which everything was accepted."""
    entries = dict(log.entries)
    for item in made.notifications:
        entries[item.notifier, item.incident.fingerprint] = LogEntry(
            item.notifier,
            item.incident.fingerprint,
            item.status,
            item.incident.severity,
            item.incident.nodes,
            now,
            item.incident,
            paged(log, item, now),
        )
    for pair in made.closed:
        entries[pair] = replace(entries[pair], status=Status.RESOLVED)
    return Log(
        sweep=log.sweep + 1,
        entries=entries,
        standing=made.standing,
        nodes=made.nodes,
        datacenters=made.datacenters,
        blind_sweeps=made.blind_sweeps,
        baseline=made.baseline,
        ended=made.ended,
        unseen=made.unseen,
        drifted=made.drifted,
    )


def paged(log: Log, item: Notification, now: datetime) -> tuple[datetime, ...]:
    """When the last two pages of an incident went to a notifier."""
    before = log.entries.get((item.notifier, item.incident.fingerprint))
    pages = before.pages if before is not None else ()
    return pages if item.status is Status.RESOLVED else (*pages, now)[-2:]


FIRST = NotifyReason.FIRST_NOTIFICATION.value
RESOLVED = NotifyReason.RESOLVED.value
PAGED = f"duplicate-address {FIRST}"
OVER = f"duplicate-address {RESOLVED}"


def incidents(told: Report) -> tuple[Incident, ...]:
    """The incidents of a report that nothing went before."""
    return tuple(incident(told, group) for group in groups(told))
