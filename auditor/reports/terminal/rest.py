"""What a report counts and does not write out: by check and region, with the command that shows it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text

from auditor.reports.terminal.page import STYLES, Page, column, plural
from auditor.values.models import Finding, Severity

_WIDEST_CHECK = 24
_WIDEST_REGION = 12
_FEWEST_COLUMNS = 3
_MOST_COLUMNS = 8
_MOST_CHECKS = 25
_NO_REGION = ""


def rest_block(page: Page, hidden: Sequence[Finding], findings: int) -> None:
    """The findings beyond the limit: a row a check, the worst first, a column a region, the fullest first.

    `findings` is how many would have to be written out to show them all.
    """
    page.heading("NOT SHOWN HERE", plural(len(hidden), "finding"))
    checks: dict[str, list[Finding]] = defaultdict(list)
    for finding in hidden:
        checks[finding.check].append(finding)
    ordered = sorted(checks.items(), key=lambda item: (_worst(item[1]).rank, -len(item[1]), item[0]))
    counts = {check: _regions(group) for check, group in ordered}
    rows = [(page.name(check), _worst(group), len(group), counts[check]) for check, group in ordered]
    if len(rows) > _MOST_CHECKS:
        others = [finding for _, group in ordered[_MOST_CHECKS:] for finding in group]
        name = f"{len(rows) - _MOST_CHECKS:,} other checks"
        rows[_MOST_CHECKS:] = [(name, _worst(others), len(others), _regions(others))]
    _matrix(page, rows)
    if any(len(set(finding.regions)) > 1 for finding in hidden):
        page.line("A finding in several regions is counted in each of them.", 2, "dim")
    page.more("all of them", f"--limit {findings}")


def by_region(page: Page, counts: Mapping[str, int], most: int = _MOST_COLUMNS) -> str:
    """`fra 310, sin 12, 3 other regions 7`: the fullest first."""
    ordered = _fullest_first(counts)
    listed = [f"{_label(page, region)} {count:,}" for region, count in ordered[:most]]
    if len(ordered) > most:
        other = sum(count for _, count in ordered[most:])
        listed.append(f"{plural(len(ordered) - most, 'other region')} {other:,}")
    return ", ".join(listed)


def _matrix(page: Page, rows: Sequence[tuple[str, Severity, int, Mapping[str, int]]]) -> None:
    totals: Counter[str] = Counter()
    for _, _, _, counts in rows:
        totals.update(counts)
    ordered = [region for region, _ in _fullest_first(totals)]
    check_width = column([name for name, *_ in rows], _WIDEST_CHECK)
    severity_width = column([severity.value for _, severity, *_ in rows], 8)
    all_width = max(3, *(len(f"{total:,}") for _, _, total, _ in rows))
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
    for name, severity, total, counts in rows:
        cells = [
            (Text(severity.value, STYLES[severity]), severity_width),
            (Text(name), check_width),
            (Text(f"{total:>{all_width},}", "bold"), all_width),
        ]
        cells += [(_count(counts.get(region, 0), widths[region]), widths[region]) for region in shown]
        if others:
            cells.append((_count(sum(counts.get(region, 0) for region in others), other_width), other_width))
        page.row(cells, 2)


def _lists(page: Page, rows: Sequence[tuple[str, Severity, int, Mapping[str, int]]]) -> None:
    """The same on a screen too narrow for columns."""
    for name, severity, total, counts in rows:
        title = Text(severity.value, STYLES[severity]).append(f"  {name}  ", "not bold default")
        page.line(title.append(f"{total:,}", "bold"), 2)
        page.line(by_region(page, counts), 4, "dim")


def _count(count: int, width: int) -> Text:
    return Text(f"{count:>{width},}") if count else Text(f"{'-':>{width}}", "dim")


def _worst(findings: Iterable[Finding]) -> Severity:
    return min((finding.severity for finding in findings), key=lambda severity: severity.rank)


def _regions(findings: Iterable[Finding]) -> Counter[str]:
    return Counter(
        region for finding in findings for region in (dict.fromkeys(finding.regions) or (_NO_REGION,))
    )


def _fullest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Regions by count; those without a name come last."""
    return sorted(counts.items(), key=lambda item: (item[0] == _NO_REGION, -item[1], item[0]))


def _label(page: Page, region: str) -> str:
    if region == _NO_REGION:
        return "no region"
    return page.clean(region, _WIDEST_REGION)
