"""Plan of notifications after a sweep: a pure function of report, memory, silences, time and policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict

from alerts.flapping import with_flapping
from alerts.incidents import Group, groups, incident
from alerts.models import (
    BLIND_CHECK,
    UNSEEN_CHECK,
    AlertPlan,
    Incident,
    Log,
    LogEntry,
    Notification,
    NotifyReason,
    Policy,
    Route,
    Silence,
    Standing,
    Status,
)
from alerts.sight import Sight, with_reasons
from alerts.silences import muting
from auditor.values.findings import Finding, Identity, Severity, fingerprint
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import count, listed

OF_ITSELF: Mapping[str, Identity] = {BLIND_CHECK: ("sweep",), UNSEEN_CHECK: ("nodes",)}
"""Checks of the incidents that no finding leads, each with the identity of its only one."""
MOST_PAGES = 2
"""Most firing notifications of one incident to one notifier within `PAGES_IN`."""
PAGES_IN = timedelta(hours=1)


def blindness(mesh: str = "") -> str:
    """Return the fingerprint of blindness in a mesh: there is only one such incident."""
    return fingerprint(BLIND_CHECK, " ".join(OF_ITSELF[BLIND_CHECK]), mesh)


def unseen_nodes(mesh: str = "") -> str:
    """Return the fingerprint of the incident of all nodes that do not answer: they mostly have one cause."""
    return fingerprint(UNSEEN_CHECK, " ".join(OF_ITSELF[UNSEEN_CHECK]), mesh)


class Rest(TypedDict):
    """Places of an incident that must be seen without it before it resolves."""

    nodes: frozenset[NodeId]
    everybody: bool
    last_sweep: int


def plan(report: Report, log: Log, silences: Iterable[Silence], now: datetime, policy: Policy) -> AlertPlan:
    """Plan which notifications to send after this sweep, each with its reason, and the memory to keep.

    The order of findings, silences and routes does not matter. Nothing resolves while a gap hides a
    place that its evidence came from; a gap elsewhere holds nothing up. Silences take firing notifications away
    and do nothing else.
    """
    silences = tuple(silences)
    blind_mark, unseen_mark = blindness(report.mesh), unseen_nodes(report.mesh)
    sight = Sight(report, log, now, policy, blind_before=blind_mark in log.standing)
    builder = _StandingBuilder(report, log, sight, now, policy)
    standing = builder.standing()
    blind_sweeps = log.blind_sweeps + 1 if sight.blind else 0
    if blind_sweeps >= policy.blind_after or (sight.blind and blind_mark in log.standing):
        standing[blind_mark] = _blind_standing(blind_mark, report, sight.blind, log, now)
    unseen = _unseen_since(report, log, sight)
    known = set(log.standing[unseen_mark].incident.nodes) if unseen_mark in log.standing else set()
    dark = {
        node: began
        for node, began in unseen.items()
        if log.sweep - began + 1 >= policy.blind_after
        # While most are not seen, blindness covers them; a node that was not asked now is no news.
        and ((node in sight.reasons and not sight.few_seen) or _names((node,)) & known)
    }
    if dark:
        standing[unseen_mark] = _unseen_standing(unseen_mark, report, sight, dark, log, now)
    agreed = {item.fingerprint: item.agreed for item in report.findings if item.agreed is not None}
    words = {mark: f"Agreed on, {text}." for mark, text in agreed.items()} | builder.no_longer_audited()
    standing, ended = with_flapping(standing, log, now, final=words.keys())
    standing = dict(sorted(standing.items()))
    muted = {
        mark: silence.ident
        for mark, item in standing.items()
        if (silence := muting(item.incident, silences, now)) is not None
    }
    by_route = [_plan_route(route, log, standing, muted, words, now) for route in policy.routes]
    notifications = [item for found, _ in by_route for item in found]
    closed = [item for _, found in by_route for item in found]
    return AlertPlan(
        notifications=tuple(sorted(notifications, key=_sort_key)),
        standing=standing,
        resolved=tuple(sorted(log.standing.keys() - standing.keys())),
        silenced=muted,
        nodes={**log.nodes, **dict.fromkeys(sight.judged, log.sweep)},
        datacenters={**log.datacenters, **dict.fromkeys(sight.whole, log.sweep)},
        blind_sweeps=blind_sweeps,
        blind=sight.blind,
        closed=tuple(sorted(closed)),
        baseline=sight.baseline,
        ended=dict(sorted(ended.items())),
        unseen=unseen,
        drifted={node: key for node, key in log.drifted.items() if sight.hides(node)} | dict(report.drifted),
        unsettled=sight.unsettled,
    )


# -- standing incidents


class _StandingBuilder:
    """Compares one report with the incidents that stood before it."""

    def __init__(self, report: Report, log: Log, sight: Sight, now: datetime, policy: Policy) -> None:
        self._report, self._log, self._sight, self._now = report, log, sight, now
        self._policy = policy
        self._hidden_in: dict[int, frozenset[NodeId]] = {}
        """By the number of a sweep, the nodes that it was the last to observe and that are hidden now."""
        self._unjudged = report.observed - sight.judged

    def standing(self) -> dict[str, Standing]:
        """List the incidents that stand after this sweep: those it shows, and those that a gap may hide."""
        before = {
            mark: old for mark, old in self._log.standing.items() if old.incident.check not in OF_ITSELF
        }
        firing = {mark for (_, mark), entry in self._log.entries.items() if entry.status is Status.FIRING}
        shown = groups(self._report, own=before.keys())
        marks = {finding.fingerprint for finding, _ in shown}
        hidden = {
            mark: self._hidden(old, withheld=mark in self._report.withheld)
            for mark, old in before.items()
            if mark not in marks and (mark in self._report.withheld or self._may_stand(old))
        }
        standing: dict[str, Standing] = {}
        travelling: dict[str, list[Finding]] = defaultdict(list)
        for group in shown:
            finding, followers = group
            mark = finding.fingerprint
            known = mark in before or mark in firing
            cause = None if known else self._hidden_cause(group, hidden)
            if cause is not None:
                travelling[cause] += (finding, *followers)
            elif known or not (self._sight.unread and finding.from_absence):
                # A registry that was not read makes its peers look unregistered: that is blindness.
                standing[mark] = self._seen(group, before.get(mark))
        for mark, findings in travelling.items():
            hidden[mark] = self._resting_on(findings, before[mark], hidden[mark])
        return standing | hidden

    def _hidden_cause(self, group: Group, hidden: Mapping[str, Standing]) -> str | None:
        """Find the hidden incident that this group follows from; None where there is none at least as severe."""
        finding, _ = group
        severity = incident(self._report, group).severity
        for mark in (cause.fingerprint for cause in finding.follows_from):
            if mark in hidden and hidden[mark].incident.severity.at_least(severity):
                return mark
        return None

    def no_longer_audited(self) -> dict[str, str]:
        """Word, by fingerprint, why incidents in datacenters that are no longer audited end."""
        found = {}
        for mark, old in self._log.standing.items():
            places = {*old.datacenters, *(node.datacenter for node in old.nodes)}
            lost = sorted(place for place in places if not self._policy.audits(place))
            if lost:
                found[mark] = f"{_datacenters(lost)} no longer audited."
        return found

    # -- not shown

    def _may_stand(self, old: Standing) -> bool:
        return not self._registries_seen(old) or bool(self._unseen(old))

    def _hidden(self, old: Standing, *, withheld: bool) -> Standing:
        """Keep an incident that a gap may hide, with the places that must be seen again."""
        unseen = replace(old.incident, not_seen_since=old.incident.not_seen_since or old.last_seen)
        if self._registries_seen(old) and not withheld:
            return replace(old, incident=unseen, nodes=self._unseen(old), everybody=False)
        return replace(old, incident=unseen, **self._all_of(old))

    def _registries_seen(self, old: Standing) -> bool:
        # Half of what claims an address is no finding. So nothing counts as seen without it in a sweep
        # that has not read all the registries which its evidence came from.
        if not {place for place in old.datacenters if self._policy.audits(place)} <= self._sight.whole:
            return False
        # A node that left a registry that shrank may only be out of sight; one that is still listed was read.
        return not self._sight.shrunk or set(old.incident.nodes) <= _names(
            self._report.registered | self._report.retired
        )

    def _unseen(self, old: Standing) -> frozenset[NodeId]:
        """Select the nodes that must be seen again after this sweep, which read the registries whole.

        Observers may be seen in one sweep or another. The claimants count only together: a sweep that sees
        one of two without the other finds nothing, while both still hold the address.
        """
        unseen = {node for node in old.nodes if self._sight.hides(node)} | self._hidden_observers(old)
        claimants = {node for node in old.nodes if _names((node,)) & set(old.incident.nodes)}
        return frozenset(unseen | claimants if unseen & claimants else unseen)

    def _hidden_observers(self, old: Standing) -> frozenset[NodeId]:
        """Select the hidden ones of those observed when the incident last showed, if its evidence came from all."""
        if not old.everybody:
            return frozenset()
        # A storm has hundreds of incidents that one sweep of thousands of nodes showed.
        if old.last_sweep not in self._hidden_in:
            self._hidden_in[old.last_sweep] = frozenset(
                node
                for node, sweep in self._log.nodes.items()
                if sweep == old.last_sweep and self._sight.hides(node)
            )
        return self._hidden_in[old.last_sweep]

    def _all_of(self, old: Standing) -> Rest:
        """Require every place of the incident to be seen again, as if this sweep had shown it."""
        return {
            "nodes": old.nodes | self._hidden_observers(old),
            "everybody": old.everybody,
            "last_sweep": self._log.sweep,
        }

    # -- shown

    def _seen(self, group: Group, before: Standing | None) -> Standing:
        finding, followers = group
        first_seen = before.first_seen if before is not None else self._now
        current = replace(incident(self._report, group), since=first_seen)
        if before is not None:
            current = self._with_hidden_claimants(current, before)
        plain = Standing(current, first_seen, self._now, self._log.sweep, frozenset(), frozenset(), False)
        return self._resting_on((finding, *followers), before, plain)

    def _resting_on(self, findings: Sequence[Finding], before: Standing | None, now: Standing) -> Standing:
        """Add the places that must be seen again: where the incident shows now, and those hidden since it did."""
        observed = self._report.observed
        everybody = any(map(_by_everybody, findings))
        datacenters = {node.datacenter for item in findings for node in _claimants(item)}
        nodes = {
            node
            for item in findings
            for node in (*_claimants(item), *item.evidence.sample)
            # Asked for a node, another one answered: the way there is the place to look at again.
            if node in observed or item.reached_elsewhere
        }
        if before is not None:
            if self._registries_seen(before):
                nodes |= self._unseen(before)
            else:
                rest = self._all_of(before)
                datacenters |= before.datacenters
                nodes |= rest["nodes"]
                everybody |= rest["everybody"]
        if everybody:
            nodes |= self._unjudged  # their number in the memory will not be this sweep's
        return replace(
            now,
            last_sweep=self._log.sweep,
            datacenters=frozenset(datacenters),
            nodes=frozenset(nodes),
            everybody=everybody,
        )

    def _with_hidden_claimants(self, found: Incident, before: Standing) -> Incident:
        """Add the earlier claimants that a gap now hides: not seeing them is no change."""
        lost = set(before.incident.nodes) - set(found.nodes)
        kept = lost & _names(node for node in before.nodes if self._sight.hides(node))
        if not self._registries_seen(before):
            kept |= lost - _names(self._report.registered)
        if not kept:
            return found
        return replace(
            found,
            nodes=tuple(sorted({*found.nodes, *kept})),
            regions=tuple(sorted({*found.regions, *before.incident.regions})),
        )


def _names(nodes: Iterable[NodeId]) -> set[str]:
    """Spell each node in both ways a report may use: by name, and with its datacenter."""
    return {name for node in nodes for name in (node.name, str(node))}


def _claimants(finding: Finding) -> Iterable[NodeId]:
    yield from finding.nodes
    for claim in finding.evidence.claims:
        if claim.node is not None:
            yield claim.node


def _by_everybody(finding: Finding) -> bool:
    evidence = finding.evidence
    if finding.from_answers:
        return False  # its observers are few, and all of them in the sample
    return bool(evidence.routing) or evidence.observers > len(evidence.sample)


def _datacenters(names: Sequence[str]) -> str:
    own = "the agent's own" if "" in names else ""
    named = listed([name for name in names if name]) if any(names) else ""
    several = len(names) > 1
    if not named:
        return "The agent's own datacenter is"
    return f"The datacenter{'s' if several else ''} {named}{f' and {own}' if own else ''} {'are' if several else 'is'}"


def _unseen_since(report: Report, log: Log, sight: Sight) -> dict[NodeId, int]:
    """List the unseen nodes, each with the number of the first sweep that did not see it.

    A node that was not asked in this sweep, or whose registry was not read, stays in the list.
    """
    still = {
        node: began
        for node, began in log.unseen.items()
        if sight.hides(node)
        and node not in report.observed
        and not (report.covered and node in report.registered)
    }
    now = {node: log.unseen.get(node, log.sweep) for node in sight.reasons}
    return dict(sorted((still | now).items()))


def _unseen_standing(
    mark: str, report: Report, sight: Sight, dark: Mapping[NodeId, int], log: Log, now: datetime
) -> Standing:
    before = log.standing.get(mark)
    first_seen = before.first_seen if before is not None else now
    nodes = f"{count(len(dark), 'registered node')} of {report.coverage.registered:,}"
    unseen = Incident(
        fingerprint=mark,
        check=UNSEEN_CHECK,
        severity=Severity.WARNING,
        subject="nodes not seen",
        address="",
        summary=f"{nodes} cannot be seen: {with_reasons(report, dark, sight.reasons)}.",
        guess="",
        nodes=tuple(sorted(map(report.name, dark))),
        regions=tuple(sorted({report.node_regions[node] for node in dark if node in report.node_regions})),
        since=first_seen,
        mesh=report.mesh,
    )
    return Standing(unseen, first_seen, now, log.sweep, frozenset(), frozenset(), everybody=False)


def _blind_standing(mark: str, report: Report, why: tuple[str, ...], log: Log, now: datetime) -> Standing:
    before = log.standing.get(mark)
    first_seen = before.first_seen if before is not None else now
    more = f"; and {len(why) - 3:,} more" if len(why) > 3 else ""
    blind = Incident(
        fingerprint=mark,
        check=BLIND_CHECK,
        severity=Severity.ERROR,
        subject="the audit itself",
        address="",
        summary=f"The audit cannot see enough to say clean: {'; '.join(why[:3])}{more}.",
        guess="",
        nodes=(),
        regions=(),
        since=first_seen,
        mesh=report.mesh,
    )
    return Standing(blind, first_seen, now, log.sweep, frozenset(), frozenset(), everybody=False)


# -- routes


def _plan_route(
    route: Route,
    log: Log,
    standing: Mapping[str, Standing],
    muted: Mapping[str, str],
    words: Mapping[str, str],
    now: datetime,
) -> tuple[list[Notification], list[tuple[str, str]]]:
    """Plan one notifier's notifications, and list the ended incidents that it needs no resolve for."""
    sent = {mark: entry for (notifier, mark), entry in log.entries.items() if notifier == route.notifier}
    notifications = [
        Notification(route.notifier, reason, Status.FIRING, item.incident, now)
        for mark, item in standing.items()
        if mark not in muted and (reason := _reason(route, item, sent.get(mark), now)) is not None
    ]
    over = [
        (mark, entry)
        for mark, entry in sent.items()
        if mark not in standing and entry.status is Status.FIRING
    ]
    if not route.send_resolved:
        return notifications, [(route.notifier, mark) for mark, _ in over]
    for mark, entry in over:
        since = log.standing[mark].first_seen if mark in log.standing else entry.incident.since
        over_now = replace(entry.incident, since=since, not_seen_since=None)
        if mark in words:
            # It may still be so: a notification that it is over must say why.
            over_now = replace(over_now, summary=f"{words[mark]} It was: {over_now.summary}")
        notifications.append(
            Notification(route.notifier, NotifyReason.RESOLVED, Status.RESOLVED, over_now, now)
        )
    return notifications, []


def _reason(route: Route, item: Standing, sent: LogEntry | None, now: datetime) -> NotifyReason | None:
    """Give the reason to notify this notifier now; None: no reason. Every route takes blindness.

    A page beyond `MOST_PAGES` waits for a later sweep, and goes if it still applies then.
    """
    found = item.incident
    if found.check != BLIND_CHECK and not _wants(route, found):
        return None
    if sent is None:
        return NotifyReason.FIRST_NOTIFICATION
    if _paged_enough(route, sent, now):
        return None
    if sent.status is Status.RESOLVED:
        return NotifyReason.FLAPPING if item.flapping is not None else NotifyReason.FIRST_NOTIFICATION
    if found.severity.rank < sent.severity.rank:
        return NotifyReason.SEVERITY_RAISED
    if _other_names(found, sent):
        return NotifyReason.CLAIMANTS_CHANGED
    if route.repeat_interval is not None and _elapsed(sent.sent_at, now, route.repeat_interval):
        return NotifyReason.REPEAT_INTERVAL_ELAPSED
    return None


def _paged_enough(route: Route, sent: LogEntry, now: datetime) -> bool:
    if route.repeat_interval == 0:
        return False  # it is sent with every sweep: a state, and no page
    # A page from the future was planned before the clock was set back.
    recent = [at for at in sent.pages if timedelta(0) <= now - at < PAGES_IN]
    return len(recent) >= MOST_PAGES


def _other_names(found: Incident, sent: LogEntry) -> bool:
    if found.check == UNSEEN_CHECK:
        # That some of them answer again is no news as long as others don't.
        return not _names_of(found.nodes) <= _names_of(sent.nodes)
    return not _same_names(found.nodes, sent.nodes)


def _names_of(names: Iterable[str]) -> set[str]:
    return set(map(_bare, names))


def _elapsed(since: datetime, now: datetime, seconds: float) -> bool:
    # With every sweep means every sweep, also where the clock was set back.
    return seconds == 0 or (now - since).total_seconds() >= seconds


def _same_names(one: Iterable[str], other: Iterable[str]) -> bool:
    """Tell whether both lists name the same nodes.

    A name is written with its datacenter while another datacenter has the name too: `a` and `a@dc1` are one.
    """
    left, right = set(one), set(other)
    pairs = zip(sorted(left - right, key=_bare), sorted(right - left, key=_bare), strict=False)
    return len(left) == len(right) and all(a.startswith(f"{b}@") or b.startswith(f"{a}@") for a, b in pairs)


def _bare(name: str) -> str:
    return name.rpartition("@")[0] or name


def _wants(route: Route, found: Incident) -> bool:
    return (
        found.severity.at_least(route.min_severity)
        and (not route.checks or found.check in route.checks)
        and (not route.regions or bool(route.regions & set(found.regions)))
    )


def _sort_key(notification: Notification) -> tuple[str, bool, int, str]:
    found = notification.incident
    return (
        notification.notifier,
        notification.status is Status.RESOLVED,
        found.severity.rank,
        found.fingerprint,
    )
