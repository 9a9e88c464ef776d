"""PURE: judgement of a snapshot: findings by the checks, their causes and confirmation, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum
from ipaddress import ip_address

from auditor.checks import idents
from auditor.checks.catalogue import CHECKS
from auditor.checks.idents import Ident
from auditor.checks.interface import Check
from auditor.checks.met_before import not_met_again
from auditor.checks.sentences import motion
from auditor.errors import GapReason, GapScope
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state, looks_of, seen_again
from auditor.fleet.region_coverage import region_coverage
from auditor.fleet.showing import asked_first, moved_in
from auditor.fleet.witness_gaps import unanswered
from auditor.values.addresses import Prefix, PublicKey, is_host, network
from auditor.values.drains import Drained
from auditor.values.findings import CheckIdent, Finding, Identity
from auditor.values.models import Gap, Looks, NodeId, Roaming, SecondLook, Snapshot
from auditor.values.report import Coverage, Report, Verdict
from auditor.values.text import count, listed

SUSPECT_SHARE = 0.05
"""More than this share of live peers unregistered: perhaps our view of the registry is filtered."""
SUSPECT_KEYS = 3
"""Fewer unregistered keys than these are ghosts, in a fleet of any size."""
_NAMED = 5
"""Findings that a gap names before it counts the rest."""

_PRECEDENCE: Mapping[CheckIdent, int] = {check.ident: position for position, check in enumerate(CHECKS)}


def judge(snapshot: Snapshot) -> Report:
    """Make the report on a snapshot: the same for the same snapshot, whatever the order of its parts."""
    fleet = Fleet(snapshot)
    findings = find(fleet)
    gaps = snapshot.gaps
    unsettled: tuple[Finding, ...] = ()
    if snapshot.second_look is not None:
        confirmation = _Confirmation(findings, fleet, snapshot, snapshot.second_look)
        findings, fleet, unsettled = confirmation.findings, confirmation.fleet, confirmation.unsettled
        gaps += confirmation.gaps
    unread = fleet.registry_unread
    withheld = _withheld(findings, unread=unread)
    suspect = _suspect(fleet, _without(findings, withheld), snapshot)
    if suspect is not None:
        # A registry that may be filtered has lost nothing that it can be held to.
        gaps += (suspect,)
        vanished = (item for item in findings if item.check is Ident.REGISTRATION_VANISHED)
        withheld += () if unread else _withheld(vanished, unread=True)
    findings = mark_agreed(_without(findings, withheld), fleet, snapshot)
    gaps += tuple(_derived_gaps(fleet, snapshot))
    gaps += unanswered(snapshot.answers, fleet.name)
    if unread:
        gaps = _placed(gaps, sum(item.check is Ident.UNREGISTERED_PEER for item in withheld))
    coverage = _coverage(fleet, snapshot)
    enough = seen_enough(gaps, coverage, snapshot.policy.minimum_coverage) and not withheld
    named = {node for finding in findings for node in named_in(finding)}
    unseen = {NodeId(gap.datacenter or "", gap.node) for gap in gaps if gap.node is not None}
    return Report(
        verdict=_verdict(findings, enough=enough),
        started_at=snapshot.started_at,
        finished_at=snapshot.finished_at,
        coverage=coverage,
        findings=findings,
        gaps=tuple(sorted(set(gaps), key=_gap_order)),
        in_flight=tuple(
            sorted(fleet.in_flight_nodes | {node for item in unsettled for node in asked_first(item)})
        ),
        cut_short=snapshot.cut_short,
        node_regions={node: region for node in sorted(named | unseen) if (region := fleet.region(node))},
        node_keys=registered_keys(fleet, named),
        ambiguous_names=fleet.ambiguous_names,
        registered=frozenset(fleet.by_node) | fleet.registered.unreadable_nodes,
        retired=frozenset(item.node for item in fleet.registered.retired) - fleet.by_node.keys(),
        observed=frozenset(item.node for item in fleet.witnesses),
        drained=_drained(fleet, snapshot),
        others=snapshot.others,
        mesh=snapshot.policy.mesh,
        seen_enough=enough,
        covered=_covered(coverage, snapshot.policy.minimum_coverage),
        withheld=frozenset(item.fingerprint for item in (*withheld, *unsettled))
        | not_met_again(fleet, snapshot.memory.met)
        | _not_asked_again(fleet, snapshot),
        unsettled=unsettled,
        drifted={
            item.node: item.device.public_key
            for item in fleet.witnesses
            if (registration := fleet.by_node.get(item.node)) is not None
            and item.node not in fleet.in_flight_nodes
            and registration.public_key != item.device.public_key
        },
    )


def _drained(fleet: Fleet, snapshot: Snapshot) -> Mapping[NodeId, Drained]:
    """Select the drained nodes that the registry lists; where it was not read whole, all."""
    listed = fleet.by_node.keys() | fleet.registered.unreadable_nodes | fleet.in_flight_nodes
    listed |= {item.node for item in fleet.registered.retired}
    found = sorted(snapshot.memory.drained.items())
    return {node: drained for node, drained in found if fleet.registry_unread or node in listed}


def registered_keys(fleet: Fleet, nodes: Iterable[NodeId]) -> Mapping[NodeId, PublicKey]:
    """Map those of these nodes that have a registered key to it, in order."""
    return {
        node: key
        for node in sorted(nodes)
        if node in fleet.by_node and (key := fleet.by_node[node].public_key) is not None
    }


def _not_asked_again(fleet: Fleet, snapshot: Snapshot) -> frozenset[str]:
    """Name the standing findings of keys at several hosts, where nobody was asked whom they meet: they are not over."""
    if fleet.endpoints_asked:
        return frozenset()
    mesh = snapshot.policy.mesh
    keys = snapshot.memory.several
    return frozenset(replace(idents.several_endpoints(key), mesh=mesh).fingerprint for key in keys)


def _withheld(findings: Iterable[Finding], *, unread: bool) -> tuple[Finding, ...]:
    """Select the findings to withhold: those that rest on the absence of nodes or keys that were not seen."""
    return tuple(
        item
        for item in findings
        if item.confirmed is not False and (item.hidden_at or (item.from_absence and unread))
    )


def _without(findings: tuple[Finding, ...], withheld: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Leave the withheld findings out. What followed from one of them leads itself, or follows from another."""
    if not withheld:
        return findings
    left_out = {item.fingerprint for item in withheld}
    gone = [item for item in findings if item.confirmed is False]
    kept = [item for item in findings if item.confirmed is not False and item.fingerprint not in left_out]
    return tuple(sorted((*gone, *with_causes(kept)), key=finding_order))


def _placed(gaps: tuple[Gap, ...], keys: int) -> tuple[Gap, ...]:
    """Word in each gap of the registry how many keys on devices it may explain."""
    if not keys:
        return gaps
    may_be = f"{count(keys, 'key')} on devices may be registered there"
    return tuple(
        replace(gap, detail=f"{gap.detail}; {may_be}") if gap.hides_registrations else gap for gap in gaps
    )


def find(fleet: Fleet, checks: Iterable[Check] = CHECKS) -> tuple[Finding, ...]:
    """Run checks; findings worst first, each with the cause that it follows from."""
    findings = with_causes([finding for check in checks for finding in check.findings(fleet)])
    return tuple(sorted(findings, key=finding_order))


def with_causes(findings: Iterable[Finding]) -> list[Finding]:
    """Lead every finding back to one root among them."""
    findings = list(findings)
    by_fingerprint = {finding.fingerprint: finding for finding in findings}

    def cause(finding: Finding) -> Finding | None:
        for candidate in finding.follows_from:
            found = by_fingerprint.get(candidate.fingerprint)
            if found is not None and _PRECEDENCE[found.check] < _PRECEDENCE[finding.check]:
                return found
        return None

    settled = []
    for finding in findings:
        root = cause(finding)
        # Precedence strictly falls with each step, so this ends; an incident is led by one finding.
        while root is not None and (further := cause(root)) is not None:
            root = further
        caused_by = root.fingerprint if root is not None else None
        settled.append(finding if finding.caused_by == caused_by else replace(finding, caused_by=caused_by))
    return settled


class _Confirmation:
    """Confirmation of findings by further looks, and the findings that only the latest state shows.

    The latest state is every node as it was last seen. What it does not show is gone: all who showed it were looked
    at again, for where a node was not, its first observation is its latest. What it shows stands if those whom it is
    about, and a few of its observers, were looked at again since it showed; if one of them had shown it otherwise, the
    sweep asked all who show it. What came up so late that nobody was looked at again is unsettled: no finding, but a
    gap.
    """

    def __init__(
        self, findings: tuple[Finding, ...], fleet: Fleet, snapshot: Snapshot, second: SecondLook
    ) -> None:
        newest = latest_state(snapshot, fleet.registered)
        same = newest.observations == snapshot.observations
        self.fleet = fleet if same else Fleet(newest, fleet.registered)
        """Latest state of the snapshot."""
        latest = findings if same else find(self.fleet)
        self._second = second
        self._looks = looks_of(snapshot, second)
        answered = {item.node for item in seen_again(snapshot, second, fleet.registered).witnesses}
        landed = {wrong.observation.node for wrong in fleet.wrong_hosts}
        # In its place another server answered: the node itself was not seen again.
        self._astray = {item.node for item in second.observations} - answered - landed
        self._failed = {NodeId(gap.datacenter or "", gap.node or "") for gap in second.gaps} | self._astray
        self._first = {finding.fingerprint for finding in findings}
        judged = [(finding, self._outcome(finding)) for finding in latest]
        self.unsettled = tuple(finding for finding, outcome in judged if outcome is _UNSETTLED)
        """Findings that came up so late that no node was looked at again."""
        standing = with_causes(
            [
                finding if finding.confirmed is outcome else replace(finding, confirmed=outcome)
                for finding, outcome in judged
                if outcome is not _UNSETTLED
            ]
        )
        shown = {finding.fingerprint for finding in latest}
        # What is gone leads nothing that stands, and what stands nothing that is gone.
        gone = [replace(item, confirmed=False) for item in findings if item.fingerprint not in shown]
        self.findings = tuple(sorted((*gone, *standing), key=finding_order))
        self.gaps = (*self._gaps(), *unsettled_gap(self.unsettled))

    def _outcome(self, finding: Finding) -> bool | _Unsettled | None:
        if finding.check is Ident.UNSETTLED_REGISTRATION:
            return True  # that it moves is what was seen again
        if finding.from_answers:
            return True  # the witnesses were asked last of all
        moved = moved_in(finding, self._second.moved)
        nodes = asked_first(finding) & self.fleet.observed.keys()
        lacking = {node for node in nodes if not self._seen_to_stand(finding, node, moved)}
        held_still = moved < self._second.rounds
        if held_still and not lacking:
            return True
        if self._second.time_up and not (held_still and lacking <= self._failed):
            return _UNSETTLED
        return None

    def _seen_to_stand(self, finding: Finding, node: NodeId, moved: int) -> bool:
        """Tell whether the node was looked at again since the finding showed."""
        looks = self._looks.get(node, Looks())
        if node in self._failed or looks.last <= max(looks.first, moved):
            return False
        return finding.fingerprint in self._first or looks.last > looks.changed

    def _gaps(self) -> Iterable[Gap]:
        for gap in self._second.gaps:
            yield replace(gap, detail=f"on a second look: {gap.detail}")
        for node in self._astray:
            yield Gap(
                "ssh",
                GapReason.WRONG_HOST,
                "on a second look: another node answered in its place",
                node.name,
                node.datacenter or None,
            )


class _Unsettled(Enum):
    """Outcome of a finding that came up so late that it was not looked at again."""

    UNSETTLED = "unsettled"


_UNSETTLED = _Unsettled.UNSETTLED


def unsettled_gap(unsettled: tuple[Finding, ...]) -> Iterable[Gap]:
    """Word the gap that names unsettled findings; none where there are none."""
    if unsettled:
        names = listed((f"{item.check} {item.subject}" for item in unsettled), most=_NAMED)
        yield Gap(
            source="sweep",
            reason=GapReason.UNSETTLED,
            detail=f"still changing when the sweep ended, and so in no finding yet: {names}",
        )


def named_in(finding: Finding) -> set[NodeId]:
    """Name every node that a finding or its evidence names."""
    nodes = set(asked_first(finding))
    nodes.update(claim.node for claim in finding.evidence.claims if claim.node is not None)
    nodes.update(pick.node for pick in finding.evidence.routing if pick.node is not None)
    nodes.update(reached.node for reached in finding.evidence.answers if reached.node is not None)
    return nodes


def _derived_gaps(fleet: Fleet, snapshot: Snapshot) -> Iterable[Gap]:
    """Derive gaps from the sweep's early end, from wrong hosts, and from what had not held still."""
    # Cut short before the registry was read, the sweep has that as its gap already.
    known = any(gap.node is None and gap.reason is GapReason.CUT_SHORT for gap in snapshot.gaps)
    if snapshot.cut_short is not None and not known:
        yield Gap(
            source="sweep",
            reason=GapReason.CUT_SHORT,
            detail=f"the sweep stopped early ({snapshot.cut_short}): what it had not reached was not seen",
        )
    for observation, actual in fleet.wrong_hosts:
        yield Gap(
            source="ssh",
            reason=GapReason.WRONG_HOST,
            detail=f"{fleet.name(actual)} answered in its place",
            node=observation.node.name,
            datacenter=observation.node.datacenter or None,
        )
    for item in fleet.witnesses:
        for reason, why in (
            (GapReason.ROUTES_UNREAD, item.routes_unread),
            (GapReason.TRANSFER_UNREAD, item.transfers_unread),
        ):
            if why:
                yield Gap("witness", reason, why, item.node.name, item.node.datacenter or None)
    for node in sorted(fleet.in_flight_nodes):
        yield Gap(
            source="sweep",
            reason=GapReason.UNSETTLED,
            detail=f"its registration had not held still when the sweep ended: {motion(fleet, node)}",
            node=node.name,
            datacenter=node.datacenter or None,
        )


def _suspect(fleet: Fleet, findings: tuple[Finding, ...], snapshot: Snapshot) -> Gap | None:
    """Derive the gap of a registry that may be filtered from the findings that stand after all looks."""
    # A live key that a registered node's own device holds is that node's drift, and no sign of a filter.
    unregistered = {
        item.public_key
        for item in findings
        if item.check is Ident.UNREGISTERED_PEER and not item.nodes and item.confirmed is not False
    }
    live = len(unregistered) + fleet.routes.expected_keys
    new = len(unregistered - snapshot.memory.ghosts)
    if new >= SUSPECT_KEYS and new > SUSPECT_SHARE * live:
        return Gap(
            source="sweep",
            reason=GapReason.REGISTRY_SUSPECT,
            detail=(
                f"{new:,} of {live:,} keys on devices are in no registration: ghost servers, or our token "
                "sees only a part of the registry"
            ),
        )
    return None


def _coverage(fleet: Fleet, snapshot: Snapshot) -> Coverage:
    retired = {item.node for item in fleet.retired} - fleet.by_node.keys()
    invalid = fleet.registered.unreadable_nodes - retired
    nowhere = {
        NodeId(gap.datacenter or "", gap.node)
        for gap in snapshot.gaps
        if gap.node is not None and gap.reason is GapReason.NO_HOST
    }
    unreadable = invalid - fleet.by_node.keys() | invalid & nowhere
    registered = fleet.by_node.keys() | invalid
    # Nodes, not observations: a recording that was edited by hand may hold a node twice.
    observed = registered & {item.node for item in fleet.witnesses}
    return Coverage(
        registered=len(registered),
        observed=len(observed),
        distinct_tables=len({item.table for item in fleet.witnesses}),
        undigested=sum(not item.digested for item in snapshot.observations),
        unreadable=len(unreadable),
        regions=region_coverage(map(fleet.region_witnesses, fleet.by_node)),
    )


def mark_agreed(findings: tuple[Finding, ...], fleet: Fleet, snapshot: Snapshot) -> tuple[Finding, ...]:
    """Mark agreed findings: a shared address held by its agreed nodes alone, and the findings that follow; a key that
    is met at several hosts, of a node that is agreed to roam there.

    A prefix of many addresses is agreed on as it stands: that these nodes have it, whatever it covers. What follows
    from it and is about something else (a node's drift, a ghost's key) was agreed on by nobody.
    """
    agreements: dict[str, tuple[Prefix | None, str]] = {}
    for shared in snapshot.policy.shared:
        # A node that observers route the address to holds it too, as far as the mesh is concerned.
        picks = [pick for pick in fleet.routes.claiming_picks(shared.prefix) if pick.public_key is not None]
        keys = fleet.keys_of(shared.prefix)
        holders = [
            *fleet.contested.get(shared.prefix, ()),
            *(pick.node for pick in picks),
            *(() if is_host(shared.prefix) else map(fleet.node_of_key, keys)),
        ]
        strangers = any(node is None for node in holders)
        names = {node.name for node in holders if node is not None}
        if snapshot.started_at < shared.until and not strangers and names <= shared.nodes:
            text = f"shared until {shared.until.date().isoformat()}: {shared.reason}"
            for agreed_on in (
                idents.duplicate_address(shared.prefix),
                *(idents.overlapping_allowed_ips(shared.prefix, key) for key in keys),
                *(idents.unregistered_allowed_ips(shared.prefix, key) for key in keys),
            ):
                named = replace(agreed_on, mesh=snapshot.policy.mesh)
                agreements[named.fingerprint] = (shared.prefix, text)

    for key, roaming in _agreed_roaming(fleet, snapshot):
        named = replace(idents.several_endpoints(key), mesh=snapshot.policy.mesh)
        text = f"roaming until {roaming.until.date().isoformat()}: {roaming.reason}"
        agreements[named.fingerprint] = (None, text)

    def agreed(finding: Finding) -> str | None:
        prefix, text = agreements.get(finding.caused_by or finding.fingerprint, (None, None))
        return text if finding.address == prefix else None

    if not agreements:
        return findings
    return tuple(replace(finding, agreed=agreed(finding)) for finding in findings)


def _agreed_roaming(fleet: Fleet, snapshot: Snapshot) -> Iterable[tuple[PublicKey, Roaming]]:
    """List the keys that are met at several hosts, where all of these were agreed on."""
    for roaming in snapshot.policy.roaming:
        if snapshot.started_at >= roaming.until:
            continue
        allowed = tuple(map(network, roaming.hosts))
        for key, places in fleet.met_at_once.items():
            owner = fleet.node_of_key(key)
            others = [host for place in places if not place.registered for host in place.hosts]
            if (
                owner is not None
                and owner.name in roaming.nodes
                and (not allowed or all(any(ip_address(host) in one for one in allowed) for host in others))
            ):
                yield key, roaming


def _verdict(findings: tuple[Finding, ...], *, enough: bool) -> Verdict:
    if any(finding.confirmed is not False and finding.agreed is None for finding in findings):
        return Verdict.FINDINGS
    return Verdict.CLEAN if enough else Verdict.INCONCLUSIVE


def seen_enough(gaps: Iterable[Gap], coverage: Coverage, minimum: float) -> bool:
    """Tell whether the sweep saw enough to be clean: registry and sweep whole, and enough of the nodes."""
    whole = all(gap.scope in (GapScope.NODE, GapScope.WITNESS) for gap in gaps)
    return whole and _covered(coverage, minimum)


def _covered(coverage: Coverage, minimum: float) -> bool:
    return coverage.observed > 0 and coverage.share >= minimum


def finding_order(finding: Finding) -> tuple[int, int, str, Identity]:
    """Make the value by which findings are sorted: worst first."""
    return finding.severity.rank, _PRECEDENCE[finding.check], finding.subject, finding.identity


def _gap_order(gap: Gap) -> tuple[str, str, str, str, str]:
    return gap.source, gap.reason.value, gap.datacenter or "", gap.node or "", gap.detail
