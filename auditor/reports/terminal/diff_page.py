"""Comparison of two sweeps for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text

from auditor.explain.comparison import (
    ChangedFinding,
    ChangedRegistration,
    ComparedSweep,
    HiddenFinding,
    SweepDifference,
)
from auditor.reports.interface import Layout
from auditor.reports.terminal.page import STYLES, Page
from auditor.values.addresses import format_prefix
from auditor.values.models import Registration
from auditor.values.past_sweeps import SeenFinding, SeenGap
from auditor.values.text import count

_MOST_NAMES = 8
_SHORT_MARK = 10


def render_diff(difference: SweepDifference, layout: Layout) -> str:
    """Render a comparison. `layout.limit`: entries of each section that are written out."""
    page = Page(layout, _keys(difference))
    a, b = difference.a, difference.b
    page.line(Text("SAME" if difference.same else "DIFFERENT", "bold"))
    for letter, side in (("A", a), ("B", b)):
        page.labelled(letter, _side(page, side), label_width=1)
    if difference.coverage_changed:
        page.heading("COVERAGE")
        page.line(
            f"{a.observed:,} of {a.registered:,} nodes seen in A, {b.observed:,} of {b.registered:,} in B", 2
        )
    _findings(page, "CAME", "in B, not in A", difference.came, layout.limit)
    _findings(page, "WENT", "in A, not in B", difference.went, layout.limit)
    _changed(page, difference.changed, layout.limit)
    _hidden(
        page,
        "NOT SEEN IN B",
        "B could not see the places of these: they did not go",
        difference.hidden_in_b,
        layout.limit,
    )
    _hidden(
        page,
        "NOT SEEN IN A",
        "A could not see the places of these: they may be older",
        difference.hidden_in_a,
        layout.limit,
    )
    _gaps(page, "NEW GAPS", difference.gaps_came, layout.limit)
    _gaps(page, "GAPS THAT CLOSED", difference.gaps_went, layout.limit)
    if difference.registrations:
        _registrations(page, difference.registrations, layout.limit)
    elif difference.registrations is None:
        page.blank()
        page.line(
            "Registrations are compared between two recordings only: the history keeps none.", style="dim"
        )
    return page.text()


def _keys(difference: SweepDifference) -> set[str]:
    return {
        side.public_key
        for item in difference.registrations or ()
        for side in (item.before, item.after)
        if side is not None and side.public_key is not None
    }


def _side(page: Page, side: ComparedSweep) -> str:
    name = f"sweep {side.number}" if side.number is not None else page.clean(side.name)
    counted = sum(item.confirmed is not False and not item.agreed for item in side.content.findings)
    return (
        f"{name}, {side.started_at:%Y-%m-%d %H:%M:%S} UTC: {side.verdict.value}, {count(counted, 'finding')}, "
        f"{side.observed:,} of {side.registered:,} seen"
    )


def _findings(page: Page, title: str, note: str, findings: Sequence[SeenFinding], limit: int) -> None:
    if not findings:
        return
    page.heading(title, f"{count(len(findings), 'finding')} {note}")
    leading, following = _by_cause(findings)
    for item in leading[:limit]:
        _finding(page, item)
    _rest(page, len(leading) - limit, following)


def _by_cause(findings: Iterable[SeenFinding]) -> tuple[list[SeenFinding], int]:
    """Divide into those that lead, or whose cause is not among them, and the number of all others."""
    listed = list(findings)
    marks = {item.fingerprint for item in listed}
    leading = [item for item in listed if item.caused_by not in marks]
    return leading, len(listed) - len(leading)


def _rest(page: Page, hidden: int, following: int) -> None:
    if hidden > 0:
        page.line(f"{hidden:,} more: --limit shows them", 2, "dim")
    if following:
        page.line(f"{following:,} more follow from these: --format json has them", 2, "dim")


def _finding(page: Page, finding: SeenFinding, note: str = "") -> None:
    page.row(
        [
            (Text(finding.fingerprint[:_SHORT_MARK]), _SHORT_MARK),
            (Text(finding.severity.value, STYLES[finding.severity]), 8),
            (Text(f"{finding.check}  {page.clean(finding.subject)}{note or _counts(finding)}"), 0),
        ],
        2,
    )
    if finding.nodes and finding.nodes != (finding.subject,):
        page.line(page.names(finding.nodes, _MOST_NAMES), 24, "dim")


def _counts(finding: SeenFinding) -> str:
    if finding.agreed:
        return "  (agreed on: does not count)"
    return "  (gone on the second look: does not count)" if finding.confirmed is False else ""


def _changed(page: Page, changed: Sequence[ChangedFinding], limit: int) -> None:
    if not changed:
        return
    page.heading("CHANGED", count(len(changed), "finding"))
    for item in changed[:limit]:
        before, after = item.before, item.after
        page.row(
            [
                (Text(after.fingerprint[:_SHORT_MARK]), _SHORT_MARK),
                (Text(after.severity.value, STYLES[after.severity]), 8),
                (Text(f"{after.check}  {page.clean(after.subject)}"), 0),
            ],
            2,
        )
        for label, old, new in (
            ("severity", before.severity.value, after.severity.value),
            ("confirmed", _answer(before.confirmed), _answer(after.confirmed)),
            ("agreed on", _answer(before.agreed), _answer(after.agreed)),
            (
                "follows from",
                (before.caused_by or "nothing")[:_SHORT_MARK],
                (after.caused_by or "nothing")[:_SHORT_MARK],
            ),
        ):
            if old != new:
                page.line(f"{label}: {old} before, {new} now", 24)
        for label, names in (
            ("more nodes", item.nodes_added),
            ("without", item.nodes_removed),
            ("not seen", item.nodes_not_seen),
        ):
            if names:
                page.line(f"{label}: {page.names(names, _MOST_NAMES)}", 24)
    _rest(page, len(changed) - limit, 0)


def _answer(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not looked at twice"}[value]


def _hidden(page: Page, title: str, note: str, hidden: Sequence[HiddenFinding], limit: int) -> None:
    if not hidden:
        return
    page.heading(title, note)
    leading, following = _by_cause(item.finding for item in hidden)
    places = {item.finding.fingerprint: item for item in hidden}
    for finding in leading[:limit]:
        _finding(page, finding)
        item = places[finding.fingerprint]
        why = []
        if item.nodes:
            why.append(f"not seen: {page.names([str(node) for node in item.nodes], _MOST_NAMES)}")
        if item.datacenters:
            named = [name for name in item.datacenters if name]
            why.append(f"registry not read whole{f' in {page.names(named, _MOST_NAMES)}' if named else ''}")
        page.line("; ".join(why) or "what was not seen may explain it", 24)
    _rest(page, len(leading) - limit, following)


def _gaps(page: Page, title: str, gaps: Sequence[SeenGap], limit: int) -> None:
    if not gaps:
        return
    page.heading(title, f"{len(gaps):,}")
    for gap in gaps[:limit]:
        place = gap.node if gap.node is not None else gap.source
        where = f" in {page.name(gap.datacenter)}" if gap.datacenter else ""
        page.line(f"{page.name(place)}{where}: {gap.reason.value}", 2)
    _rest(page, len(gaps) - limit, 0)


def _registrations(page: Page, changed: Sequence[ChangedRegistration], limit: int) -> None:
    page.heading("REGISTRATIONS", f"{len(changed):,} not the same in both")
    for item in changed[:limit]:
        page.labelled(page.name(str(item.node)), _registration_words(page, item), label_width=20)
    _rest(page, len(changed) - limit, 0)


def _registration_words(page: Page, item: ChangedRegistration) -> str:
    if item.before is None and item.after is not None:
        came = "came" if item.seen else "not seen in A, where the registry was not read whole; in B"
        return f"{came}: {_registered(page, item.after)}"
    if item.before is not None and item.after is None:
        went = "went" if item.seen else "not seen in B, where the registry was not read whole; in A"
        return f"{went}: {_registered(page, item.before)}"
    if item.before is None or item.after is None:
        return ""
    before, after = _facts(page, item.before), _facts(page, item.after)
    return "; ".join(
        f"{label} {before[label] or 'none'} before, {after[label] or 'none'} now"
        for label in before
        if before[label] != after[label]
    )


def _registered(page: Page, registration: Registration) -> str:
    return ", ".join(f"{label} {text}" for label, text in _facts(page, registration).items() if text)


def _facts(page: Page, registration: Registration) -> dict[str, str]:
    return {
        "address": ", ".join(map(format_prefix, sorted(registration.addresses))),
        "key": page.key(registration.public_key),
        "region": page.name(registration.region) if registration.region else "",
        "state": "retired" if registration.retired else "",
    }
