"""PURE: grouping of findings into incidents: each root finding with all that follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from alerts.models import Answered, Incident
from auditor.values.answer_words import failure_words
from auditor.values.findings import Finding
from auditor.values.report import Report

Group = tuple[Finding, Sequence[Finding]]
"""Finding that leads an incident, and its followers."""

MOST_ROUTES = 50
"""Destinations that an incident names; the others, the least busy ones, are one entry that counts them."""

MOST_ANSWERS = 50
"""Servers and failures that an incident tells of; a fleet has fewer at one address."""


def groups(report: Report, own: Collection[str] = ()) -> list[Group]:
    """Group leading findings with their followers. Gone or agreed findings are in no group.

    `own`: fingerprints that are incidents already. They stay so, even if a cause of theirs shows up later:
    taking them back would say that they are over.
    """
    counting = [finding for finding in report.standing if finding.agreed is None]
    present = {finding.fingerprint for finding in counting if finding.caused_by is None}
    followers: dict[str, list[Finding]] = {}
    leaders = []
    for finding in counting:
        if finding.caused_by in present:
            followers.setdefault(finding.caused_by, []).append(finding)
        # A finding whose cause does not count leads itself.
        if finding.caused_by not in present or finding.fingerprint in own:
            leaders.append(finding)
    return [(finding, followers.get(finding.fingerprint, [])) for finding in leaders]


def incident(report: Report, group: Group) -> Incident:
    """Make the incident of a group; its severity is that of the worst finding."""
    finding, followers = group
    routing = [
        (
            report.name(pick.node) if pick.node is not None else pick.public_key or "nobody",
            pick.observers,
            tuple(sorted(pick.regions.items())),
        )
        for pick in finding.evidence.routing
    ]
    if len(routing) > MOST_ROUTES:
        rest = routing[MOST_ROUTES - 1 :]
        routing[MOST_ROUTES - 1 :] = [(f"{len(rest):,} others", sum(pick[1] for pick in rest), ())]
    return Incident(
        fingerprint=finding.fingerprint,
        check=finding.check,
        severity=min((finding.severity, *(item.severity for item in followers)), key=lambda item: item.rank),
        subject=finding.subject,
        address=finding.address or "",
        # The answers, and what the routes do not explain of them, are said apart.
        summary=" ".join(filter(None, (finding.statement, finding.routing_statement))),
        guess=finding.guess.sentence if finding.guess is not None else "",
        nodes=tuple(sorted(report.name(node) for node in finding.nodes)),
        regions=tuple(sorted(finding.regions)),
        routing=tuple(routing),
        follows=tuple(sorted(Counter(item.check for item in followers).items())),
        mesh=report.mesh,
        answers=_answers(report, finding),
        disagreement=finding.disagreement,
        drained=tuple(
            sorted((report.name(node), report.drained[node].sentence) for node in report.drained_of(finding))
        ),
    )


def _answers(report: Report, finding: Finding) -> tuple[Answered, ...]:
    made = [
        Answered(
            reached.source.value,
            report.name(reached.node) if reached.node is not None else "",
            reached.said,
            reached.observers,
            tuple(sorted(reached.regions.items())),
            failure_words(reached.reason) if reached.reason is not None else "",
        )
        for reached in finding.evidence.answers
    ]
    return tuple(made[:MOST_ANSWERS])
