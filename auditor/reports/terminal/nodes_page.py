"""Page of all servers for a terminal: a line each, and below it what is not as it should be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text

from auditor.checks.idents import Ident
from auditor.reports.interface import Layout
from auditor.reports.node_rows import Listing, NodeList, NodeRow
from auditor.reports.selection import Selection
from auditor.reports.terminal.page import STYLES, Page, column
from auditor.values.addresses import Prefix, format_prefix
from auditor.values.guide import Guide
from auditor.values.models import NodeId
from auditor.values.report import Report
from auditor.values.text import count

_WIDEST_NAME = 24
_WIDEST_REGION = 10
_WIDEST_ADDRESS = 18
_WIDEST_SEEN = 18
_MOST_ADDRESSES = 3
_MOST_CHECKS = 4
_FAULT = "yellow"


def render_nodes(
    listed: NodeList, report: Report, selection: Selection, layout: Layout, *, wide: bool = False
) -> str:
    """Render the rows. wide: with whole keys, host, datacenter and host key."""
    keys = {key for row in listed.rows for key in (row.registered_key, row.live_key) if key is not None}
    page = Page(layout, keys)
    page.line(Text("NODES", "bold").append(f"  {_counts(report)}", "not bold default"))
    if selection:
        shown = f"{len(listed.rows):,} of {len(listed.nodes):,} shown"
        page.line(f"FILTERED  {shown}: {page.clean(' '.join(selection.options))}")
    if listed.rows:
        page.blank()
        _table(page, listed.rows, report.name, wide=wide)
    _footer(page, report, layout.guide)
    return page.text()


def _counts(report: Report) -> str:
    coverage = report.coverage
    tables = f", {count(coverage.distinct_tables, 'distinct route table')}" if coverage.observed else ""
    retired = f", {len(report.retired):,} retired" if report.retired else ""
    return f"{coverage.registered:,} registered{retired}, {coverage.observed:,} seen{tables}"


def _table(page: Page, rows: Sequence[NodeRow], name_of: Callable[[NodeId], str], *, wide: bool) -> None:
    cells = [
        (page.name(name_of(row.node)), page.name(row.region) if row.region else "-", _address(page, row))
        for row in rows
    ]
    seen = [_seen(page, row) for row in rows]
    widths = (
        column([name for name, _, _ in cells], _WIDEST_NAME),
        max(6, column([region for _, region, _ in cells], _WIDEST_REGION)),
        max(7, column([address for _, _, address in cells], _WIDEST_ADDRESS)),
        max(3, column([_key(page, row) for row in rows], 44)),
        max(4, column([text for text, _ in seen], _WIDEST_SEEN)),
    )
    heads = ("NODE", "REGION", "ADDRESS", "KEY", "SEEN", "TABLE")
    page.row([(Text(head, "dim"), width) for head, width in zip(heads, (*widths, 0), strict=True)])
    for row, (name, region, address), (words, style) in zip(rows, cells, seen, strict=True):
        texts = (
            Text(name),
            Text(region),
            Text(address),
            Text(_key(page, row)),
            Text(words, style),
            Text(f"{row.table}" if row.table is not None else "-"),
        )
        page.row([(text, width) for text, width in zip(texts, (*widths, 0), strict=True)])
        _beneath(page, row, wide=wide)


def _beneath(page: Page, row: NodeRow, *, wide: bool) -> None:
    """Write what is not as it should be, and in the wide form what else is known."""
    if row.listing is Listing.RETIRED and row.seen:
        page.line("retired, and live", 2, _FAULT)
    if row.differs:
        live = []
        if set(row.live_addresses) != set(row.registered_addresses):
            live.append(_addresses(page, row.live_addresses, _MOST_ADDRESSES))
        if row.live_key != row.registered_key:
            live.append(f"key {page.key(row.live_key)}")
        page.line(f"live with {', '.join(live)}", 2, _FAULT)
    if row.findings:
        page.line(_checks(page, row), 2, STYLES[row.findings[0].severity])
    if wide:
        more = [
            f"key {page.name(row.registered_key)}" if row.registered_key is not None else "",
            f"host {page.name(row.ssh.host)}" + (f" port {row.ssh.port}" if row.ssh.port is not None else "")
            if row.ssh is not None
            else "no host",
            f"datacenter {page.name(row.node.datacenter)}" if row.node.datacenter else "",
            page.name(row.host_key) if row.host_key is not None else "",
            f"table {row.table_digest[:12]}" if row.table_digest is not None else "",
            page.clean(row.gap.detail) if row.gap is not None else "",
        ]
        page.line(page.dot.join(filter(None, more)), 2, "dim")


def _checks(page: Page, row: NodeRow) -> str:
    """Return the checks of findings that stand for themselves, and how many more there are."""
    leading = list(dict.fromkeys(str(item.check) for item in row.findings if item.caused_by is None))
    more = sum(item.caused_by is not None for item in row.findings)
    if not leading:
        return (
            f"{count(more, 'finding')} that follow from another"
            if more != 1
            else "1 finding that follows from another"
        )
    verb = "follows" if more == 1 else "follow"
    return page.names(leading, _MOST_CHECKS) + (f"; {more:,} more {verb}" if more else "")


def _address(page: Page, row: NodeRow) -> str:
    return _addresses(page, row.registered_addresses, 1)


def _addresses(page: Page, prefixes: Sequence[Prefix], most: int) -> str:
    texts = [page.name(format_prefix(prefix)) for prefix in prefixes]
    if len(texts) > most:
        return f"{', '.join(texts[:most])} +{len(texts) - most}"
    return ", ".join(texts) or "-"


def _key(page: Page, row: NodeRow) -> str:
    return page.key(row.registered_key) if row.registered_key is not None else "-"


def _seen(page: Page, row: NodeRow) -> tuple[str, str]:
    """Return the word for whether it was seen, and its style."""
    if row.seen:
        return ("moving", "yellow") if row.listing is Listing.MOVING else ("yes", "green")
    if row.gap is not None:
        return page.name(row.gap.reason.value), "yellow"
    if row.listing is Listing.RETIRED:
        return "retired", "dim"
    return ("unreadable", "yellow") if row.listing is Listing.UNREADABLE else ("not asked", "dim")


def _footer(page: Page, report: Report, guide: Guide) -> None:
    # One that follows from another finding is a node's new key, and has a row.
    ghosts = sum(
        finding.check == Ident.UNREGISTERED_PEER and finding.caused_by is None for finding in report.standing
    )
    partial = [gap for gap in report.gaps if gap.hides_registrations]
    if ghosts or partial:
        page.blank()
    if ghosts:
        page.line(
            f"{count(ghosts, 'live peer')} that no registration knows: no row here; "
            f"{page.clean(guide.mention('sweep'))} has them"
        )
    for gap in partial[:1]:
        page.line(f"Registrations may be missing: {page.clean(gap.detail)}", 0, "yellow")
