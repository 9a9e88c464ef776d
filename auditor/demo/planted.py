"""PURE: comparison of a report with the planted faults, by which the demo checks its own audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from auditor.checks.idents import Ident
from auditor.demo.demo_fleet import Contest, DemoFleet, PlantedIncident
from auditor.errors import GapReason
from auditor.values.addresses import Prefix, format_prefix
from auditor.values.findings import CheckIdent, Finding, GuessedCause
from auditor.values.models import Gap
from auditor.values.report import Report, Verdict
from auditor.values.text import listed

Place = tuple[CheckIdent, Prefix | str]
"""A check's ident, and the address or the node's name that its finding is about."""


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted fault, and whether the report has it."""

    what: str
    """Description of the fault, in plain words."""
    where: str
    """Ident of the check, or `gap`, under which the report must have it."""
    missing: str = ""
    """Difference of the report from the fault; "" if it has the fault whole."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Planted faults, and the unplanted findings of a report."""

    planted: tuple[Planted, ...]
    unexpected: tuple[str, ...]
    """Findings that follow from nothing planted, gaps that were not planted; one line each."""

    @property
    def complete(self) -> bool:
        """Tell whether the report has all planted faults, and nothing else."""
        return not self.unexpected and not any(item.missing for item in self.planted)


def compare(fleet: DemoFleet, report: Report) -> Comparison:
    """Compare the report on `fleet` with its incident. A healthy fleet must give a clean report."""
    standing = {_place(finding): finding for finding in report.standing}
    planted: tuple[Planted, ...] = ()
    expected: set[Place] = set()
    unreachable = ""
    verdict = Verdict.CLEAN
    if fleet.incident is not None:
        planted = tuple(_compared(fleet, fleet.incident, report, standing))
        expected = _expected(fleet.incident, fleet.node(fleet.incident.drifted).registered_address)
        unreachable = fleet.incident.unreachable
        verdict = Verdict.FINDINGS
    known = {standing[place].fingerprint for place in expected if place in standing}
    unexpected = [
        f"{finding.check} {finding.subject}: {finding.summary}"
        for finding in report.standing
        if _place(finding) not in expected and not _follows(finding, known, report)
    ]
    unexpected += [
        f"gap {gap.node or gap.source}: {gap.reason}: {gap.detail}"
        for gap in report.gaps
        if (gap.node is None or gap.node != unreachable) and not _lost_on_its_way_back(gap)
    ]
    if report.verdict is not verdict:
        unexpected.append(f"verdict {report.verdict}, where {verdict} was due")
    return Comparison(planted, tuple(unexpected))


def _place(finding: Finding) -> Place:
    """Return the place of a finding: an address where it has one, else a node."""
    return finding.check, finding.address if finding.address is not None else finding.party


def _expected(incident: PlantedIncident, left: Prefix) -> set[Place]:
    """Return the places of the findings that are causes of their own. left: the address that the drifted node left."""
    return {
        (Ident.DUPLICATE_ADDRESS, incident.pair.address),
        (Ident.DUPLICATE_ADDRESS, incident.triple.address),
        (Ident.FALLBACK_ADDRESS, incident.pair.address),
        (Ident.REGION_MISMATCH, incident.misplaced),
        (Ident.ADDRESS_DRIFT, incident.drifted),
        (Ident.ANSWERED_BY_OTHER, left),
    }


def _lost_on_its_way_back(gap: Gap) -> bool:
    """Tell whether a question got no answer: those to a node whose address is not what is registered get lost."""
    return gap.of_witness and gap.reason is GapReason.NO_ANSWER


def _follows(finding: Finding, known: set[str], report: Report) -> bool:
    """Tell whether the finding follows from a planted one, over however many steps."""
    causes = {other.fingerprint: other.caused_by for other in report.standing}
    cause = finding.caused_by
    for _ in range(len(causes)):
        if cause is None or cause in known:
            return cause is not None
        cause = causes.get(cause)
    return False


def _compared(
    fleet: DemoFleet,
    incident: PlantedIncident,
    report: Report,
    standing: Mapping[Place, Finding],
) -> Iterator[Planted]:
    def found(
        check: Ident, name: str, what: str, missing: str = "", address: Prefix | None = None
    ) -> Planted:
        if (check, address if address is not None else name) not in standing:
            missing = f"no {check} for {name}"
        return Planted(what, check, missing)

    for contest, why, cause in (
        (incident.pair, "fallback", GuessedCause.ALLOCATOR_FALLBACK),
        (incident.triple, "parallel writers", GuessedCause.PARALLEL_WRITERS),
    ):
        subject = format_prefix(contest.address)
        holders = listed([f"{name} ({fleet.node(name).registered_region})" for name in contest.claimants])
        finding = standing.get((Ident.DUPLICATE_ADDRESS, contest.address))
        yield found(
            Ident.DUPLICATE_ADDRESS,
            subject,
            f"{subject} on {holders}: {why}",
            _contest_differs(fleet, contest, finding, cause) if finding is not None else "",
            contest.address,
        )
        if contest is incident.pair:
            yield found(
                Ident.FALLBACK_ADDRESS,
                subject,
                f"{subject} is the first address of the pool",
                address=contest.address,
            )
    misplaced = fleet.node(incident.misplaced)
    yield found(
        Ident.REGION_MISMATCH,
        misplaced.name,
        f"{misplaced.name} stands in {misplaced.region}, registered in {misplaced.registered_region}",
    )
    drifted = fleet.node(incident.drifted)
    yield found(
        Ident.ADDRESS_DRIFT,
        drifted.name,
        f"{drifted.name} has {format_prefix(drifted.device_address)}, "
        f"registered with {format_prefix(drifted.registered_address)}",
    )
    left = format_prefix(drifted.registered_address)
    finding = standing.get((Ident.ANSWERED_BY_OTHER, drifted.registered_address))
    met = sorted({item.node.name for item in finding.evidence.answers if item.node}) if finding else []
    yield found(
        Ident.ANSWERED_BY_OTHER,
        left,
        f"what comes for {left} is passed on to {incident.stand_in}",
        "" if met == [incident.stand_in] else f"answered by {listed(met) or 'nobody'}",
        drifted.registered_address,
    )
    refused = any(
        gap.node == incident.unreachable and gap.reason is GapReason.CONNECT_REFUSED for gap in report.gaps
    )
    yield Planted(
        f"{incident.unreachable} refuses SSH",
        "gap",
        "" if refused else f"no gap {GapReason.CONNECT_REFUSED} for {incident.unreachable}",
    )


def _contest_differs(fleet: DemoFleet, contest: Contest, finding: Finding, cause: GuessedCause) -> str:
    """Word the finding's difference from the state of the nodes' kernels; "" where there is none."""
    names = sorted(node.name for node in finding.nodes)
    if names != list(contest.claimants):
        return f"nodes {listed(names) or 'none'}"
    seen = {
        pick.node.name if pick.node is not None else "nobody": Counter(pick.regions)
        for pick in finding.evidence.routing
    }
    due = fleet.routing(contest.address)
    if seen != due:
        return f"routing {_counts(seen)}, where {_counts(due)} was due"
    if answers := _answers_differ(fleet, contest, finding):
        return answers
    return "" if finding.probable_cause is cause else f"no guess at {cause.value}"


def _answers_differ(fleet: DemoFleet, contest: Contest, finding: Finding) -> str:
    """Word the difference of who was met from whom the observers' kernels keep; "" where there is none."""
    met = [item for item in finding.evidence.answers if item.reason is None]
    if not met:
        return "nobody was met there"
    for reached in met:
        name = reached.node.name if reached.node is not None else reached.said
        for observer in reached.everyone() if reached.everyone is not None else reached.sample:
            keeper = fleet.keeper(fleet.node(observer.name), contest)
            if name != keeper:
                return f"{observer.name} met {name}, where {keeper} was due"
    return ""


def _counts(picks: Mapping[str, Counter[str]]) -> str:
    return ", ".join(f"{name} {regions.total()}" for name, regions in sorted(picks.items())) or "none"
