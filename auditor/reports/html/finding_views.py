"""Findings, gaps and coverage as the HTML pages show them: every word made, for templates to place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from auditor.reports.html.split_brain import Picture, marks, split_brain, tones
from auditor.reports.html.templating import by_region_words, listed_names, name_words, text_words
from auditor.reports.outline import NO_REGION, Claimant, Excerpt, GapGroup, NextStep, Outline, OutlinedFinding
from auditor.reports.region_words import unchecked_region_words
from auditor.reports.report_words import (
    coverage_words,
    following_words,
    gap_places,
    percent,
    place_words,
    share_words,
    tally_words,
    unsaid_facts,
    unsaid_nodes,
    verdict_wordings,
)
from auditor.values.answer_words import (
    SOURCE_WORDS,
    Asked,
    asked_words,
    called,
    failure_words,
    server_remark,
    server_words,
)
from auditor.values.findings import Claim, Finding, Severity
from auditor.values.guide import Guide
from auditor.values.models import NodeId
from auditor.values.report import Report, Verdict
from auditor.values.text import count, for_terminal

MOST_PICTURES = 12
"""Contested addresses that are drawn; further ones are rows of a table."""

_LONGEST_PLACE = 200
_MOST_CLAIMANTS = 8
_MOST_PLACES = 6
_MOST_SERVERS = 8
_MOST_FACTS = 8
_MOST_DETAILS = 5
_MOST_LISTED = 100  # lines of what is not counted: agreed, gone, silenced


def _nowhere(_: object) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class PageLinks:
    """Links of a page to further pages, each "" where there is none."""

    of_finding: Callable[[Finding], str] = _nowhere
    of_node: Callable[[NodeId], str] = _nowhere


@dataclass(frozen=True, slots=True)
class ClaimantView:
    """A claimant as the page shows it."""

    name: str
    region: str
    key: str
    mark: str
    tone: str
    places: tuple[str, ...]
    link: str = ""


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server that was met at an address, or why none was."""

    name: str
    remark: str
    """What it says of itself, where that is not what is known of its node; "" otherwise."""
    observers: int
    share: str
    regions: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class AnswersView:
    """What came of asking one kind of server at an address."""

    source: str
    words: str
    servers: tuple[ServerView, ...]
    more: int
    """Servers that are not shown."""


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding with the words that belong to it; every text is foreign until the template escapes it."""

    finding: Finding
    tags: tuple[str, ...]
    statement: str
    nodes: str
    facts: tuple[tuple[str, str], ...]
    observers: str
    guess: str
    following: str
    claimants: tuple[ClaimantView, ...] = ()
    more_claimants: int = 0
    picture: Picture | None = None
    steps: tuple[tuple[str, str], ...] = ()
    """Purpose and command of what may be run next."""
    link: str = ""
    answers: tuple[AnswersView, ...] = ()
    but: str = ""
    """Says what the route tables do not explain; "" where there is nothing of that kind."""
    fresh: str = ""
    """Says that it is new or has changed lately; "" otherwise."""


@dataclass(frozen=True, slots=True)
class CheckView:
    """Findings of one check and severity."""

    check: str
    severity: Severity
    docs: str
    findings: tuple[FindingView, ...]


@dataclass(frozen=True, slots=True)
class FindingViews:
    """Views of one report's findings. Pure: the same report gives the same words."""

    report: Report
    guide: Guide
    links: PageLinks = PageLinks()
    explain_each: bool = False
    """True: a finding that leads to no command of its own leads to its story."""
    fresh: Mapping[str, str] = field(default_factory=dict)
    """Words for findings that are new or have changed lately, by fingerprint."""

    def context(
        self, whole: Outline, grouped: Outline, excerpt: Excerpt, *, pictures: int, rows: int
    ) -> dict[str, object]:
        """Return what the templates of this room take.

        whole, grouped: the report, and the part of it that is shown. excerpt: which of the other findings are written
        out. pictures, rows: numbers of contested addresses that are drawn, and that are a row of a table.
        """
        report, guide = self.report, self.guide
        return {
            "report": report,
            "grouped": grouped,
            "guide": guide,
            "headline": " · ".join(filter(None, verdict_wordings(report, whole, name_words)[0])),
            "tally": tally_words(whole),
            "unseen": self._unseen(whole),
            "gap_count": gap_count(grouped),
            "drawn": [self.contested(item) for item in grouped.contested[:pictures]],
            "rows": [self.contested(item) for item in grouped.contested[pictures : pictures + rows]],
            "checks": self.checks(excerpt.rest),
            "excerpt": excerpt,
            "most_listed": _MOST_LISTED,
            "silenced": [item.finding for item in grouped.leading if item.finding.silenced is not None],
            "drained": [
                (report.name(node), self.links.of_node(node), text_words(item.sentence))
                for node, item in grouped.drained
            ],
            "gaps": self.gaps(grouped.gaps),
            "unheard": self.gaps(grouped.unheard),
            "unheard_count": sum(len(group.gaps) for group in grouped.unheard),
            "coverage": coverage_lines(report, grouped),
            "steps": spelled_steps(grouped.next_steps, guide),
            "everything": guide.spelled(
                guide.again("--format", "html", "--limit", str(len(grouped.leading)))
            ),
            "as_json": guide.spelled(guide.again("--format", "json")),
            "explained_by": lambda word: guide.spelled((*guide.program, "explain", word)),
            "name_list": lambda nodes: listed_names([report.name(node) for node in nodes]),
        }

    def _unseen(self, grouped: Outline) -> list[str]:
        if self.report.verdict is not Verdict.INCONCLUSIVE:
            return []
        return list(dict.fromkeys(self.report.name(node) for node in grouped.unseen))

    def contested(self, item: OutlinedFinding) -> FindingView:
        """Make the view of a contested address."""
        shown = item.claimants[:_MOST_CLAIMANTS]
        letters, colours = marks(item.claimants), tones(item.claimants)
        claimants = []
        for claimant in shown:
            key, node = claimant.public_key, claimant.node
            region = self.report.node_regions.get(node, NO_REGION) if node is not None else NO_REGION
            claimants.append(
                ClaimantView(
                    self._node_name(node),
                    name_words(region or "region unknown"),
                    key or "key unread",
                    letters[key] if key is not None else "",
                    colours[key] if key is not None else "others",
                    _places(claimant, item.finding.subject),
                    self.links.of_node(node) if node is not None else "",
                )
            )
        return self.view(
            item,
            statement=item.finding.statement,  # the picture says what the routing statement says, more clearly
            claimants=tuple(claimants),
            more_claimants=len(item.claimants) - len(shown),
            picture=split_brain(item, self.report.name),
        )

    def view(
        self,
        item: OutlinedFinding,
        *,
        statement: str,
        claimants: tuple[ClaimantView, ...] = (),
        more_claimants: int = 0,
        picture: Picture | None = None,
    ) -> FindingView:
        """Make the view of any finding."""
        finding = item.finding
        tags = [name_words(finding.check), *([listed_names(finding.regions, 8)] if finding.regions else [])]
        tags += ["seen once"] if finding.confirmed is None else []
        return FindingView(
            finding,
            tuple(tags),
            text_words(statement),
            listed_names(unsaid_nodes(finding, self.report.name), 6) if not claimants else "",
            (
                *(
                    (name_words(label), name_words(value))
                    for label, value in unsaid_facts(finding)[:_MOST_FACTS]
                ),
                *self._drained(finding),
            ),
            self._seen_by(finding),
            text_words(finding.guess.sentence) if finding.guess is not None else "",
            "; ".join(following_words(group, finding, name_words) for group in item.following),
            claimants,
            more_claimants,
            picture,
            spelled_steps(item.next_steps or self._story(finding), self.guide),
            self.links.of_finding(finding),
            tuple(map(self.answers, item.answers)),
            text_words(finding.disagreement),
            self.fresh.get(finding.fingerprint, ""),
        )

    def answers(self, item: Asked) -> AnswersView:
        """Word what came of asking one kind of server at an address."""
        total = item.observers
        servers = [
            ServerView(
                name_words(self.report.name(met.node))
                if met.node is not None
                else name_words(called(met.said)),
                text_words(server_remark(met, lambda node: self.report.node_regions.get(node, NO_REGION))),
                met.observers,
                share_words(met.observers, total),
                by_region_words(met.regions),
                self.links.of_node(met.node) if met.node is not None else "",
            )
            for met in item.answered[:_MOST_SERVERS]
        ]
        servers += [
            ServerView(
                failure_words(met.reason), "", met.observers, share_words(met.observers, total),
                by_region_words(met.regions),
            )
            for met in item.unanswered[:_MOST_SERVERS]
            if met.reason is not None
        ]  # fmt: skip
        words = asked_words(item, lambda met: name_words(server_words(met, self.report.name)))
        hidden = max(0, len(item.answered) - _MOST_SERVERS)
        return AnswersView(SOURCE_WORDS[item.source], words, tuple(servers), hidden)

    def _story(self, finding: Finding) -> tuple[NextStep, ...]:
        if not self.explain_each:
            return ()
        # Of a node its name, which a person can read; a fingerprint names anything that stands.
        named = [node for node in finding.nodes if self.report.name(node) == finding.subject]
        target = finding.subject if named else finding.fingerprint
        return (NextStep("Its whole story", self.guide.command("explain", target=target)),)

    def _drained(self, finding: Finding) -> list[tuple[str, str]]:
        nodes = [self.report.name(node) for node in self.report.drained_of(finding)]
        return [("Out of production", listed_names(nodes, 6))] if nodes else []

    def _node_name(self, node: NodeId | None) -> str:
        return name_words(self.report.name(node)) if node is not None else "unknown node"

    def _seen_by(self, finding: Finding) -> str:
        observers = finding.evidence.observers
        if not observers:
            return ""
        names = [self.report.name(node) for node in finding.evidence.sample]
        return count(observers, "observer") + (f": {listed_names(names, 6, observers)}" if names else "")

    def checks(self, findings: Sequence[OutlinedFinding]) -> list[CheckView]:
        """Group the other findings by severity and check, the worst first."""

        def kind(item: OutlinedFinding) -> tuple[int, str]:
            return item.finding.severity.rank, item.finding.check

        views = []
        for (_, check), group in groupby(sorted(findings, key=kind), kind):
            items = tuple(group)
            views.append(
                CheckView(
                    check,
                    items[0].finding.severity,
                    self.guide.documentation(check),
                    tuple(self.view(item, statement=_undrawn(item.finding)) for item in items),
                )
            )
        return views

    def gaps(self, groups: Sequence[GapGroup]) -> list[dict[str, object]]:
        """Word the gaps, by reason."""
        return [
            {
                "group": group,
                "places": listed_names(
                    places := gap_places(group, self.report.name), total=len(group.gaps) if places else 0
                ),
                "regions": by_region_words(group.regions) if set(group.regions) - {NO_REGION} else "",
                "details": [text_words(detail) for detail in group.details[:_MOST_DETAILS]],
                "more_details": max(0, len(group.details) - _MOST_DETAILS),
            }
            for group in groups
        ]


def gap_count(grouped: Outline) -> int:
    """Count the gaps that are shown."""
    return sum(len(group.gaps) for group in grouped.gaps)


def _undrawn(finding: Finding) -> str:
    """Return the facts of a finding whose answers are drawn."""
    return " ".join(filter(None, (finding.statement, finding.routing_statement)))


def _places(claimant: Claimant, subject: str) -> tuple[str, ...]:
    claims: Sequence[Claim] = claimant.claims
    words = [place_words(claim, subject, _place) for claim in claims[:_MOST_PLACES]]
    if len(claims) > _MOST_PLACES:
        words.append(f"and {len(claims) - _MOST_PLACES:,} more")
    return tuple(words)


def _place(text: str) -> str:
    return for_terminal(text, most=_LONGEST_PLACE)


def spelled_steps(steps: Sequence[NextStep], guide: Guide) -> tuple[tuple[str, str], ...]:
    """Word what may be run or read; what no shell can spell is left out."""
    spelled = [
        (step.purpose, guide.spelled(step.command) if step.command else step.document) for step in steps
    ]
    return tuple((purpose, words) for purpose, words in spelled if words)


def coverage_lines(report: Report, grouped: Outline) -> list[tuple[str, str]]:
    """Word what was seen, and in how many tables."""
    coverage = grouped.coverage
    seen = (
        f"{coverage_words(coverage, 'registered node')} ({percent(coverage.observed, coverage.registered)})"
    )
    lines = [
        ("Nodes", seen),
        ("Route tables", count(coverage.distinct_tables, "distinct route table")),
    ]
    if coverage.undigested:
        lines.append(("Without a digest", f"{count(coverage.undigested, 'node')}, sent in full"))
    if report.others.total:
        lines.append(("Registry", report.others.sentence))
    lines += [("Regions", text_words(sentence)) for sentence in unchecked_region_words(coverage.regions)]
    return lines
