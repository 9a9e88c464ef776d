"""PURE: runs the checks over a snapshot, settles causes and confirmation, and decides the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from auditor.checks import idents
from auditor.checks.catalogue import CHECKS
from auditor.checks.idents import Ident
from auditor.errors import GapReason, GapScope
from auditor.fleet.fleet import Fleet
from auditor.fleet.latest import latest_state
from auditor.values.addresses import Prefix, is_host
from auditor.values.models import (
    CheckIdent,
    Coverage,
    Finding,
    Gap,
    Identity,
    NodeId,
    Observation,
    Report,
    SecondLook,
    Snapshot,
    Verdict,
)
from auditor.values.text import count

SUSPECT_SHARE = 0.05
"""More than this share of live peers unregistered: perhaps our view of the registry is filtered."""

_PRECEDENCE: Mapping[CheckIdent, int] = {check.ident: position for position, check in enumerate(CHECKS)}


def judge(snapshot: Snapshot) -> Report:
    """Make the report on a snapshot: the same for the same snapshot, whatever the order of its parts."""
    fleet = Fleet(snapshot)
    findings = find(fleet)
    unread = fleet.registry_unread
    gaps = (
        *snapshot.gaps,
        *_derived_gaps(fleet, _without(findings, _withheld(findings, unread=unread)), snapshot),
    )
    if snapshot.second_look is not None:
        findings = _confirm(findings, fleet, snapshot, snapshot.second_look)
        gaps += tuple(
            replace(gap, detail=f"on a second look: {gap.detail}") for gap in snapshot.second_look.gaps
        )
    withheld = _withheld(findings, unread=unread)
    if unread:
        gaps = _placed(gaps, sum(item.check is Ident.UNREGISTERED_PEER for item in withheld))
    findings = _agreed(_without(findings, withheld), fleet, snapshot)
    coverage = _coverage(fleet, snapshot)
    enough = seen_enough(gaps, coverage, snapshot.policy.minimum_coverage) and not withheld
    named = {node for finding in findings for node in _named(finding)}
    unseen = {NodeId(gap.datacenter or "", gap.node) for gap in gaps if gap.node is not None}
    return Report(
        verdict=_verdict(findings, enough=enough),
        started_at=snapshot.started_at,
        finished_at=snapshot.finished_at,
        coverage=coverage,
        findings=findings,
        gaps=tuple(sorted(set(gaps), key=_gap_order)),
        in_flight=tuple(sorted(fleet.in_flight_nodes)),
        cut_short=snapshot.cut_short,
        node_regions={node: region for node in sorted(named | unseen) if (region := fleet.region(node))},
        node_keys={
            node: key
            for node in sorted(named)
            if node in fleet.by_node and (key := fleet.by_node[node].public_key) is not None
        },
        ambiguous_names=fleet.ambiguous_names,
        registered=frozenset(fleet.by_node) | fleet.registered.unreadable_nodes,
        observed=frozenset(item.node for item in fleet.witnesses),
        others=snapshot.others,
        seen_enough=enough,
        covered=_covered(coverage, snapshot.policy.minimum_coverage),
        withheld=frozenset(item.fingerprint for item in withheld),
        drifted={
            item.node: item.device.public_key
            for item in fleet.witnesses
            if (registration := fleet.by_node.get(item.node)) is not None
            and item.node not in fleet.in_flight_nodes
            and registration.public_key != item.device.public_key
        },
    )


def _withheld(findings: Iterable[Finding], *, unread: bool) -> tuple[Finding, ...]:
    """Find what must not be said: what would be concluded from the absence of what was not seen."""
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
    return tuple(sorted((*gone, *_with_causes(kept)), key=_finding_order))


def _placed(gaps: tuple[Gap, ...], keys: int) -> tuple[Gap, ...]:
    """Say in each gap of the registry how many keys on devices it may explain."""
    if not keys:
        return gaps
    may_be = f"{count(keys, 'key')} on devices may be registered there"
    return tuple(
        replace(gap, detail=f"{gap.detail}; {may_be}") if gap.hides_registrations else gap for gap in gaps
    )


def find(fleet: Fleet) -> tuple[Finding, ...]:
    """Run all checks; findings worst first, each with the cause that it follows from."""
    findings = _with_causes([finding for check in CHECKS for finding in check.findings(fleet)])
    return tuple(sorted(findings, key=_finding_order))


def suspects(findings: Iterable[Finding], seen: Mapping[NodeId, object]) -> tuple[NodeId, ...]:
    """Choose the nodes for a second look: those that findings are about, and a few observers of each.

    Only nodes that answered the first time (`seen`): a gap is no suspect.
    """
    return tuple(sorted({node for finding in findings for node in _evidence_nodes(finding) if node in seen}))


def _with_causes(findings: list[Finding]) -> list[Finding]:
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
        settled.append(replace(finding, caused_by=root.fingerprint if root is not None else None))
    return settled


def _confirm(
    findings: tuple[Finding, ...], fleet: Fleet, snapshot: Snapshot, second: SecondLook
) -> tuple[Finding, ...]:
    """The findings with what a second look says of them, and those that only the latest state shows.

    The latest state is every node as it was last seen. What it does not show is gone: whoever showed it
    was looked at again, for where a node was not, its first observation is its latest.
    """
    again = _as_shown_by(second.observations, fleet, snapshot)
    newest = latest_state(snapshot, fleet.registered).observations
    latest = findings if newest == snapshot.observations else find(_as_shown_by(newest, fleet, snapshot))
    shown_again = {finding.fingerprint for check in CHECKS for finding in check.findings(again)}
    still_there = {finding.fingerprint for finding in latest}
    known = {finding.fingerprint for finding in findings}

    def confirmed(finding: Finding) -> bool | None:
        if finding.fingerprint in shown_again:
            return True
        return None if finding.fingerprint in still_there else False

    judged = [replace(finding, confirmed=confirmed(finding)) for finding in findings]
    judged += [finding for finding in latest if finding.fingerprint not in known]
    gone = [finding for finding in judged if finding.confirmed is False]
    # What stands must not hang on a cause that is gone: then nothing that counts would lead it.
    standing = _with_causes([finding for finding in judged if finding.confirmed is not False])
    return tuple(sorted((*gone, *standing), key=_finding_order))


def _as_shown_by(observations: tuple[Observation, ...], fleet: Fleet, snapshot: Snapshot) -> Fleet:
    return Fleet(replace(snapshot, observations=observations, second_look=None), fleet.registered)


def _observer_sample(finding: Finding) -> set[NodeId]:
    sample = set(finding.evidence.sample)
    for pick in finding.evidence.routing:
        sample.update(pick.sample)
    return sample


def _evidence_nodes(finding: Finding) -> set[NodeId]:
    return {*finding.nodes, *_observer_sample(finding)}


def _named(finding: Finding) -> set[NodeId]:
    nodes = _evidence_nodes(finding)
    nodes.update(claim.node for claim in finding.evidence.claims if claim.node is not None)
    nodes.update(pick.node for pick in finding.evidence.routing if pick.node is not None)
    return nodes


def _derived_gaps(fleet: Fleet, findings: Iterable[Finding], snapshot: Snapshot) -> Iterable[Gap]:
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
    # A live key that a registered node's own device holds is that node's drift, and no sign of a filter.
    unregistered = sum(item.check is Ident.UNREGISTERED_PEER and not item.nodes for item in findings)
    live = unregistered + fleet.routes.expected_keys
    if unregistered > SUSPECT_SHARE * live:
        yield Gap(
            source="sweep",
            reason=GapReason.REGISTRY_SUSPECT,
            detail=(
                f"{unregistered:,} of {live:,} keys on devices are in no registration: ghost servers, or our token "
                "sees only a part of the registry"
            ),
        )


def _coverage(fleet: Fleet, snapshot: Snapshot) -> Coverage:
    retired = {item.node for item in fleet.retired} - fleet.by_node.keys()
    invalid = fleet.registered.unreadable_nodes - fleet.in_flight_nodes - retired
    nowhere = {
        NodeId(gap.datacenter or "", gap.node)
        for gap in snapshot.gaps
        if gap.node is not None and gap.reason is GapReason.NO_HOST
    }
    unreadable = invalid - fleet.by_node.keys() | invalid & nowhere
    registered = fleet.by_node.keys() - fleet.in_flight_nodes | invalid
    # Nodes, not observations: a recording that was edited by hand may hold a node twice.
    observed = registered & {item.node for item in fleet.witnesses}
    return Coverage(
        registered=len(registered),
        observed=len(observed),
        distinct_tables=len({item.table for item in fleet.witnesses}),
        undigested=sum(not item.digested for item in snapshot.observations),
        unreadable=len(unreadable),
    )


def _agreed(findings: tuple[Finding, ...], fleet: Fleet, snapshot: Snapshot) -> tuple[Finding, ...]:
    """Mark what is agreed on: a shared address that only those hold who are meant to, and what that leads to.

    A prefix of many addresses is agreed on as it stands: that these nodes have it, whatever it covers. What follows
    from it and is about something else (a node's drift, a ghost's key) was agreed on by nobody.
    """
    agreements: dict[str, tuple[Prefix, str]] = {}
    for shared in snapshot.policy.shared:
        # Who is only routed to holds it too, as far as the mesh is concerned.
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
                agreements[agreed_on.fingerprint] = (shared.prefix, text)

    def agreed(finding: Finding) -> str | None:
        prefix, text = agreements.get(finding.caused_by or finding.fingerprint, (None, None))
        return text if prefix is not None and finding.address == prefix else None

    if not agreements:
        return findings
    return tuple(replace(finding, agreed=agreed(finding)) for finding in findings)


def _verdict(findings: tuple[Finding, ...], *, enough: bool) -> Verdict:
    if any(finding.confirmed is not False and finding.agreed is None for finding in findings):
        return Verdict.FINDINGS
    return Verdict.CLEAN if enough else Verdict.INCONCLUSIVE


def seen_enough(gaps: Iterable[Gap], coverage: Coverage, minimum: float) -> bool:
    """Whether what was seen would do to say clean: registry and sweep whole, and enough of the nodes."""
    whole = all(gap.scope is GapScope.NODE for gap in gaps)
    return whole and _covered(coverage, minimum)


def _covered(coverage: Coverage, minimum: float) -> bool:
    return coverage.observed > 0 and coverage.share >= minimum


def _finding_order(finding: Finding) -> tuple[int, int, str, Identity]:
    return finding.severity.rank, _PRECEDENCE[finding.check], finding.subject, finding.identity


def _gap_order(gap: Gap) -> tuple[str, str, str, str, str]:
    return gap.source, gap.reason.value, gap.datacenter or "", gap.node or "", gap.detail
