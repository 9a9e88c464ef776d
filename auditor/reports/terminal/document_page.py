"""A section of the documents for a person at a terminal: Markdown, folded to the width."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.default_styles import DEFAULT_STYLES
from rich.markdown import CodeBlock, Heading, Markdown, MarkdownElement, TableElement
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from auditor.checks.catalogue import BY_IDENT
from auditor.documents.sections import DocumentSection
from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page

_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")
_COMMENTED = re.compile(r"( *)(.*\S)\s+(# .*)")

# None of rich's own colours, which are for a dark screen.
_PLAIN = dict.fromkeys((name for name in DEFAULT_STYLES if name.startswith(("markdown.", "table."))), "none")
_STYLES = Theme(
    {
        **_PLAIN,
        "markdown.h1": "bold",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.strong": "bold",
        "markdown.em": "italic",
        "markdown.code": "cyan",
        "markdown.table.header": "bold",
        "table.header": "bold",
    },
    inherit=False,
)


class PlainFence(CodeBlock):
    """Block of code that is copied as it stands: no frame, no padding."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give its lines."""
        yield Text(str(self.text).rstrip(), "bold", no_wrap=False, overflow="fold")


class PlainHeading(Heading):
    """Heading at the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the heading, with a blank line above it."""
        text = self.text
        text.justify = "left"
        yield Text("")
        yield text


class FoldedTable(TableElement):
    """Table that shows long words whole, on several lines."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the table."""
        for drawn in super().__rich_console__(console, options):
            if isinstance(drawn, Table):
                for each in drawn.columns:
                    each.overflow = "fold"
            yield drawn


class DocumentMarkdown(Markdown):
    """Markdown as the documents write it."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": PlainFence,
        "heading_open": PlainHeading,
        "table_open": FoldedTable,
    }


def render_section(section: DocumentSection, layout: Layout, idents: Collection[str]) -> str:
    """Render a section as a page of text. Pure; no line is wider than the layout's columns.

    idents: those that `explain` tells of, which links to them then name.
    """
    page = Page(layout)
    pieces = [
        _commands(piece, page.width)
        if piece.lstrip().startswith("```")
        else _prose(piece, section, layout, idents)
        for piece in _FENCED.split(section.text)
    ]
    page.print_whole(DocumentMarkdown("".join(pieces), hyperlinks=False), _STYLES)
    page.blank()
    page.line(section.place, style="dim")
    if section.document == "findings" and section.ident in BY_IDENT:
        page.line(f"Whom it concerns now: {' '.join((*layout.guide.program, 'affected', section.ident))}")
    if layout.guide.docs_url and section.document == "findings":
        link = layout.guide.documentation(section.ident)
        page.line(
            page.documented("In a browser:", [section.ident]) if layout.links else f"In a browser: {link}"
        )
    return page.text()


def _commands(fence: str, width: int) -> str:
    """Put the comment of a command that is too long for a line above it, so that the command can be copied."""
    lines: list[str] = []
    for line in fence.split("\n"):
        parts = _COMMENTED.fullmatch(line) if len(line) > width else None
        lines += [parts[1] + parts[3], parts[1] + parts[2]] if parts is not None else [line]
    return "\n".join(lines)


def _prose(text: str, section: DocumentSection, layout: Layout, idents: Collection[str]) -> str:
    """Put in a link's place what a reader at a terminal can do: the command that tells of it, or the path."""

    def spelled(link: re.Match[str]) -> str:
        words, target = link[1], link[2]
        if target.startswith("https:"):
            return f"{words} ({target})"
        file, _, anchor = target.partition("#")
        if words == anchor and anchor in idents:
            return f"`{words}`"
        if anchor in idents:
            return f"{words} (`{' '.join((*layout.guide.program, 'explain', anchor))}`)"
        return f"{words} (docs/{file or f'{section.document}.md'}{f'#{anchor}' if anchor else ''})"

    text = _LINK.sub(spelled, text)
    # Without colours, marks alone tell code from words.
    return text if layout.colour else _CODE.sub(r"`` `\1` ``", text)
