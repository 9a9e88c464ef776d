"""Report in Markdown for an incident's channel or ticket: short, and with the commands that come next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.reports.interface import Layout
from auditor.reports.outline import (
    NO_REGION,
    GapGroup,
    Outline,
    OutlinedFinding,
    fullest_first,
    outline,
)
from auditor.reports.region_words import unchecked_region_words
from auditor.reports.report_words import (
    coverage_words,
    filtered_words,
    gap_places,
    percent,
    share_words,
    tally_words,
    unheard_note,
    verdict_wordings,
)
from auditor.reports.selected_outline import selected
from auditor.values.answer_words import SOURCE_WORDS, Asked, asked_words, server_remark
from auditor.values.findings import Finding, Pick
from auditor.values.guide import Guide
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import count, for_markdown, for_markdown_code, listed
from auditor.values.witness_answers import Reached

MOST_WRITTEN = 20
"""Contested addresses, and other findings, that are written out, whatever the layout allows."""

_LONGEST_NAME = 80
_MOST_NAMES = 4
_MOST_LISTED = 10


def render(report: Report, layout: Layout, /) -> str:
    """Render the report; foreign text stands in code spans or is made of plain words."""
    return _Paper(report, layout).text()


class _Paper:
    """Writes one report."""

    def __init__(self, report: Report, layout: Layout) -> None:
        self._report = report
        self._ascii = layout.ascii_only
        self._dot = " - " if layout.ascii_only else " · "
        self._guide: Guide = layout.guide
        self._limit = min(layout.limit, MOST_WRITTEN)
        self._selection = layout.selection
        self._whole: Outline = outline(report, layout.guide)
        self._grouped = selected(self._whole, report, layout.selection)
        self._lines: list[str] = []

    def text(self) -> str:
        """Return the whole report."""
        self._verdict()
        self._contested()
        self._others()
        self._drained()
        self._uncounted()
        self._gaps()
        self._coverage()
        self._next()
        return "\n".join(self._lines) + "\n"

    # -- pieces

    def _name(self, text: str) -> str:
        return for_markdown_code(text, most=_LONGEST_NAME, ascii_only=self._ascii) or "(no name)"

    def _node(self, node: NodeId | None) -> str:
        return self._name(self._report.name(node)) if node is not None else "unknown node"

    def _prose(self, text: str, most: int = 600) -> str:
        return for_markdown(text, most=most, ascii_only=self._ascii)

    def _names(self, names: Sequence[str], total: int = 0) -> str:
        shown = [self._name(name) for name in names[:_MOST_NAMES]]
        return listed(shown, most=_MOST_NAMES, total=max(total, len(names)), last=", ")

    def _heading(self, title: str, note: str = "") -> None:
        self._lines += ["", f"### {title}" + (f" ({note})" if note else ""), ""]

    def _bullets(self, lines: Iterable[str]) -> None:
        self._lines += [f"- {line}" for line in lines]

    # -- sections

    def _verdict(self) -> None:
        report = self._report
        wording = verdict_wordings(report, self._whole, self._name)[0]
        self._lines.append(f"## {report.verdict.value.upper()}: {self._dot.join(filter(None, wording))}")
        took = (report.finished_at - report.started_at).total_seconds()
        about = [
            tally_words(self._whole),
            f"mesh {self._name(report.mesh)}" if report.mesh else "",
            f"{report.finished_at:%Y-%m-%d %H:%M:%S} UTC, took {took:,.1f} s",
            f"wgaudit {self._name(report.version)}" if report.version else "wgaudit",
        ]
        self._lines += ["", self._dot.join(filter(None, about))]
        if self._selection:
            findings = (len(self._grouped.leading), len(self._whole.leading))
            words = filtered_words(
                self._selection, findings, (self._gap_count(), len(report.not_seen)), self._prose
            )
            self._lines += ["", f"Filtered by {words}."]

    def _gap_count(self) -> int:
        return sum(len(group.gaps) for group in self._grouped.gaps)

    def _contested(self) -> None:
        contested = self._grouped.contested
        if not contested:
            return
        shown = contested[: self._limit]
        self._heading("Contested addresses", self._of(len(shown), len(contested)))
        self._lines += ["| Address | Claimed by | Observers send it to |", "|---|---|---|"]
        for item in shown:
            cells = [self._name(item.finding.subject), self._claimed(item), self._routed(item)]
            self._lines.append(f"| {' | '.join(cells)} |")
        notes = [
            f"{self._name(item.finding.subject)}: {'; '.join(words)}"
            for item in shown
            if (words := self._notes(item))
        ]
        if notes:
            self._lines.append("")
        self._bullets(notes)

    def _claimed(self, item: OutlinedFinding) -> str:
        words = []
        for claimant in item.claimants[:_MOST_NAMES]:
            region = (
                self._report.node_regions.get(claimant.node, NO_REGION)
                if claimant.node is not None
                else NO_REGION
            )
            words.append(self._node(claimant.node) + (f" ({self._name(region)})" if region else ""))
        return listed(words, most=_MOST_NAMES, total=len(item.claimants), last=", ") or "nobody"

    def _routed(self, item: OutlinedFinding) -> str:
        picks = item.finding.evidence.routing
        words = [self._pick(pick, item.observers) for pick in picks[:_MOST_NAMES]]
        return listed(words, most=_MOST_NAMES, total=len(picks), last=", ") or "not seen"

    def _pick(self, pick: Pick, total: int) -> str:
        goal = "nobody" if pick.public_key is None else self._node(pick.node)
        return f"{goal} {pick.observers:,} ({share_words(pick.observers, total)})"

    def _notes(self, item: OutlinedFinding) -> list[str]:
        finding = item.finding
        words = ["seen once"] if finding.confirmed is None else []
        words += [self._answered(group) for group in item.answers]
        if finding.disagreement:
            words.append(f"**but** {self._prose(finding.disagreement.rstrip('.'))}")
        if finding.guess is not None:
            words.append(self._prose(finding.guess.sentence.rstrip(".")))
        if item.following:
            words.append(f"leads to {', '.join(self._name(group.check) for group in item.following)}")
        return [*words, *self._drained_nodes(finding), *self._silenced(finding)]

    def _answered(self, group: Asked) -> str:
        """Return `NATS there: of 12 asked, 9 reached edge-fra-1 (from fra 6, iad 3), 1 timed out`."""

        def who(reached: Reached) -> str:
            remark = server_remark(reached, lambda node: self._report.node_regions.get(node, NO_REGION))
            places = [
                f"{self._name(region) if region else 'unknown'} {number:,}"
                for region, number in fullest_first(reached.regions)[:_MOST_NAMES]
            ]
            words = [self._prose(remark), f"from {', '.join(places)}" if places else ""]
            beside = ", ".join(filter(None, words))
            name = self._node(reached.node) if reached.node is not None else self._name(reached.said)
            return f"{name} ({beside})" if beside else name

        return f"{SOURCE_WORDS[group.source]} there: {asked_words(group, who)}"

    def _silenced(self, finding: Finding) -> list[str]:
        if finding.silenced is None:
            return []
        return [f"silenced: {self._prose(finding.silenced, 200) or 'by a silence'}"]

    def _others(self) -> None:
        rest = self._grouped.rest
        if not rest:
            return
        shown = rest[: self._limit]
        title = "Other findings" if self._grouped.contested else "Findings"
        self._heading(title, self._of(len(shown), len(rest)))
        self._bullets(self._finding(item.finding) for item in shown)
        beyond = self._grouped.excerpt(self._limit + len(self._grouped.contested)).counted
        self._bullets(
            f"**{item.severity.value}** {', '.join(map(self._name, item.checks))}: {item.findings:,} more"
            for item in beyond
        )

    def _finding(self, finding: Finding) -> str:
        regions = f" ({self._names(finding.regions)})" if finding.regions else ""
        words = [self._prose(finding.summary)]
        if finding.confirmed is None:
            words.append("seen once")
        if finding.evidence.observers:
            words.append(f"seen by {count(finding.evidence.observers, 'observer')}")
        words += [*self._drained_nodes(finding), *self._silenced(finding)]
        head = f"**{finding.severity.value}** {self._name(finding.check)} {self._name(finding.subject)}"
        return f"{head}{regions}: {self._dot.join(filter(None, words))}"

    def _drained(self) -> None:
        drained = self._grouped.drained
        if not drained:
            return
        self._heading("Out of production", count(len(drained), "node"))
        self._bullets(
            f"{self._node(node)} {self._prose(item.sentence, 400)}" for node, item in drained[:_MOST_LISTED]
        )
        if len(drained) > _MOST_LISTED:
            self._bullets([f"{len(drained) - _MOST_LISTED:,} more"])

    def _drained_nodes(self, finding: Finding) -> list[str]:
        nodes = [self._report.name(node) for node in self._report.drained_of(finding)]
        return [f"out of production: {self._names(nodes)}"] if nodes else []

    def _uncounted(self) -> None:
        grouped = self._grouped
        lines = [
            f"agreed: {self._name(item.subject)}, {self._names([self._report.name(node) for node in item.nodes])}, "
            f"{self._prose(item.agreement, 200)}"
            for item in grouped.agreed_sharing[:_MOST_LISTED]
        ]
        if more := len(grouped.agreed_sharing) - _MOST_LISTED:
            lines += [f"agreed: {more:,} more"] if more > 0 else []
        if grouped.gone:
            subjects = [finding.subject for finding in grouped.gone]
            lines.append(f"gone on the second look: {self._names(subjects)}")
        if grouped.in_flight:
            names = [self._report.name(node) for node in grouped.in_flight]
            lines.append(f"had not held still when the sweep ended: {self._names(names)}")
        if lines:
            self._heading("Not counted")
            self._bullets(lines)

    def _gaps(self) -> None:
        self._gap_groups("Not seen", count(self._gap_count(), "gap"), self._grouped.gaps)
        self._gap_groups("Not heard", unheard_note(self._grouped.unheard), self._grouped.unheard)

    def _gap_groups(self, title: str, note: str, groups: Sequence[GapGroup]) -> None:
        if not groups:
            return
        self._heading(title, note)
        self._bullets(self._gap(group) for group in groups)
        command = (*self._guide.program, "explain", groups[0].reason.value)
        if spelled := self._guide.spelled(command):
            self._lines += ["", f"What a reason means, and what to do: {self._name(spelled)}"]

    def _gap(self, group: GapGroup) -> str:
        places = gap_places(group, self._report.name)
        named = f": {self._names(places, len(group.gaps))}" if places else ""
        words = f"{self._name(group.reason.value)} {len(group.gaps):,}{named}"
        known = [(region, number) for region, number in fullest_first(group.regions) if region != NO_REGION]
        if len(group.gaps) > _MOST_NAMES and known:
            words += f" (by region: {', '.join(f'{self._name(name)} {many:,}' for name, many in known[:6])})"
        detail = self._prose(group.details[0], 300)
        others = f" and {len(group.details) - 1:,} other details" if len(group.details) > 1 else ""
        return f"{words}; {detail}{others}"

    def _coverage(self) -> None:
        coverage = self._grouped.coverage
        self._heading("Coverage")
        share = percent(coverage.observed, coverage.registered)
        words = f"{coverage_words(coverage, 'registered node')} ({share})"
        tables = count(coverage.distinct_tables, "distinct route table")
        self._bullets(
            [f"{words}{self._dot}{tables}", *map(self._prose, unchecked_region_words(coverage.regions))]
        )

    def _next(self) -> None:
        guide, grouped = self._guide, self._grouped
        steps = [step for item in grouped.contested[:3] for step in item.next_steps]
        steps += [step for step in grouped.next_steps if step.command]
        spelled = dict.fromkeys(words for step in steps if (words := guide.spelled(step.command)))
        written = min(len(grouped.contested), self._limit) + min(len(grouped.rest), self._limit)
        if written < len(grouped.leading) and (all_of_it := guide.spelled(guide.again("--format", "html"))):
            spelled[all_of_it] = None
        if not grouped.next_steps:
            return
        self._heading("What comes next")
        if spelled:
            self._lines += ["```sh", *(self._command(words) for words in spelled), "```"]
        self._lines += [
            f"{self._prose(step.purpose)}: {self._name(step.document)}"
            for step in grouped.next_steps
            if step.document
        ]

    def _command(self, words: str) -> str:
        return words.encode("ascii", "backslashreplace").decode() if self._ascii else words

    @staticmethod
    def _of(shown: int, every: int) -> str:
        return f"{shown:,} of {every:,}" if shown < every else ""
