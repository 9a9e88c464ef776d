"""Text for a terminal: untrusted words made harmless, keys made short, lines folded to the width."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from itertools import pairwise, zip_longest

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text
from rich.theme import Theme

from auditor.reports.interface import Layout
from auditor.reports.terminal.colours import theme
from auditor.values.findings import Severity
from auditor.values.guide import Command
from auditor.values.text import LONGEST_TEXT, for_terminal, listed

LONGEST_NAME = 80
"""Characters of a node's name, region or key path; longer ones are cut with an ellipsis."""
SHORTEST_KEY = 8
"""Characters of a shortened key, unless more are needed to tell it from another."""

STYLES: Mapping[Severity, str] = {
    Severity.CRITICAL: "bold red",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "blue",
}
PALETTE = ("cyan", "magenta", "blue", "green")
"""One colour a claimant, so that its name and its bar can be found by eye; red is for nobody."""

_LINK_NUMBER = re.compile("\x1b]8;id=[0-9-]+;")
LONGEST_URL = 300
_IN_ASCII = str.maketrans(
    {"•": "*", "─": "-", "━": "-", "│": "|", "▌": "|", "·": "-", "…": "...", "█": "#", "→": "->", "×": "x"}
)
_LABEL = 8
_NARROWEST_CELL = 2  # one wide character
NARROWEST_REST = 8
"""Cells that the last column of a row has at least."""


def short_keys(keys: Iterable[str]) -> dict[str, int]:
    """Return the number of characters to show of each key, so that no other key of the same screen starts alike."""
    ordered = sorted(set(keys))
    needed = dict.fromkeys(ordered, SHORTEST_KEY)
    for left, right in pairwise(ordered):
        # Sorted, so the key that shares most with another stands beside it.
        shared = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), len(left))
        needed[left] = max(needed[left], shared + 1)
        needed[right] = max(needed[right], shared + 1)
    return needed


def bar(part: int, whole: int, width: int, *, ascii_only: bool = False) -> str:
    """Draw a bar for `part` of `whole`: never empty for something, never full for less than all."""
    if not part or not whole or width < 1:
        return ""
    length = round(width * part / whole)
    if part < whole:
        length = min(length, width - 1)
    return ("#" if ascii_only else "█") * max(1, length)


class Page:
    """Lines that fit the layout. All foreign text enters through `clean`, `name` or `key`."""

    def __init__(self, layout: Layout, keys: Iterable[str] = ()) -> None:
        self.width = layout.columns
        self.ascii_only = layout.ascii_only
        self._layout = layout
        self._colour = layout.colour
        self.dot = " - " if layout.ascii_only else " · "
        self.arrow = "->" if layout.ascii_only else "→"
        self._ellipsis = "..." if layout.ascii_only else "…"
        self._key_lengths = short_keys(keys)
        self._stream = StringIO()
        self._console = Console(
            file=self._stream,
            width=self.width,
            height=100,
            force_terminal=layout.colour,
            color_system=("standard" if layout.few_colours else "256") if layout.colour else None,
            theme=theme(layout.few_colours),
            no_color=not layout.colour,
            legacy_windows=False,
            markup=False,
            highlight=False,
            emoji=False,
            _environ={},  # the layout decides, not NO_COLOR, FORCE_COLOR, COLUMNS or TERM
        )

    def clean(self, text: str, most: int = LONGEST_TEXT) -> str:
        """Make foreign text harmless."""
        return for_terminal(text, ascii_only=self.ascii_only, most=most)

    def name(self, text: str) -> str:
        """Return a foreign name, harmless, bounded, never nothing."""
        return self.clean(text, LONGEST_NAME) or "(no name)"

    def key(self, key: str | None) -> str:
        """Return a key, shortened so that it stays unique among the keys that the page was made with."""
        if key is None:
            return ""
        length = self._key_lengths.get(key, len(key))
        short = self.clean(key[:length], LONGEST_NAME)
        return short if length >= len(key) else short + self._ellipsis

    def names(self, names: Sequence[str], most: int, total: int | None = None) -> str:
        """Return `a, b, c and 12 more`. `total` counts also those that are not in `names`."""
        shown = [self.name(name) for name in names[:most]]
        return listed(shown, most=most, total=max(total or 0, len(names)), last=", ")

    def print_whole(self, drawn: RenderableType, styles: Theme) -> None:
        """Write something that rich folds itself, such as a document of our own, in styles that it names."""
        begun = self._stream.tell()
        with self._console.use_theme(styles):
            self._console.print(drawn)
        self._stream.seek(begun)
        written = self._stream.read()
        self._stream.seek(begun)
        self._stream.truncate()
        for line in written.lstrip("\n").split("\n")[:-1]:
            shown = line if self._colour else line.rstrip()
            if self.ascii_only:
                shown = shown.translate(_IN_ASCII).encode("ascii", "backslashreplace").decode()
            self._stream.write(f"{shown}\n")

    def documented(self, before: str, idents: Iterable[str]) -> Text:
        """Return idents of checks, each a link to its documentation where screen and guide have links."""
        text = Text(self.clean(before, LONGEST_URL))
        for number, ident in enumerate(idents):
            text.append(", " if number else " " if before else "").append(self.name(ident), self._link(ident))
        return text

    def _link(self, ident: str) -> str:
        """Return the style of a link to the documentation of a check; "" where there is none."""
        guide = self._layout.guide
        url = guide.documentation(ident)
        if not (
            self._layout.links and guide.docs_url and url.isascii() and url.isprintable() and " " not in url
        ):
            return ""
        return f"link {url}"

    def more(self, what: str, *options: str, indent: int = 2) -> None:
        """Write how to see what was left out: the command, on a line of its own where it does not fit beside."""
        guide = self._layout.guide
        if "--format" not in options:  # a form for programs has all, and takes no filter
            options = (*self._layout.selection.options, *options)
        if guide.recording is None:
            what = f"{what}, by sweeping again"
        self.step(what, guide.again(*options), indent)

    def step(self, purpose: str, command: Command, indent: int = 2) -> None:
        """Write a purpose and the command for it, on a line of its own where it does not fit beside."""
        words = self._words(command)
        length = cell_len(" ".join(words))
        if indent + cell_len(purpose) + 2 + length <= self.width:
            self.line(Text(f"{purpose}: ", "dim").append(" ".join(words), "not dim bold"), indent)
        else:
            self.line(f"{purpose}:", indent, "dim")
            self._command(words, indent)

    def steps(self, label: str, commands: Sequence[Command], indent: int = 2) -> None:
        """Write a word, and commands beside it, below it where one of them does not fit."""
        spelled = [self._words(command) for command in commands]
        beside = self.width - indent - _LABEL - 2
        if all(cell_len(" ".join(words)) <= beside for words in spelled):
            for number, words in enumerate(spelled):
                self.labelled(label if number == 0 else "", Text(" ".join(words), "bold"), indent)
            return
        self.line(label, indent, "dim")
        for words in spelled:
            self._command(words, indent + 2)

    def fits(self, command: Command, indent: int) -> bool:
        """Tell whether each word of a command fits into a line, so that none is folded."""
        room = self.width - indent - 6  # further indents, and the backslash at a line's end
        return all(cell_len(word) <= room for word in self._words(command))

    def _words(self, command: Command) -> tuple[str, ...]:
        """Spell a command; one that no shell can be given safely is shown quoted all the same."""
        words = self._layout.guide.words(command) or tuple(map(shlex.quote, command))
        return tuple(map(self.clean, words))

    def _command(self, words: Sequence[str], indent: int) -> None:
        """Write a command, where it is too long in lines that a shell joins again."""
        lines = [""]
        for word in words:
            longer = f"{lines[-1]} {word}" if lines[-1] else word
            if lines[-1] and indent + 2 * (len(lines) > 1) + cell_len(longer) + 2 > self.width:
                lines[-1] += " \\"
                lines.append(word)
            else:
                lines[-1] = longer
        if cell_len(" ".join(words)) + indent <= self.width:
            lines = [" ".join(words)]
        for number, line in enumerate(lines):
            self.line(line, indent if number == 0 else indent + 2, "bold")

    def blank(self) -> None:
        """Write an empty line."""
        self._print(Text())

    def heading(self, text: str, note: str = "") -> None:
        """Write an empty line, then a section's title."""
        self.blank()
        self.row([(Text(text, "bold").append(f"  {note}" if note else "", "not bold dim"), 0)])

    def line(self, text: Text | str, indent: int = 0, style: str = "") -> None:
        """Write one paragraph, folded."""
        self.row([(text if isinstance(text, Text) else Text(text, style), 0)], indent)

    def labelled(self, label: str, text: Text | str, indent: int = 2, label_width: int = _LABEL) -> None:
        """Write a word, and beside it a paragraph that is folded in its own column."""
        body = text if isinstance(text, Text) else Text(text)
        self.row([(Text(label, "dim"), label_width), (body, 0)], indent)

    def row(self, cells: Sequence[tuple[Text, int]], indent: int = 0) -> None:
        """Write cells side by side, two spaces apart, each folded in its own width; 0 takes what is left."""
        widths = self._fitting([width for _, width in cells], indent)
        folded: list[Sequence[Text]] = [
            [text] if text.cell_len <= width else list(text.wrap(self._console, width, overflow="fold"))
            for (text, _), width in zip(cells, widths, strict=True)
        ]
        for parts in zip_longest(*folded):
            line = Text(" " * indent)
            for index, (part, width) in enumerate(zip(parts, widths, strict=True)):
                piece = part.copy() if part is not None else Text()
                piece.rstrip()
                if index < len(cells) - 1:
                    piece.pad_right(max(0, width - piece.cell_len) + 2)
                line.append_text(piece)
            line.rstrip()
            self._print(line)

    def _fitting(self, widths: Sequence[int], indent: int) -> list[int]:
        """Return the widths, with 0 replaced by what is left; on a narrow screen the widest give way first."""
        room = self.width - indent - 2 * (len(widths) - 1)
        fixed = list(widths)
        while sum(width or NARROWEST_REST for width in fixed) > room and max(fixed) > _NARROWEST_CELL:
            fixed[fixed.index(max(fixed))] -= 1
        return [width or max(_NARROWEST_CELL, room - sum(fixed)) for width in fixed]

    def _print(self, line: Text) -> None:
        if self._colour:
            self._console.print(line, soft_wrap=True)
        else:
            # What rich would print, in a tenth of the time; a report may have 15,000 lines.
            self._stream.write(f"{line.plain}\n")

    def text(self) -> str:
        """Return everything that was written."""
        # rich numbers links at random; the same page is the same text.
        return _LINK_NUMBER.sub("\x1b]8;;", self._stream.getvalue())


def column(texts: Iterable[str], most: int) -> int:
    """Return the width of a column that holds these texts, at most `most` cells, at least one."""
    return max(1, min(most, max((cell_len(text) for text in texts), default=1)))


def regions_line(page: Page, regions: Mapping[str, int], most: int = 12) -> str:
    """Return `ams 8, fra 2, unknown 1`: the larger first, then by name; the smallest are summed up."""
    ordered = sorted(regions.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{page.name(region) if region else 'unknown'} {count:,}" for region, count in ordered[:most]]
    hidden = sum(count for _, count in ordered[most:])
    return ", ".join([*shown, f"{len(ordered) - most} other regions {hidden:,}"] if hidden else shown)


def pasteable(target: str) -> bool:
    """Tell whether a target can be written into a shell command as it is."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,79}", target) is not None
