"""The report for a person at a terminal: the verdict, contested addresses, the rest, and what was not seen."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.terminal.blocks import (
    claim_colours,
    claims_block,
    coverage_words,
    finding_head,
    gaps_block,
    registry_words,
    report_keys,
    routing_block,
    seen_by,
    split_guess,
    witness_words,
)
from auditor.reports.terminal.page import Page, pasteable, percent, plural
from auditor.reports.terminal.rest import rest_block
from auditor.values.models import Finding, NodeId, Report, Severity, Verdict

CONTESTED = "duplicate-address"
"""The check whose findings come first, whatever else is as bad."""

_VERDICT_STYLE: Mapping[Verdict, str] = {
    Verdict.CLEAN: "bold green",
    Verdict.FINDINGS: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
}
_MOST_GONE = 10
_MOST_AGREED = 20
_MOST_FOLLOWERS = 3
_MOST_FACTS = 6
# What makes a word a part of a longer one. Compiled once: a pattern for each of 3,000 names costs a second.
_BEFORE, _AFTER = re.compile(r"[\w.:-]"), re.compile(r"[\w:-]|\.\w")
_INDENT = 10  # below the subject, which stands beside the severity


class _Sorted:
    """A report's findings by their place on the page."""

    def __init__(self, report: Report) -> None:
        standing = {finding.fingerprint: finding for finding in report.standing}
        self.gone = [finding for finding in report.findings if finding.confirmed is False]
        self.agreed = [
            finding
            for finding in report.findings
            if finding.agreed is not None and finding.confirmed is not False
        ]
        self.followers: dict[str, list[Finding]] = defaultdict(list)
        roots: list[Finding] = []
        for finding in report.standing:
            cause = _root(finding, standing)
            if cause is None:
                roots.append(finding)
            else:
                self.followers[cause].append(finding)
        self.contested = [finding for finding in roots if finding.check == CONTESTED]
        self.rest = sorted(
            (finding for finding in roots if finding.check != CONTESTED),
            key=lambda finding: finding.severity.rank,
        )


def _root(finding: Finding, standing: Mapping[str, Finding]) -> str | None:
    """The finding that this one follows from in the end; None where it stands for itself."""
    seen = {finding.fingerprint}
    current = finding
    while current.caused_by is not None and current.caused_by in standing:
        if current.caused_by in seen:
            return None  # a circle has no first cause: better shown twice than hidden
        seen.add(current.caused_by)
        current = standing[current.caused_by]
    return current.fingerprint if current is not finding else None


def render(report: Report, layout: Layout, /) -> str:
    """Renders the report as a page of text. Pure; no line is wider than the layout's columns."""
    parts = _Sorted(report)
    page = Page(layout, report_keys(report))
    _verdict_line(page, report, parts)
    _tally_line(page, report, parts)
    limit = max(0, layout.limit)
    contested, rest = parts.contested[:limit], parts.rest[: max(0, limit - len(parts.contested))]
    if contested:
        page.heading("CONTESTED ADDRESSES")
        for finding in contested:
            page.blank()
            _contested(page, report, finding, parts.followers[finding.fingerprint])
    if rest:
        page.heading("OTHER FINDINGS" if contested else "FINDINGS")
        for finding in rest:
            page.blank()
            _finding(page, report, finding, parts.followers[finding.fingerprint])
    hidden = parts.contested[len(contested) :] + parts.rest[len(rest) :]
    if hidden:
        rest_block(page, hidden, len(parts.contested) + len(parts.rest))
    if parts.agreed:
        _agreed(page, report, parts.agreed)
    if parts.gone:
        _gone(page, parts.gone)
    if report.gaps:
        page.heading("NOT SEEN", plural(len(report.gaps), "gap"))
        gaps_block(page, report.gaps, report.name, lambda node: report.node_regions.get(node, ""))
    if report.in_flight:
        page.heading("IN FLIGHT", "registered, changed or removed during the sweep; not judged")
        names = [report.name(node) for node in dict.fromkeys(report.in_flight)]
        page.line(page.names(names, 12), 2)
    _coverage(page, report, parts)
    return page.text()


# -- the first lines


def _verdict_line(page: Page, report: Report, parts: _Sorted) -> None:
    verdict = report.verdict.value.upper()
    room = page.width - cell_len(verdict) - 2
    wordings = [page.dot.join(filter(None, words)) for words in _verdict_words(page, report, parts)]
    words = next((text for text in wordings if cell_len(text) <= room), wordings[-1])
    page.line(Text(verdict, _VERDICT_STYLE[report.verdict]).append(f"  {words}", "not bold default"))


def _verdict_words(page: Page, report: Report, parts: _Sorted) -> list[list[str]]:
    """The verdict in words, from the longest to the shortest: the first that fits is taken."""
    coverage = report.coverage
    seen = coverage_words(coverage)
    tiny = f"{coverage.observed:,}/{coverage.registered:,} seen"
    gaps = plural(len(report.gaps), "gap") if report.gaps else "no gaps"
    cut = f"cut short: {page.name(report.cut_short)[:20]}" if report.cut_short else ""
    contested, more = len(parts.contested), len(parts.rest)
    found = plural(more, "finding") if more else "no findings"
    brief = found
    if contested:
        found = plural(contested, "contested address", "contested addresses")
        brief = f"{contested:,} contested"
        if more:
            found += f", {more:,} more findings" if more != 1 else ", 1 more finding"
            brief += f", {more:,} more"
    if report.verdict is Verdict.INCONCLUSIVE:
        unseen = coverage.registered - coverage.observed
        found = f"{found}, but {_unseen(report, unseen)}"
        if unseen > 0 and "seen" in found:
            seen = tiny = ""
        return [[found, seen, cut, gaps], [found, tiny, cut], [found, cut], [found]]
    return [[found, seen, gaps, cut], [brief, seen, gaps, cut], [brief, tiny, gaps, cut], [brief, tiny, cut]]


def _unseen(report: Report, unseen: int) -> str:
    if words := registry_words(report.gaps):
        return words
    if not report.coverage.registered:
        return "the registry was not read" if report.cut_short else "no node is registered"
    if unseen > 0:
        return f"{unseen:,} of {plural(report.coverage.registered, 'node')} not seen"
    return "not enough was seen"


def _tally_line(page: Page, report: Report, parts: _Sorted) -> None:
    roots = [*parts.contested, *parts.rest]
    if roots:
        counts = Counter(finding.severity for finding in roots)
        words = ", ".join(f"{counts[severity]:,} {severity}" for severity in Severity if counts[severity])
        followers = len(report.standing) - len(roots)
        if followers:
            words += f"; {followers:,} more {'follows' if followers == 1 else 'follow'} from these"
        silenced = sum(finding.silenced is not None for finding in roots)
        if silenced:
            words += f"; {silenced:,} silenced"
        page.line(words)
    if report.verdict is Verdict.INCONCLUSIVE and report.gaps:
        places = [report.name(NodeId(gap.datacenter or "", gap.node)) for gap in report.gaps if gap.node]
        if places:
            page.line(f"not seen: {page.names(list(dict.fromkeys(places)), 8)}")
    if report.cut_short:
        page.line(
            f"The sweep was cut short ({page.name(report.cut_short)}): this is what was seen until then."
        )


# -- findings


def _contested(page: Page, report: Report, finding: Finding, followers: Sequence[Finding]) -> None:
    finding_head(page, finding)
    facts, guess = split_guess(finding.summary)
    # The rows and bars below say the rest, more clearly.
    page.line(page.clean(_first_sentence(facts) if finding.evidence.routing else facts), 2)
    claims = witness_words(finding.evidence.claims)
    if claims:
        page.line("claimed by", 2, "dim")
        claims_block(
            page, claims, finding.subject, report.name, lambda node: report.node_regions.get(node, "")
        )
    _routing(page, report, finding)
    _guess(page, finding, guess, 2)
    _followers(page, finding, followers, 2)
    _silenced(page, finding, 2)
    if pasteable(finding.subject):
        page.labelled("next", Text(f"wgaudit explain {finding.subject}", "bold"))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s+(?=[0-9A-Z])", text, maxsplit=1)[0]


def _routing(page: Page, report: Report, finding: Finding) -> None:
    picks = finding.evidence.routing
    if not picks:
        return
    total = sum(pick.observers for pick in picks)
    page.line(f"{plural(total, 'observer')} {'routes' if total == 1 else 'route'} it to", 2, "dim")
    routing_block(page, picks, report.name, claim_colours(finding.evidence.claims))


def _finding(page: Page, report: Report, finding: Finding, followers: Sequence[Finding]) -> None:
    finding_head(page, finding)
    prose, guess = split_guess(finding.summary)
    page.line(page.clean(prose), _INDENT)
    named = f"{finding.subject} {finding.summary}"
    others = [name for node in finding.nodes if not _says(named, name := report.name(node))]
    if others:
        page.labelled("nodes", page.names(others, 4), _INDENT)
    facts = [fact for fact in finding.evidence.facts if not _says(finding.summary, fact[1])]
    if facts:
        words = [f"{page.name(label)}: {page.name(value)}" for label, value in facts[:_MOST_FACTS]]
        page.line(page.dot.join(words), _INDENT, "dim")
    observers = seen_by(page, finding, report.name)
    if observers:
        page.line(observers, _INDENT, "dim")
    _routing(page, report, finding)
    _guess(page, finding, guess, _INDENT)
    _followers(page, finding, followers, _INDENT)
    _silenced(page, finding, _INDENT)


def _says(text: str, word: str) -> bool:
    """Whether the word stands in the text by itself, not as a part of a longer one."""
    start = text.find(word)
    while start >= 0:
        inside = start > 0 and _BEFORE.match(text, start - 1)
        if not inside and not _AFTER.match(text, start + len(word)):
            return True
        start = text.find(word, start + 1)
    return False


def _guess(page: Page, finding: Finding, guess: str, indent: int) -> None:
    if guess or finding.probable_cause:
        page.labelled("guess", page.clean(guess or f"Probably {finding.probable_cause}."), indent)


def _silenced(page: Page, finding: Finding, indent: int) -> None:
    """Which silence mutes its alerts, until when and why."""
    if finding.silenced is not None:
        page.labelled("silenced", page.clean(finding.silenced) or "by a silence", indent)


def _followers(page: Page, cause: Finding, followers: Sequence[Finding], indent: int) -> None:
    """One line for the findings that follow from this one, by check."""
    if not followers:
        return
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in followers:
        groups[finding.check].append(finding)
    words = []
    for check, group in groups.items():
        things = [_follower(page, cause, finding) for finding in group[:_MOST_FOLLOWERS]]
        things = [thing for thing in things if thing]
        if len(group) > _MOST_FOLLOWERS:
            things.append(f"{len(group) - _MOST_FOLLOWERS:,} more")
        words.append(f"{page.name(check)} ({', '.join(things)})" if things else page.name(check))
    page.labelled("leads to", ", ".join(words), indent)


def _follower(page: Page, cause: Finding, finding: Finding) -> str:
    """`edge-fra-1 on 23 observers`: what the finding adds to its cause."""
    rest = finding.subject
    if rest.partition(" ")[0] == cause.subject:  # "10.0.0.1 of edge-fra-1", beside 10.0.0.1
        rest = rest.removeprefix(cause.subject).removeprefix(" of ").removeprefix(" on ")
    count = finding.evidence.observers
    observers = plural(count, "observer") if count > 1 or (count and not rest) else ""
    return " on ".join(filter(None, [page.name(rest) if rest else "", observers]))


# -- what is not written out


def _agreed(page: Page, report: Report, agreed: Sequence[Finding]) -> None:
    """Addresses that are meant to be shared: who holds each, why, and until when."""
    marks = {finding.fingerprint for finding in agreed}
    leading = [finding for finding in agreed if finding.caused_by not in marks]
    page.heading("AGREED SHARING", f"{len(leading):,}, not counted")
    for finding in leading[:_MOST_AGREED]:
        holders = page.names([report.name(node) for node in finding.nodes], 8)
        words = filter(None, [page.name(finding.subject), holders])
        page.line(page.dot.join(words), 2)
        page.line(page.clean(finding.agreed or ""), 4, "dim")
    if len(leading) > _MOST_AGREED:
        page.more(f"and {len(leading) - _MOST_AGREED:,} more", "--format json")


def _gone(page: Page, gone: Sequence[Finding]) -> None:
    page.heading("GONE ON THE SECOND LOOK", f"{plural(len(gone), 'finding')}; not counted")
    for finding in gone[:_MOST_GONE]:
        page.line(f"{page.name(finding.subject)}{page.dot}{page.name(finding.check)}", 2)
    if len(gone) > _MOST_GONE:
        page.more(f"and {len(gone) - _MOST_GONE:,} more", "--format json")


def _coverage(page: Page, report: Report, parts: _Sorted) -> None:
    coverage = report.coverage
    page.heading("COVERAGE")
    share = percent(coverage.observed, coverage.registered)
    words = [
        f"{coverage_words(coverage, 'registered node')} ({share})",
        plural(coverage.distinct_tables, "distinct route table"),
    ]
    if coverage.undigested:
        words.append(f"{plural(coverage.undigested, 'node')} could not digest, sent in full")
    page.line(page.dot.join(words), 2)
    took = (report.finished_at - report.started_at).total_seconds()
    page.line(f"{report.finished_at:%Y-%m-%d %H:%M:%S} UTC, took {took:,.1f} s", 2, "dim")
    if parts.contested or parts.rest:
        page.line("What each finding means and what to do: docs/findings.md", 2, "dim")
        page.line("The whole story of one address, node or key: wgaudit explain TARGET", 2, "dim")
