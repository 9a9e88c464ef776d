"""PURE: news between the views of a watch, as lines for its log: what came, what went, and the next command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auditor.errors import GapReason
from auditor.reports.outline import outline
from auditor.values.findings import Finding
from auditor.values.guide import INSTALLED, Guide
from auditor.values.models import Gap
from auditor.values.report import Report, Verdict
from auditor.values.text import count, listed, one_line
from auditor.watch.view import FollowedDatacenter, WatchView

MOST_FINDINGS = 10
"""Findings of one view that have a line each; the others are counted in one more."""
BETWEEN_GAPS = timedelta(seconds=10)
"""Time between two lines on gaps: nodes come and go by the hundred when a network is cut."""
MOVES_AT_MOST = timedelta(minutes=1)
"""Time for which something may move before a line says that it cannot be judged."""
_CANNOT_BE_JUDGED = "cannot be judged now, for not all of it is seen"
_NO_LONGER_SHOWN = "no longer shown"
_NAMED = 3
_Place = tuple[str | None, str | None]
"""Datacenter and node of a gap."""
_LONGEST = 400


@dataclass
class WatchLog:
    """Log of one watch: what the views so far had is remembered, so views may be left out."""

    guide: Guide = INSTALLED
    _verdict: Verdict | None = None
    _incidents: dict[str, str] = field(default_factory=dict)
    """Subject with its check of each incident that stands, by fingerprint."""
    _datacenters: dict[str, tuple[bool, str, datetime | None]] = field(default_factory=dict)
    _gaps: Mapping[str, frozenset[_Place]] = field(default_factory=dict)
    """What was not seen, by the reason."""
    _gaps_told_at: datetime | None = None
    _moving_since: datetime | None = None
    _ready: bool = False

    def of(self, view: WatchView) -> tuple[str, ...]:
        """List what is new in this view, a bounded line each; nothing where nothing changed."""
        lines = [
            *self._registry(view),
            *self._readiness(view),
            *self._findings(view.report),
            *self._unseen(view),
        ]
        return tuple(one_line(line, most=_LONGEST) for line in lines)

    def _registry(self, view: WatchView) -> Iterator[str]:
        for datacenter in view.datacenters:
            now = datacenter.readable, datacenter.event, datacenter.event_at
            before = self._datacenters.get(datacenter.name)
            self._datacenters[datacenter.name] = now
            place = f"registry {datacenter.name}" if datacenter.name else "registry"
            if datacenter.readable != (before is None or before[0]):
                # What befell it is said with it.
                yield f"{place}: {_readability(datacenter, view.report.gaps)}"
            elif datacenter.event and (before is None or before[1:] != now[1:]):
                yield f"{place}: {datacenter.event}"

    def _readiness(self, view: WatchView) -> Iterator[str]:
        if self._ready or not view.ready:
            return
        self._ready = True
        places = count(max(1, len(view.datacenters)), "datacenter")
        # The report may be older than the reading.
        nodes = sum(datacenter.registrations for datacenter in view.datacenters)
        yield f"ready: the registry was read whole: {count(nodes or len(view.report.registered), 'node')} in {places}"

    def _findings(self, report: Report) -> Iterator[str]:
        grouped = outline(report, self.guide)
        now = {item.finding.fingerprint: item for item in grouped.leading}
        new = [item for mark, item in now.items() if mark not in self._incidents]
        for item in new[:MOST_FINDINGS]:
            step = self.guide.spelled(item.next_steps[0].command) if item.next_steps else None
            step = step or self.guide.documentation(item.finding.check)
            yield f"new: {_told(item.finding)}; next: {step}"
        if len(new) > MOST_FINDINGS:
            beyond = count(len(new) - MOST_FINDINGS, "more finding")
            yield f"new: {beyond}; next: {self.guide.spelled(self.guide.command('sweep'))}"
        gone = [mark for mark in self._incidents if mark not in now]
        # What rests on what was not read or heard of at all is neither found nor withheld.
        unread = _is_beginning(report) or any(gap.hides_registrations for gap in report.gaps)
        for mark in gone[:MOST_FINDINGS]:
            why = _CANNOT_BE_JUDGED if unread or mark in report.withheld else _NO_LONGER_SHOWN
            yield f"{why}: {self._incidents[mark]}"
        if len(gone) > MOST_FINDINGS:
            why = _CANNOT_BE_JUDGED if unread else _NO_LONGER_SHOWN
            yield f"{why}: {count(len(gone) - MOST_FINDINGS, 'more finding')}"
        self._incidents = {mark: _subject(item.finding) for mark, item in now.items()}
        if report.verdict is not self._verdict and not _is_beginning(report):
            before = f"{self._verdict.value}, now " if self._verdict is not None else ""
            self._verdict = report.verdict
            yield f"verdict: {before}{report.verdict.value}"

    def _unseen(self, view: WatchView) -> Iterator[str]:
        grouped = _by_reason(self._lasting(view))
        now = {
            reason: frozenset((gap.datacenter, gap.node) for gap in gaps) for reason, gaps in grouped.items()
        }
        if now == self._gaps:
            return
        if self._gaps_told_at is not None and view.taken_at - self._gaps_told_at < BETWEEN_GAPS:
            return
        for reason, gaps in grouped.items():
            if now[reason] != self._gaps.get(reason):
                yield f"not seen: {reason}, {_who(gaps)}; docs/gaps.md#{reason}"
        unseen = frozenset().union(*now.values())
        for reason, places in self._gaps.items():
            # Who is unseen for another reason now was named with that one.
            if reason not in now and (again := len(places - unseen)):
                yield f"seen again: {reason}" + (
                    f", {again:,} of {len(places):,}" if again < len(places) else ""
                )
        self._gaps, self._gaps_told_at = now, view.taken_at

    def _lasting(self, view: WatchView) -> Sequence[Gap]:
        """List gaps without those that pass by themselves, and those of datacenters, of which more is said elsewhere.

        What was not heard of yet is heard of, or becomes a gap that says why; what moves holds still a moment later,
        or is told of.
        """
        followed = {datacenter.name for datacenter in view.datacenters}
        moving = any(gap.reason is GapReason.UNSETTLED for gap in view.report.gaps)
        self._moving_since = (self._moving_since or view.taken_at) if moving else None
        passing = {GapReason.CUT_SHORT}
        if self._moving_since is None or view.taken_at - self._moving_since < MOVES_AT_MOST:
            passing.add(GapReason.UNSETTLED)
        return [
            gap
            for gap in view.report.gaps
            if gap.reason not in passing
            and not (
                gap.hides_registrations
                and gap.reason is not GapReason.REGISTRY_SUSPECT
                and (gap.datacenter or "") in followed
            )
        ]


def status_words(view: WatchView) -> str:
    """Sum a view up in a few words, for `systemctl status` and the head of a table."""
    sessions, leading = view.sessions, outline(view.report).leading
    seen = [f"{count(sessions.followed, 'node')} followed"]
    if sessions.by_rounds:
        seen.append(f"{sessions.by_rounds:,} looked at each round")
    if sessions.gone:
        seen.append(f"{sessions.gone:,} not seen")
    found = count(len(leading), "finding") if leading else "no findings"
    return f"{view.report.verdict.value}: {found}; {', '.join(seen)}"


def _readability(datacenter: FollowedDatacenter, gaps: Sequence[Gap]) -> str:
    if datacenter.readable:
        said = f"{datacenter.event}; " if datacenter.event else ""
        return f"{said}can be read again: {count(datacenter.registrations, 'registration')}"
    for gap in gaps:
        if gap.hides_registrations and (gap.datacenter or "") == datacenter.name:
            return f"cannot be read: {gap.reason}: {gap.detail}; docs/gaps.md#{gap.reason}"
    return f"cannot be read: {datacenter.event}" if datacenter.event else "cannot be read"


def _is_beginning(report: Report) -> bool:
    """Tell whether nodes are heard of for the first time, so that the verdict is none yet."""
    unheard = any(gap.reason is GapReason.CUT_SHORT for gap in report.gaps)
    return unheard and report.verdict is Verdict.INCONCLUSIVE


def _told(finding: Finding) -> str:
    # The subject stands in the summary, and once is enough on a line that people skim.
    return f"{finding.severity.value} {_subject(finding)}: {finding.summary}"


def _subject(finding: Finding) -> str:
    return f"{finding.check} {finding.subject}"


def _by_reason(gaps: Sequence[Gap]) -> Mapping[str, list[Gap]]:
    found: dict[str, list[Gap]] = {}
    for gap in gaps:
        found.setdefault(str(gap.reason), []).append(gap)
    return found


def _who(gaps: Sequence[Gap]) -> str:
    nodes = [gap.node for gap in gaps if gap.node is not None]
    if not nodes:
        place = gaps[0].datacenter
        return f"{place}: {gaps[0].detail}" if place else gaps[0].detail
    return f"{count(len(nodes), 'node')}: {listed(nodes, most=_NAMED)}"
