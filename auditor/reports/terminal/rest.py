"""Counts of the findings that a page does not write out, by check and region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from auditor.reports.outline import NO_REGION, CheckCount, Excerpt, fullest_first, merged
from auditor.reports.terminal.page import STYLES, Page, column
from auditor.values.text import count

_WIDEST_CHECK = 24
_WIDEST_REGION = 12
_FEWEST_COLUMNS = 3
_MOST_COLUMNS = 8
_MOST_CHECKS = 25


def rest_block(page: Page, excerpt: Excerpt, findings: int) -> None:
    """Write a row for each check, the worst first, and a column for each region, the fullest first.

    findings: how many would have to be written out to show them all.
    """
    page.heading("NOT SHOWN HERE", count(excerpt.hidden, "finding"))
    rows = [(page.name(item.checks[0]), item) for item in excerpt.counted[:_MOST_CHECKS]]
    others = excerpt.counted[_MOST_CHECKS:]
    if others:
        rows.append((f"{len(others):,} other checks", merged(others)))
    _matrix(page, rows)
    if excerpt.in_several_regions:
        page.line("A finding in several regions is counted in each of them.", 2, "dim")
    page.more("all of them", "--limit", str(findings))


def by_region(page: Page, counts: Mapping[str, int], most: int = _MOST_COLUMNS) -> str:
    """Return `fra 310, sin 12, 3 other regions 7`: the fullest first."""
    ordered = fullest_first(counts)
    listed = [f"{_label(page, region)} {count:,}" for region, count in ordered[:most]]
    if len(ordered) > most:
        other = sum(count for _, count in ordered[most:])
        listed.append(f"{count(len(ordered) - most, 'other region')} {other:,}")
    return ", ".join(listed)


def _matrix(page: Page, rows: Sequence[tuple[str, CheckCount]]) -> None:
    totals = merged(item for _, item in rows).regions
    ordered = [region for region, _ in fullest_first(totals)]
    check_width = column([name for name, _ in rows], _WIDEST_CHECK)
    severity_width = column([item.severity.value for _, item in rows], 8)
    all_width = max(3, *(len(f"{item.findings:,}") for _, item in rows))
    labels = {region: _label(page, region) for region in ordered}
    widths = {
        region: max(len(f"{totals[region]:,}"), column([labels[region]], _WIDEST_REGION))
        for region in ordered
    }
    room = page.width - 2 - severity_width - 2 - check_width - 2 - all_width
    shown, used = [], 0
    for index, region in enumerate(ordered[:_MOST_COLUMNS]):
        rest = len(f"{sum(totals[name] for name in ordered[index + 1 :]):,}")
        other = 2 + max(5, rest) if index + 1 < len(ordered) else 0
        if used + 2 + widths[region] + other > room:
            break
        shown.append(region)
        used += 2 + widths[region]
    if len(shown) < min(_FEWEST_COLUMNS, len(ordered)):
        _lists(page, rows)
        return
    others = ordered[len(shown) :]
    other_width = max(5, len(f"{sum(totals[region] for region in others):,}"))
    head = [("", severity_width), ("", check_width), (f"{'all':>{all_width}}", all_width)]
    head += [(f"{labels[region]:>{widths[region]}}", widths[region]) for region in shown]
    if others:
        head.append((f"{'other':>{other_width}}", other_width))
    page.row([(Text(text, "dim"), width) for text, width in head], 2)
    for name, item in rows:
        counts = item.regions
        cells = [
            (Text(item.severity.value, STYLES[item.severity]), severity_width),
            (Text(name), check_width),
            (Text(f"{item.findings:>{all_width},}", "bold"), all_width),
        ]
        cells += [(_count(counts.get(region, 0), widths[region]), widths[region]) for region in shown]
        if others:
            cells.append((_count(sum(counts.get(region, 0) for region in others), other_width), other_width))
        page.row(cells, 2)


def _lists(page: Page, rows: Sequence[tuple[str, CheckCount]]) -> None:
    """Write the same on a screen too narrow for columns."""
    for name, item in rows:
        title = Text(item.severity.value, STYLES[item.severity]).append(f"  {name}  ", "not bold default")
        page.line(title.append(f"{item.findings:,}", "bold"), 2)
        page.line(by_region(page, item.regions), 4, "dim")


def _count(count: int, width: int) -> Text:
    return Text(f"{count:>{width},}") if count else Text(f"{'-':>{width}}", "dim")


def _label(page: Page, region: str) -> str:
    if region == NO_REGION:
        return "no region"
    return page.clean(region, _WIDEST_REGION)
