"""Page of `config show`: each value of the configuration beside its origin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page, column
from auditor.values.setting_origins import Origin, OriginKind, ShownSetting

_WIDEST_KEY = 20
_WIDEST_ORIGIN = 26


def config_page(file: str | None, settings: Sequence[ShownSetting], layout: Layout) -> str:
    """Draw the settings table by table. file: the configuration file; None: there is none."""
    page = Page(layout)
    page.line(
        f"{page.clean(file)} and, for what it does not set, the defaults"
        if file
        else "No configuration file: the defaults"
    )
    for table, entries in groupby(settings, key=lambda item: item.table):
        rows = list(entries)
        page.heading(page.clean(f"[{table}]" if table else "(no table)"))
        key_width = column([page.clean(item.key) for item in rows], _WIDEST_KEY)
        origins = [page.clean(_origin_words(item.origin)) for item in rows]
        origin_width = column(origins, _WIDEST_ORIGIN)
        for item, origin in zip(rows, origins, strict=True):
            set_here = item.origin.kind is not OriginKind.DEFAULT
            value = page.clean(item.value) if item.value is not None else "not set"
            page.row(
                [
                    (Text(page.clean(item.key), "bold" if set_here else ""), key_width),
                    (Text(origin, "" if set_here else "dim"), origin_width),
                    (Text(value, "" if set_here else "dim"), 0),
                ],
                indent=2,
            )
            if item.note:
                page.line(page.clean(item.note), 4, "dim")
    return page.text()


def _origin_words(origin: Origin) -> str:
    """Return `wgaudit.toml:12`, `$CONSUL_HTTP_TOKEN` or `default`."""
    if origin.kind is OriginKind.DEFAULT:
        return "default"
    if origin.kind is OriginKind.ENVIRONMENT:
        return f"${origin.place}"
    if origin.line is None:
        return origin.place
    return f"{origin.place.rpartition('/')[2]}:{origin.line}"
