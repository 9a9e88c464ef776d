"""Report for a person at a terminal: the verdict, contested addresses, other findings, and gaps."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.outline import (
    NO_REGION,
    AgreedSharing,
    Outline,
    OutlinedFinding,
    RegistryView,
    outline,
)
from auditor.reports.terminal.blocks import (
    claim_colours,
    claims_block,
    coverage_words,
    finding_head,
    gaps_block,
    report_keys,
    routing_block,
    seen_by,
)
from auditor.reports.terminal.page import Page, pasteable, percent
from auditor.reports.terminal.rest import rest_block
from auditor.values.models import Finding, Report, Verdict
from auditor.values.text import count

_VERDICT_STYLE: Mapping[Verdict, str] = {
    Verdict.CLEAN: "bold green",
    Verdict.FINDINGS: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
}
_REGISTRY: Mapping[RegistryView, str] = {
    RegistryView.SUSPECT: "perhaps the registry was not read whole",
    RegistryView.INCOMPLETE: "the registry was not read whole",
}
_MOST_GONE = 10
_MOST_AGREED = 20
_MOST_FOLLOWERS = 3
_MOST_FACTS = 6
# What makes a word a part of a longer one. Compiled once: a pattern for each of 3,000 names costs a second.
_BEFORE, _AFTER = re.compile(r"[\w.:-]"), re.compile(r"[\w:-]|\.\w")
_INDENT = 10  # below the subject, which stands beside the severity


def render(report: Report, layout: Layout, /) -> str:
    """Render the report as a page of text; no line is wider than the layout's columns."""
    page = Page(layout, report_keys(report))
    grouped = outline(report)
    _verdict_line(page, report, grouped)
    _tally_line(page, report, grouped)
    excerpt = grouped.excerpt(layout.limit)
    if excerpt.contested:
        page.heading("CONTESTED ADDRESSES")
        for item in excerpt.contested:
            page.blank()
            _contested(page, report, item)
    if excerpt.rest:
        page.heading("OTHER FINDINGS" if excerpt.contested else "FINDINGS")
        for item in excerpt.rest:
            page.blank()
            _finding(page, report, item)
    if excerpt.counted:
        rest_block(page, excerpt, len(grouped.leading))
    if grouped.agreed:
        _agreed(page, report, grouped.agreed_sharing)
    if grouped.gone:
        _gone(page, grouped.gone)
    if grouped.gaps:
        page.heading("NOT SEEN", count(len(report.gaps), "gap"))
        gaps_block(page, grouped.gaps, report.name)
    if grouped.in_flight:
        page.heading("IN FLIGHT", "had not held still when the sweep ended")
        page.line(page.names([report.name(node) for node in grouped.in_flight], 12), 2)
    _coverage(page, report, grouped)
    return page.text()


# -- the first lines


def _verdict_line(page: Page, report: Report, grouped: Outline) -> None:
    verdict = report.verdict.value.upper()
    room = page.width - cell_len(verdict) - 2
    wordings = [page.dot.join(filter(None, words)) for words in _verdict_words(page, report, grouped)]
    words = next((text for text in wordings if cell_len(text) <= room), wordings[-1])
    page.line(Text(verdict, _VERDICT_STYLE[report.verdict]).append(f"  {words}", "not bold default"))


def _verdict_words(page: Page, report: Report, grouped: Outline) -> list[list[str]]:
    """Put the verdict in words, from the longest wording to the shortest: the first that fits is taken."""
    coverage = report.coverage
    seen = coverage_words(coverage)
    tiny = f"{coverage.observed:,}/{coverage.registered:,} seen"
    gaps = count(len(report.gaps), "gap") if report.gaps else "no gaps"
    cut = f"cut short: {page.name(report.cut_short)[:20]}" if report.cut_short else ""
    contested, more = len(grouped.contested), len(grouped.rest)
    found = count(more, "finding") if more else "no findings"
    brief = found
    if contested:
        found = count(contested, "contested address", "contested addresses")
        brief = f"{contested:,} contested"
        if more:
            found += f", {more:,} more findings" if more != 1 else ", 1 more finding"
            brief += f", {more:,} more"
    if report.verdict is Verdict.INCONCLUSIVE:
        unseen = coverage.registered - coverage.observed
        found = f"{found}, but {_unseen(report, grouped.registry, unseen)}"
        if unseen > 0 and "seen" in found:
            seen = tiny = ""
        return [[found, seen, cut, gaps], [found, tiny, cut], [found, cut], [found]]
    return [[found, seen, gaps, cut], [brief, seen, gaps, cut], [brief, tiny, gaps, cut], [brief, tiny, cut]]


def _unseen(report: Report, registry: RegistryView, unseen: int) -> str:
    if registry is not RegistryView.WHOLE:
        return _REGISTRY[registry]
    if not report.coverage.registered:
        return "the registry was not read" if report.cut_short else "no node is registered"
    if unseen > 0:
        return f"{unseen:,} of {count(report.coverage.registered, 'node')} not seen"
    return "not enough was seen"


def _tally_line(page: Page, report: Report, grouped: Outline) -> None:
    if grouped.severities:
        words = ", ".join(f"{count:,} {severity}" for severity, count in grouped.severities.items())
        if grouped.following:
            verb = "follows" if grouped.following == 1 else "follow"
            words += f"; {grouped.following:,} more {verb} from these"
        if grouped.silenced:
            words += f"; {grouped.silenced:,} silenced"
        page.line(words)
    if report.verdict is Verdict.INCONCLUSIVE and grouped.unseen:
        names = dict.fromkeys(report.name(node) for node in grouped.unseen)
        page.line(f"not seen: {page.names(list(names), 8)}")
    if report.cut_short:
        page.line(
            f"The sweep was cut short ({page.name(report.cut_short)}): this is what was seen until then."
        )


# -- findings


def _contested(page: Page, report: Report, item: OutlinedFinding) -> None:
    finding = item.finding
    finding_head(page, finding)
    # The bars below say what the routing statement says, more clearly.
    page.line(page.clean(finding.statement), 2)
    if item.claimants:
        page.line("claimed by", 2, "dim")
        claims_block(
            page,
            item.claimants,
            finding.subject,
            report.name,
            lambda node: report.node_regions.get(node, NO_REGION),
        )
    _routing(page, report, item)
    _guess(page, finding, 2)
    _followers(page, item, 2)
    _silenced(page, finding, 2)
    if item.next_command is not None and all(map(pasteable, item.next_command)):
        page.labelled("next", Text(" ".join(item.next_command), "bold"))


def _routing(page: Page, report: Report, item: OutlinedFinding) -> None:
    picks = item.finding.evidence.routing
    if not picks:
        return
    verb = "routes" if item.observers == 1 else "route"
    page.line(f"{count(item.observers, 'observer')} {verb} it to", 2, "dim")
    routing_block(page, picks, report.name, claim_colours(item.claimants))


def _finding(page: Page, report: Report, item: OutlinedFinding) -> None:
    finding = item.finding
    finding_head(page, finding)
    page.line(page.clean(finding.facts), _INDENT)
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
    _routing(page, report, item)
    _guess(page, finding, _INDENT)
    _followers(page, item, _INDENT)
    _silenced(page, finding, _INDENT)


def _says(text: str, word: str) -> bool:
    """Tell whether the word stands in the text by itself, not as a part of a longer one."""
    start = text.find(word)
    while start >= 0:
        inside = start > 0 and _BEFORE.match(text, start - 1)
        if not inside and not _AFTER.match(text, start + len(word)):
            return True
        start = text.find(word, start + 1)
    return False


def _guess(page: Page, finding: Finding, indent: int) -> None:
    if finding.guess is not None:
        page.labelled("guess", page.clean(finding.guess.sentence), indent)


def _silenced(page: Page, finding: Finding, indent: int) -> None:
    """Write which silence mutes its alerts, until when and why."""
    if finding.silenced is not None:
        page.labelled("silenced", page.clean(finding.silenced) or "by a silence", indent)


def _followers(page: Page, item: OutlinedFinding, indent: int) -> None:
    """Write one line for the findings that follow from this one, by check."""
    words = []
    for group in item.following:
        things = [_follower(page, item.finding, finding) for finding in group.findings[:_MOST_FOLLOWERS]]
        things = [thing for thing in things if thing]
        if len(group.findings) > _MOST_FOLLOWERS:
            things.append(f"{len(group.findings) - _MOST_FOLLOWERS:,} more")
        words.append(f"{page.name(group.check)} ({', '.join(things)})" if things else page.name(group.check))
    if words:
        page.labelled("leads to", ", ".join(words), indent)


def _follower(page: Page, cause: Finding, finding: Finding) -> str:
    """Return `edge-fra-1 on 23 observers`: the part of the finding that its cause does not say."""
    beside = finding.address is not None and finding.address == cause.address
    rest = finding.party if beside else finding.subject  # "10.0.0.1 of edge-fra-1", beside 10.0.0.1
    number = finding.evidence.observers
    observers = count(number, "observer") if number > 1 or (number and not rest) else ""
    return " on ".join(filter(None, [page.name(rest) if rest else "", observers]))


# -- what is not written out


def _agreed(page: Page, report: Report, sharing: Sequence[AgreedSharing]) -> None:
    """Write the addresses that are meant to be shared: who holds each, why, and until when."""
    page.heading("AGREED SHARING", f"{len(sharing):,}, not counted")
    for item in sharing[:_MOST_AGREED]:
        holders = page.names([report.name(node) for node in item.nodes], 8)
        page.line(page.dot.join(filter(None, [page.name(item.subject), holders])), 2)
        page.line(page.clean(item.agreement), 4, "dim")
    if len(sharing) > _MOST_AGREED:
        page.more(f"and {len(sharing) - _MOST_AGREED:,} more", "--format", "json")


def _gone(page: Page, gone: Sequence[Finding]) -> None:
    page.heading("GONE ON THE SECOND LOOK", f"{count(len(gone), 'finding')}; not counted")
    for finding in gone[:_MOST_GONE]:
        page.line(f"{page.name(finding.subject)}{page.dot}{page.name(finding.check)}", 2)
    if len(gone) > _MOST_GONE:
        page.more(f"and {len(gone) - _MOST_GONE:,} more", "--format", "json")


def _coverage(page: Page, report: Report, grouped: Outline) -> None:
    coverage = grouped.coverage
    page.heading("COVERAGE")
    share = percent(coverage.observed, coverage.registered)
    words = [
        f"{coverage_words(coverage, 'registered node')} ({share})",
        count(coverage.distinct_tables, "distinct route table"),
    ]
    if report.others.total:
        words.append(report.others.sentence)
    if coverage.undigested:
        words.append(f"{count(coverage.undigested, 'node')} could not digest, sent in full")
    page.line(page.dot.join(words), 2)
    took = (report.finished_at - report.started_at).total_seconds()
    page.line(f"{report.finished_at:%Y-%m-%d %H:%M:%S} UTC, took {took:,.1f} s", 2, "dim")
    for step in grouped.next_steps:
        page.line(f"{step.purpose}: {step.document or ' '.join(step.command)}", 2, "dim")
