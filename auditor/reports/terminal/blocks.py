"""Parts that the table and the story share: claims, routing, answers, gaps, the head of a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from auditor.reports.outline import NO_REGION, Claimant, GapGroup
from auditor.reports.report_words import NameOf, filtered_words, gap_places, place_words, share_words
from auditor.reports.selection import Selection
from auditor.reports.terminal.page import (
    NARROWEST_REST,
    PALETTE,
    STYLES,
    Page,
    bar,
    column,
    regions_line,
)
from auditor.reports.terminal.rest import by_region
from auditor.values.answer_words import (
    SOURCE_WORDS,
    Asked,
    asked_words,
    called,
    failure_words,
    server_remark,
    server_words,
)
from auditor.values.findings import Claim, Finding, Pick, Severity
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import count

_WIDEST_NAME = 40
_MOST_DETAILS = 3
_MOST_CLAIMANTS = 8
_MOST_PLACES = 4
_LONGEST_PLACE = 200
_MOST_PICKS = 8
_MOST_NAMES = 6
_MOST_REGIONS = 6
_SHORTEST_BAR, _LONGEST_BAR = 10, 40
_SEVERITY_WIDTH = max(len(severity) for severity in Severity)


def report_keys(report: Report) -> set[str]:
    """Return every public key that the report shows somewhere."""
    keys: set[str] = set(report.node_keys.values())
    for finding in report.findings:
        if finding.public_key is not None:
            keys.add(finding.public_key)
        keys |= {claim.public_key for claim in finding.evidence.claims if claim.public_key is not None}
        keys |= {pick.public_key for pick in finding.evidence.routing if pick.public_key is not None}
    return keys


def subject_words(page: Page, finding: Finding) -> str:
    """Return the subject; a key is shortened where the summary gives it in full."""
    if finding.public_key is not None and finding.public_key in finding.facts:
        return page.key(finding.public_key)
    return page.name(finding.subject)


def severity_tag(severity: Severity) -> Text:
    """Return the severity as a word of fixed width: readable without colour."""
    return Text(f"{severity:<{_SEVERITY_WIDTH}}", STYLES[severity])


def filtered_line(
    page: Page, selection: Selection, findings: tuple[int, int], gaps: tuple[int, int] = (0, 0)
) -> None:
    """Write that a page leaves something out; nothing where all is selected.

    findings, gaps: how many are shown, and how many there are.
    """
    if not selection:
        return
    page.line(f"FILTERED by {filtered_words(selection, findings, gaps, page.clean)}")


def finding_head(page: Page, finding: Finding) -> None:
    """Write `critical  10.0.0.1 · duplicate-address · fra, sin · seen once`."""
    title = Text(subject_words(page, finding), "bold")
    notes: list[str] = []
    if finding.regions:
        notes.append(page.names(finding.regions, 8))
    if finding.confirmed is None:
        notes.append("seen once")
    if finding.silenced is not None:
        notes.append("silenced")
    check = page.documented("", [finding.check])
    check.stylize("not bold dim")
    title.append(page.dot, "not bold dim").append_text(check)
    title.append("".join(page.dot + note for note in notes), "not bold dim")
    page.row([(severity_tag(finding.severity), _SEVERITY_WIDTH), (title, 0)])


def claims_block(
    page: Page,
    claimants: Sequence[Claimant],
    subject: str,
    name_of: NameOf,
    region_of: NameOf,
    indent: int = 4,
    most: int = _MOST_CLAIMANTS,
) -> None:
    """Write a row for each claimant: node, region, key, and each place that says so; count those beyond `most`."""
    hidden = len(claimants) - most
    claimants = claimants[:most]
    nodes = [claimant.node for claimant in claimants]
    names = [_claimant_name(page, node, name_of) for node in nodes]
    regions = [page.name(region_of(node)) if node and region_of(node) else "?" for node in nodes]
    keys = [page.key(item.public_key) if item.public_key else "key unread" for item in claimants]
    widths = (column(names, _WIDEST_NAME), column(regions, 12), column(keys, 44))
    places = [_places(page, claimant.claims, subject) for claimant in claimants]
    joined = [page.dot.join(group) for group in places]
    beside = page.width - indent - sum(widths) - 6
    inline = max(map(cell_len, joined)) <= beside
    below = max(map(cell_len, joined)) <= page.width - indent - 2
    for index, (name, region, key) in enumerate(zip(names, regions, keys, strict=True)):
        cells = [
            (Text(name, PALETTE[index % len(PALETTE)]), widths[0]),
            (Text(region), widths[1]),
            (Text(key, "dim"), widths[2]),
        ]
        if inline:
            page.row([*cells, (Text(joined[index]), 0)], indent)
            continue
        page.row(cells, indent)
        for place in [joined[index]] if below else places[index]:
            page.line(place, indent + 2)
    if hidden > 0:
        page.line(f"and {hidden:,} more", indent, "dim")


def _places(page: Page, claims: Sequence[Claim], subject: str) -> list[str]:
    words = [
        place_words(claim, subject, lambda text: page.clean(text, _LONGEST_PLACE))
        for claim in claims[:_MOST_PLACES]
    ]
    return [*words, f"and {len(claims) - _MOST_PLACES:,} more"] if len(claims) > _MOST_PLACES else words


def _claimant_name(page: Page, node: NodeId | None, name_of: NameOf) -> str:
    return page.name(name_of(node)) if node is not None else "(unknown node)"


def claim_colours(claimants: Sequence[Claimant]) -> dict[str, str]:
    """Map each claimant's key to its colour, so that its bar has the colour of its name."""
    colours: dict[str, str] = {}
    for index, claimant in enumerate(claimants):
        if claimant.public_key is not None:
            colours.setdefault(claimant.public_key, PALETTE[index % len(PALETTE)])
    return colours


@dataclass(frozen=True, slots=True)
class _BarRow:
    name: str
    beside: str
    observers: int
    regions: Mapping[str, int]
    style: str


def routing_block(page: Page, picks: Sequence[Pick], name_of: NameOf, colours: dict[str, str]) -> None:
    """Write a bar for each of the keys that most observers send to: how many do, and from which regions."""
    total = sum(pick.observers for pick in picks)
    hidden = [pick for pick in picks if pick.public_key is not None][_MOST_PICKS:]
    rows = [
        _BarRow(
            "nobody" if pick.public_key is None else _claimant_name(page, pick.node, name_of),
            page.key(pick.public_key),
            pick.observers,
            pick.regions,
            "red" if pick.public_key is None else colours.get(pick.public_key, ""),
        )
        for pick in picked_most(picks)
    ]
    _bars(page, rows, total)
    if hidden:
        observers = count(sum(pick.observers for pick in hidden), "observer")
        page.line(f"and {count(len(hidden), 'more key')}: {observers}", 4, "dim")


def answers_block(
    page: Page,
    groups: Sequence[Asked],
    name_of: NameOf,
    region_of: NameOf,
    claimants: Sequence[Claimant] = (),
    indent: int = 2,
) -> None:
    """Write who answered, asked over the mesh, and for each server and each failure a bar, as for the routing.

    claimants: those of the address, whose colours their bars have.
    """
    colours = {
        claimant.node: PALETTE[place % len(PALETTE)]
        for place, claimant in enumerate(claimants)
        if claimant.node is not None
    }
    for item in groups:
        words = asked_words(item, lambda reached: page.name(server_words(reached, name_of)))
        page.line(f"{SOURCE_WORDS[item.source]}: {words}", indent)
        rows = [
            _BarRow(
                page.name(name_of(reached.node) if reached.node is not None else called(reached.said)),
                page.clean(server_remark(reached, region_of), _LONGEST_PLACE),
                reached.observers,
                reached.regions,
                colours.get(reached.node, "") if reached.node is not None else "red",
            )
            for reached in item.answered[:_MOST_PICKS]
        ]
        rows += [
            _BarRow(failure_words(reached.reason), "", reached.observers, reached.regions, "yellow")
            for reached in item.unanswered[:_MOST_PICKS]
            if reached.reason is not None
        ]
        _bars(page, rows, item.observers)
        if hidden := item.answered[_MOST_PICKS:]:
            observers = count(sum(reached.observers for reached in hidden), "observer")
            page.line(f"and {count(len(hidden), 'more server')}: {observers}", 4, "dim")


def _bars(page: Page, rows: Sequence[_BarRow], total: int) -> None:
    """Write a row for each: a name, what stands beside it, a bar, a number with its share, and its regions."""
    counts = [f"{row.observers:,}" for row in rows]
    shares = [share_words(row.observers, total) for row in rows]
    froms = [regions_line(page, row.regions) for row in rows]
    name_width, key_width = column((row.name for row in rows), _WIDEST_NAME), 0
    if any(row.beside for row in rows):
        key_width = column((row.beside for row in rows), 44)
    count_width, share_width = column(counts, 9), column(shares, 6)
    fixed = 4 + name_width + 2 + key_width + 2 * bool(key_width) + 2 + count_width + 2 + share_width
    beside = max(NARROWEST_REST, *(cell_len(text) for text in froms)) if froms else 0
    # The regions stand beside the bar where both have room, else below.
    inline = page.width - fixed - 2 - beside >= _SHORTEST_BAR
    room = page.width - fixed - (2 + beside if inline else 0)
    bar_width = max(_SHORTEST_BAR // 2, min(_LONGEST_BAR, room))
    for index, row in enumerate(rows):
        drawn = bar(row.observers, total, bar_width, ascii_only=page.ascii_only)
        cells = [
            (Text(row.name, row.style), name_width),
            *([(Text(row.beside, "dim"), key_width)] if key_width else []),
            (Text(drawn, row.style), bar_width),
            (Text(f"{counts[index]:>{count_width}}", "bold"), count_width),
            (Text(f"{shares[index]:>{share_width}}", "dim"), share_width),
        ]
        if inline:
            page.row([*cells, (Text(froms[index]), 0)], 4)
        else:
            page.row(cells, 4)
            page.line(f"from {froms[index]}", 6)


def picked_most(picks: Sequence[Pick]) -> list[Pick]:
    """Return the picks that get a bar: the keys that most observers send to, and nobody."""
    somebody = [pick for pick in picks if pick.public_key is not None]
    return [*somebody[:_MOST_PICKS], *(pick for pick in picks if pick.public_key is None)]


def gaps_block(page: Page, groups: Sequence[GapGroup], name_of: NameOf) -> None:
    """Write a row for each reason: how many, in which regions, a few names, what came back; then how to see all."""
    width = column((group.reason for group in groups), 24)
    whole = True
    for group in groups:
        places = gap_places(group, name_of)[:_MOST_NAMES]
        label = Text(f"{group.reason:<{width}}", "yellow")
        number = len(group.gaps)
        if number == 1:
            text = Text(f"{page.name(places[0])}  " if places else "", "bold")
            text.append(page.clean(group.details[0], 300), "not bold")
        else:
            whole = whole and number <= _MOST_NAMES and len(group.details) <= _MOST_DETAILS
            text = Text(f"{number:,}  ", "bold")
            if number > _MOST_NAMES and (places_known := _known_places(group)):
                text.append(f"{by_region(page, places_known, _MOST_REGIONS)}: ", "not bold")
            if places:
                text.append(f"{page.names(places, _MOST_NAMES, number)}; ", "not bold")
            text.append(_details(page, group.details), "not bold dim")
        page.row([(label, width), (text, 0)], 2)
    if not whole:
        page.more("each of them", "--format", "json")


def _known_places(group: GapGroup) -> Mapping[str, int]:
    """Return gaps by region where most are known, else by datacenter where there are several."""
    if 2 * group.regions.get(NO_REGION, 0) < len(group.gaps):
        return group.regions
    return group.datacenters if len(group.datacenters) > 1 else {}


def _details(page: Page, details: Sequence[str]) -> str:
    """Return the details of several gaps of one reason: all where they are few, else one and how many there are."""
    if len(details) > _MOST_DETAILS:
        return f"for instance: {page.clean(details[0], 300)}; {len(details):,} different details"
    text = page.dot.join(page.clean(detail, 300) for detail in details)
    return f"each: {text}" if len(details) == 1 else text


def seen_by(page: Page, finding: Finding, name_of: NameOf) -> str:
    """Return `seen by 23 observers: a, b, c and 20 more`; "" where the finding is not about observers."""
    evidence = finding.evidence
    if not evidence.observers:
        return ""
    names = [name_of(node) for node in evidence.sample]
    listed = f": {page.names(names, 3, evidence.observers)}" if names else ""
    return f"seen by {count(evidence.observers, 'observer')}{listed}"
