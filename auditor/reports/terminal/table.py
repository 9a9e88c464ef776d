"""Report for a person at a terminal: the verdict, contested addresses, other findings, and gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.outline import (
    NO_REGION,
    AgreedSharing,
    Outline,
    OutlinedFinding,
    outline,
)
from auditor.reports.region_words import unchecked_region_words
from auditor.reports.report_words import (
    NameOf,
    coverage_words,
    following_words,
    percent,
    tally_words,
    unheard_note,
    unsaid_facts,
    unsaid_nodes,
    verdict_wordings,
)
from auditor.reports.selected_outline import selected
from auditor.reports.terminal.blocks import (
    answers_block,
    claim_colours,
    claims_block,
    filtered_line,
    finding_head,
    gaps_block,
    report_keys,
    routing_block,
    seen_by,
)
from auditor.reports.terminal.page import Page, pasteable
from auditor.reports.terminal.rest import rest_block
from auditor.values.findings import Finding
from auditor.values.report import Report, Verdict
from auditor.values.text import count

_VERDICT_STYLE: Mapping[Verdict, str] = {
    Verdict.CLEAN: "bold green",
    Verdict.FINDINGS: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
}
_MOST_GONE = 10
_MOST_AGREED = 20
_MOST_DRAINED = 20
_MOST_FACTS = 6
_INDENT = 10  # below the subject, which stands beside the severity


def render(report: Report, layout: Layout, /) -> str:
    """Render the report as a page of text; no line is wider than the layout's columns."""
    page = Page(layout, report_keys(report))
    grouped = outline(report, layout.guide)
    _verdict_line(page, report, grouped)
    _tally_line(page, report, grouped)
    shown = selected(grouped, report, layout.selection)
    filtered_line(
        page,
        layout.selection,
        (len(shown.leading), len(grouped.leading)),
        (_gap_count(shown), len(report.not_seen)),
    )
    excerpt = shown.excerpt(layout.limit)
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
        rest_block(page, excerpt, len(shown.leading))
    if shown.agreed:
        _agreed(page, report, shown.agreed_sharing)
    if shown.gone:
        _gone(page, shown.gone)
    _drained(page, report, shown)
    _not_seen(page, report, shown)
    _coverage(page, report, grouped)
    return page.text()


def _drained(page: Page, report: Report, shown: Outline) -> None:
    """Write who is out of production, since when and by whom."""
    if not shown.drained:
        return
    page.heading("OUT OF PRODUCTION", count(len(shown.drained), "node"))
    for node, drained in shown.drained[:_MOST_DRAINED]:
        page.line(f"{page.name(report.name(node))} {page.clean(drained.sentence)}", 2)
    if len(shown.drained) > _MOST_DRAINED:
        page.more(f"and {len(shown.drained) - _MOST_DRAINED:,} more", "--format", "json")


def _drained_nodes(page: Page, report: Report, finding: Finding, indent: int) -> None:
    """Write which of a finding's nodes are out of production."""
    if nodes := report.drained_of(finding):
        page.labelled("drained", page.names([report.name(node) for node in nodes], 8), indent)


def _not_seen(page: Page, report: Report, shown: Outline) -> None:
    """Write gaps, questions without an answer, and what had not held still."""
    if shown.gaps:
        page.heading("NOT SEEN", count(_gap_count(shown), "gap"))
        gaps_block(page, shown.gaps, report.name)
    if shown.unheard:
        page.heading("NOT HEARD", unheard_note(shown.unheard))
        gaps_block(page, shown.unheard, report.name)
    if shown.in_flight:
        page.heading("IN FLIGHT", "had not held still when the sweep ended")
        page.line(page.names([report.name(node) for node in shown.in_flight], 12), 2)


# -- the first lines


def _verdict_line(page: Page, report: Report, grouped: Outline) -> None:
    verdict = report.verdict.value.upper()
    room = page.width - cell_len(verdict) - 2
    wordings = [page.dot.join(filter(None, words)) for words in verdict_wordings(report, grouped, page.name)]
    words = next((text for text in wordings if cell_len(text) <= room), wordings[-1])
    page.line(Text(verdict, _VERDICT_STYLE[report.verdict]).append(f"  {words}", "not bold default"))


def _tally_line(page: Page, report: Report, grouped: Outline) -> None:
    if tally := tally_words(grouped):
        page.line(tally)
    if report.verdict is Verdict.INCONCLUSIVE and grouped.unseen:
        names = dict.fromkeys(report.name(node) for node in grouped.unseen)
        page.line(f"not seen: {page.names(list(names), 8)}")
    if report.cut_short:
        page.line(
            f"The sweep was cut short ({page.name(report.cut_short)}): this is what was seen until then."
        )


def _gap_count(grouped: Outline) -> int:
    return sum(len(group.gaps) for group in grouped.gaps)


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
            _region_of(report),
        )
    _routing(page, report, item)
    _answers(page, report, item, 2)
    _guess(page, finding, 2)
    _followers(page, item, 2)
    _drained_nodes(page, report, finding, 2)
    _silenced(page, finding, 2)
    if pasteable(finding.subject):
        page.steps("next", [step.command for step in item.next_steps])


def _routing(page: Page, report: Report, item: OutlinedFinding) -> None:
    picks = item.finding.evidence.routing
    if not picks:
        return
    verb = "routes" if item.observers == 1 else "route"
    page.line(f"{count(item.observers, 'observer')} {verb} it to", 2, "dim")
    routing_block(page, picks, report.name, claim_colours(item.claimants))


def _answers(page: Page, report: Report, item: OutlinedFinding, indent: int) -> None:
    """Write who answers, and on a line of its own what the route tables do not explain."""
    if item.answers:
        page.line("who answers there, asked over the mesh", 2, "dim")
        answers_block(page, item.answers, report.name, _region_of(report), item.claimants, 4)
    if item.finding.disagreement:
        page.labelled("but", Text(page.clean(item.finding.disagreement), "bold yellow"), indent)


def _region_of(report: Report) -> NameOf:
    return lambda node: report.node_regions.get(node, NO_REGION)


def _finding(page: Page, report: Report, item: OutlinedFinding) -> None:
    finding = item.finding
    finding_head(page, finding)
    # The bars below say what the statement on the answers says, more clearly.
    said = [finding.statement, finding.routing_statement]
    page.line(page.clean(" ".join(filter(None, said))), _INDENT)
    others = unsaid_nodes(finding, report.name)
    if others:
        page.labelled("nodes", page.names(others, 4), _INDENT)
    if facts := unsaid_facts(finding):
        words = [f"{page.name(label)}: {page.name(value)}" for label, value in facts[:_MOST_FACTS]]
        page.line(page.dot.join(words), _INDENT, "dim")
    observers = seen_by(page, finding, report.name)
    if observers:
        page.line(observers, _INDENT, "dim")
    _routing(page, report, item)
    _answers(page, report, item, _INDENT)
    _guess(page, finding, _INDENT)
    _followers(page, item, _INDENT)
    _drained_nodes(page, report, finding, _INDENT)
    _silenced(page, finding, _INDENT)
    # A word that is folded could not be pasted.
    if commands := [step.command for step in item.next_steps if page.fits(step.command, _INDENT)]:
        page.steps("next", commands, _INDENT)


def _guess(page: Page, finding: Finding, indent: int) -> None:
    if finding.guess is not None:
        page.labelled("guess", page.clean(finding.guess.sentence), indent)


def _silenced(page: Page, finding: Finding, indent: int) -> None:
    """Write which silence mutes its alerts, until when and why."""
    if finding.silenced is not None:
        page.labelled("silenced", page.clean(finding.silenced) or "by a silence", indent)


def _followers(page: Page, item: OutlinedFinding, indent: int) -> None:
    """Write one line for the findings that follow from this one, by check."""
    words = [following_words(group, item.finding, page.name) for group in item.following]
    if words:
        page.labelled("leads to", ", ".join(words), indent)


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
    for sentence in unchecked_region_words(coverage.regions):
        page.line(page.clean(sentence), 2)
    took = (report.finished_at - report.started_at).total_seconds()
    about = [
        f"{report.finished_at:%Y-%m-%d %H:%M:%S} UTC, took {took:,.1f} s",
        f"mesh {page.name(report.mesh)}" if report.mesh else "",
        f"wgaudit {page.name(report.version)}" if report.version else "",
    ]
    page.line(page.dot.join(filter(None, about)), 2, "dim")
    for step in grouped.next_steps:
        if step.command:
            page.step(step.purpose, step.command)
        else:
            page.line(page.clean(f"{step.purpose}: {step.document}"), 2, "dim")
