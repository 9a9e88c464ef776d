"""PURE: a report as grouped values, the same for every form: contested addresses, the rest, gaps, coverage.

Forms only draw it. Nothing here knows of widths, colours or markup, and a command that is proposed is a tuple of
words, which each form quotes in its own way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from auditor.checks.idents import Ident
from auditor.checks.registration_vanished import LOST_RECORD
from auditor.errors import GapReason, GapScope
from auditor.values.addresses import PublicKey
from auditor.values.answer_words import Asked, asked
from auditor.values.drains import Drained
from auditor.values.findings import Claim, Finding, Severity, Witness
from auditor.values.guide import FINDINGS, INSTALLED, Command, Guide
from auditor.values.models import Gap, NodeId
from auditor.values.report import Coverage, Report

CONTESTED = Ident.DUPLICATE_ADDRESS
"""Ident of the check whose findings come first, whatever else is as severe."""
NO_REGION = ""
"""Stands for "no region is known" among counts by region."""


class RegistryView(StrEnum):
    """Completeness of the reading of the registry."""

    WHOLE = "whole"
    SUSPECT = "suspect"
    """Read, but live peers that it does not list say that our view of it may be filtered."""
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, slots=True)
class Claimant:
    """One key at one node, with all of its claims to an address."""

    node: NodeId | None
    """None: a key that no registration knows."""
    public_key: PublicKey | None
    """None: a registration whose key cannot be read."""
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class FollowingFindings:
    """Findings of one check that follow from another finding."""

    check: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class OutlinedFinding:
    """A finding that stands for itself, with what belongs to it."""

    finding: Finding
    claimants: tuple[Claimant, ...]
    """Claims by node and key; routed ones only where no other witness claims anything, for `routing` counts them."""
    observers: int
    """Observers that `finding.evidence.routing` sums up."""
    answers: tuple[Asked, ...]
    """Who answered at its address, by the kind of server; empty where nobody was asked."""
    following: tuple[FollowingFindings, ...]
    """All that follows from it, over any number of steps, by check."""
    next_steps: tuple[NextStep, ...] = ()
    """Commands that tell more about it, the first one its story; none where none does."""


@dataclass(frozen=True, slots=True)
class CheckCount:
    """Findings that are counted, not written out."""

    checks: tuple[str, ...]
    """Idents; more than one after `merged`."""
    severity: Severity
    """The worst among them."""
    findings: int
    regions: Mapping[str, int]
    """Findings by region, `NO_REGION` included; a finding in several regions is counted in each."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The findings up to a limit, and counts of those beyond it."""

    contested: tuple[OutlinedFinding, ...]
    rest: tuple[OutlinedFinding, ...]
    counted: tuple[CheckCount, ...]
    """One for each check, the worst and then the most frequent first."""
    in_several_regions: bool
    """Whether some counted finding is in more than one region, so that counts by region add up to more."""

    @property
    def hidden(self) -> int:
        """Number of findings that are counted only."""
        return sum(item.findings for item in self.counted)


@dataclass(frozen=True, slots=True)
class GapGroup:
    """Gaps of one source and reason."""

    source: str
    scope: GapScope
    reason: GapReason
    gaps: tuple[Gap, ...]
    details: tuple[str, ...]
    """The distinct details, in order of appearance."""
    regions: Mapping[str, int]
    """Gaps by the region of their node, `NO_REGION` where it is not known or there is no node."""
    datacenters: Mapping[str, int]
    """Gaps by datacenter, "" where none is known."""


@dataclass(frozen=True, slots=True)
class AgreedSharing:
    """An address that is meant to be shared."""

    subject: str
    nodes: tuple[NodeId, ...]
    agreement: str
    """Reason and end of the agreement on it."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """Something to read or run after the report."""

    purpose: str
    command: Command = ()
    """Upper-case words stand for what the reader fills in."""
    document: str = ""
    """Path within the project, where it is nothing to run."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A report, grouped. Every finding of the report is in exactly one of its groups."""

    contested: tuple[OutlinedFinding, ...]
    rest: tuple[OutlinedFinding, ...]
    """Findings of other checks that follow from nothing, by severity, the worst first."""
    severities: Mapping[Severity, int]
    """Contested addresses and the rest by severity, the worst first; severities without a finding left out."""
    following: int
    """Findings that follow from those."""
    silenced: int
    """Number of contested addresses, and of other findings, with a silence."""
    agreed: tuple[Finding, ...]
    agreed_sharing: tuple[AgreedSharing, ...]
    """The agreed findings without those that follow from another agreed one."""
    gone: tuple[Finding, ...]
    """Findings that were gone on a second look."""
    gaps: tuple[GapGroup, ...]
    """The registry's first, then the nodes'; of each the largest first. Without those of witnesses."""
    unheard: tuple[GapGroup, ...]
    """Gaps of witnesses, the largest first, such as questions without an answer: they hide no node."""
    registry: RegistryView
    unseen: tuple[NodeId, ...]
    """The nodes that gaps name, those of witnesses left out, each once."""
    in_flight: tuple[NodeId, ...]
    """Registered, changed or removed during the sweep; each once."""
    drained: tuple[tuple[NodeId, Drained], ...]
    """Nodes that are out of production, by name."""
    coverage: Coverage
    next_steps: tuple[NextStep, ...]

    @property
    def leading(self) -> tuple[OutlinedFinding, ...]:
        """Contested addresses, then the rest."""
        return (*self.contested, *self.rest)

    def excerpt(self, limit: int) -> Excerpt:
        """Return the first findings and count those beyond.

        limit: findings that are written out, contested addresses first; a negative one is taken for 0.
        """
        limit = max(0, limit)
        contested = self.contested[:limit]
        rest = self.rest[: limit - len(contested)]
        hidden = [item.finding for item in (*self.contested[len(contested) :], *self.rest[len(rest) :])]
        several = any(len(set(finding.regions)) > 1 for finding in hidden)
        return Excerpt(contested, rest, _by_check(hidden), several)


def outline(report: Report, guide: Guide = INSTALLED) -> Outline:
    """Group a report. guide: makes the commands that it leads to."""
    standing = {finding.fingerprint: finding for finding in report.standing}
    followers: dict[str, list[Finding]] = defaultdict(list)
    leading: list[Finding] = []
    for finding in report.standing:
        cause = _first_cause(finding, standing)
        if cause is None:
            leading.append(finding)
        else:
            followers[cause].append(finding)
    outlined = [_outlined(finding, followers.get(finding.fingerprint, ()), guide) for finding in leading]
    rest = [item for item in outlined if item.finding.check != CONTESTED]
    counts = Counter(finding.severity for finding in leading)
    agreed = tuple(
        item for item in report.findings if item.agreed is not None and item.confirmed is not False
    )
    return Outline(
        contested=tuple(item for item in outlined if item.finding.check == CONTESTED),
        rest=tuple(sorted(rest, key=lambda item: item.finding.severity.rank)),
        severities={severity: counts[severity] for severity in Severity if counts[severity]},
        following=len(report.standing) - len(leading),
        silenced=sum(finding.silenced is not None for finding in leading),
        agreed=agreed,
        agreed_sharing=_agreed_sharing(agreed),
        gone=tuple(finding for finding in report.findings if finding.confirmed is False),
        gaps=gap_groups(report.not_seen, lambda node: report.node_regions.get(node, NO_REGION)),
        unheard=gap_groups(report.not_heard, lambda node: report.node_regions.get(node, NO_REGION)),
        registry=registry_view(report.gaps),
        unseen=tuple(dict.fromkeys(node for gap in report.not_seen if (node := gap_node(gap)) is not None)),
        in_flight=tuple(dict.fromkeys(report.in_flight)),
        drained=tuple(report.drained.items()),
        coverage=report.coverage,
        next_steps=_next_steps(guide) if leading else (),
    )


def _next_steps(guide: Guide) -> tuple[NextStep, ...]:
    return (
        NextStep("What each finding means and what to do", document=guide.docs_url or FINDINGS),
        NextStep("The whole story of one address, node or key", guide.command("explain", target="TARGET")),
        NextStep(
            "Who is affected by one address, node, region or check",
            guide.command("affected", target="TARGET"),
        ),
    )


def _first_cause(finding: Finding, standing: Mapping[str, Finding]) -> str | None:
    """Return the fingerprint of the finding that this one follows from in the end; None where it stands for itself."""
    seen = {finding.fingerprint}
    current = finding
    while current.caused_by is not None and current.caused_by in standing:
        if current.caused_by in seen:
            return None  # a circle has no first cause: better shown twice than hidden
        seen.add(current.caused_by)
        current = standing[current.caused_by]
    return current.fingerprint if current is not finding else None


def _outlined(finding: Finding, followers: Sequence[Finding], guide: Guide) -> OutlinedFinding:
    by_check: dict[str, list[Finding]] = defaultdict(list)
    for follower in followers:
        by_check[follower.check].append(follower)
    return OutlinedFinding(
        finding,
        claimants(finding.evidence.claims),
        sum(pick.observers for pick in finding.evidence.routing),
        asked(finding.evidence.answers),
        tuple(FollowingFindings(check, tuple(group)) for check, group in by_check.items()),
        _leads_to(finding, guide),
    )


def _leads_to(finding: Finding, guide: Guide) -> tuple[NextStep, ...]:
    if finding.check == Ident.REGISTRATION_VANISHED:
        return _puts_back(finding, guide)
    if finding.check != CONTESTED:
        return ()
    subject = finding.subject
    return (
        NextStep("Its whole story", guide.command("explain", target=subject)),
        NextStep(
            "Every observer: whom it reaches and whom it loses", guide.command("affected", target=subject)
        ),
        NextStep("Who keeps it, who moves, and how", guide.command("plan", "--address", subject)),
    )


def _puts_back(finding: Finding, guide: Guide) -> tuple[NextStep, ...]:
    """Return the commands that write the lost record again, and nothing where the key is there."""
    facts = dict(finding.evidence.facts)
    if LOST_RECORD not in facts:
        return ()
    datacenter = (f"-datacenter={facts['datacenter']}",) if "datacenter" in facts else ()
    put = ("consul", "kv", "put", *datacenter, "-cas", "-modify-index=0", facts["where"], facts[LOST_RECORD])
    return (
        NextStep(
            "Put its registration back, unless somebody has its address by now",
            guide.command("restore", target=finding.subject),
        ),
        NextStep("The same by hand, without a look at who has its address", put),
    )


def claimants(claims: Iterable[Claim]) -> tuple[Claimant, ...]:
    """Group claims by node and key, in order of appearance.

    Routed claims are left out where another witness claims something: counts of routing tell them better.
    """
    every = tuple(claims)
    own = [claim for claim in every if claim.witness is not Witness.ROUTED]
    groups: dict[tuple[NodeId | None, PublicKey | None], list[Claim]] = defaultdict(list)
    for claim in own or every:
        groups[claim.node, claim.public_key].append(claim)
    return tuple(Claimant(node, key, tuple(group)) for (node, key), group in groups.items())


def _agreed_sharing(agreed: Sequence[Finding]) -> tuple[AgreedSharing, ...]:
    fingerprints = {finding.fingerprint for finding in agreed}
    return tuple(
        AgreedSharing(finding.subject, finding.nodes, finding.agreed or "")
        for finding in agreed
        if finding.caused_by not in fingerprints
    )


# -- counts


def _by_check(findings: Iterable[Finding]) -> tuple[CheckCount, ...]:
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        groups[finding.check].append(finding)
    counts = [
        CheckCount((check,), _worst(group), len(group), _regions(group)) for check, group in groups.items()
    ]
    return tuple(sorted(counts, key=lambda item: (item.severity.rank, -item.findings, item.checks)))


def merged(counts: Iterable[CheckCount]) -> CheckCount:
    """Add up counts of several checks, for a form without room for a row each; at least one is needed."""
    several = tuple(counts)
    regions: Counter[str] = Counter()
    for item in several:
        regions.update(item.regions)
    return CheckCount(
        tuple(check for item in several for check in item.checks),
        min((item.severity for item in several), key=lambda severity: severity.rank),
        sum(item.findings for item in several),
        regions,
    )


def _worst(findings: Iterable[Finding]) -> Severity:
    return min((finding.severity for finding in findings), key=lambda severity: severity.rank)


def _regions(findings: Iterable[Finding]) -> Counter[str]:
    return Counter(
        region for finding in findings for region in (dict.fromkeys(finding.regions) or (NO_REGION,))
    )


def fullest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Sort counts by region, the largest first; `NO_REGION` comes last."""
    return sorted(counts.items(), key=lambda item: (item[0] == NO_REGION, -item[1], item[0]))


# -- gaps


def gap_node(gap: Gap) -> NodeId | None:
    """Return the node that a gap is about; None where it is not about one node."""
    return NodeId(gap.datacenter or "", gap.node) if gap.node is not None else None


def gap_groups(gaps: Iterable[Gap], region_of: Callable[[NodeId], str]) -> tuple[GapGroup, ...]:
    """Group gaps by source and reason: those of nodes last, and the largest first.

    region_of: a node's region, `NO_REGION` where it is not known.
    """
    groups: dict[tuple[str, GapReason], list[Gap]] = defaultdict(list)
    for gap in gaps:
        groups[gap.source, gap.reason].append(gap)
    ordered = sorted(
        groups.items(), key=lambda item: (item[1][0].scope is GapScope.NODE, -len(item[1]), item[0])
    )
    return tuple(
        GapGroup(
            source,
            group[0].scope,
            reason,
            tuple(group),
            tuple(dict.fromkeys(gap.detail for gap in group)),
            Counter(region_of(node) if (node := gap_node(gap)) is not None else NO_REGION for gap in group),
            Counter(gap.datacenter or "" for gap in group),
        )
        for (source, reason), group in ordered
    )


def registry_gaps(gaps: Iterable[Gap]) -> list[Gap]:
    """Return the gaps that leave registrations unseen, as against those of single nodes."""
    return [
        gap
        for gap in gaps
        if gap.node is None and gap.reason is not GapReason.CUT_SHORT and not gap.of_witness
    ]


def registry_view(gaps: Iterable[Gap]) -> RegistryView:
    """Tell from a report's gaps how much of the registry was read."""
    reasons = {gap.reason for gap in registry_gaps(gaps)}
    if not reasons:
        return RegistryView.WHOLE
    return RegistryView.SUSPECT if reasons == {GapReason.REGISTRY_SUSPECT} else RegistryView.INCOMPLETE
