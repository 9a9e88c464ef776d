"""Page of `init`: each guess about the registry with its number, its value and what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page
from auditor.values.registry_guess import GuessLine

_NAME = 12


def guess_page(where: str, lines: Sequence[GuessLine], private: Sequence[str], layout: Layout) -> str:
    """Draw the guess. where: the registry that was read; private: paths that seem to hold private keys."""
    page = Page(layout)
    page.line(Text("REGISTRY", "bold").append(f"  {page.clean(where)}: what was found, and why", "not bold"))
    for number, line in enumerate(lines, 1):
        value = Text(page.clean(line.value), "bold") if line.value else Text(line.empty, "dim")
        page.row([(Text(f"{number:>2}"), 2), (Text(line.name), _NAME), (value, 0)], 2)
        why = "; ".join(filter(None, ("as you said" if line.corrected else "", line.why)))
        if why:
            page.line(page.clean(why), 8 + _NAME, "dim")
    if private:
        words = f"private keys seem to stand in the registry, at {page.names(private, 4)}: take them out"
        page.line(Text("warning  ", "yellow").append(words, "default"), 2)
    return page.text()
