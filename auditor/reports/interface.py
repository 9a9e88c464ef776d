"""Interface of a report format: a function from a report and a layout to text, which never prints anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auditor.reports.selection import EVERYTHING, Selection
from auditor.values.guide import INSTALLED, Guide
from auditor.values.report import Report

_NARROWEST, _WIDEST = 40, 160


@dataclass(frozen=True, slots=True)
class Layout:
    """Properties of the screen or file that the text is for.

    The caller decides; no format asks whether stdout is a terminal.
    """

    width: int = 80
    """Terminal columns."""
    colour: bool = False
    """False: plain text without one escape sequence."""
    few_colours: bool = False
    """True: the terminal has 16 colours of its own choice, and not 256."""
    ascii_only: bool = False
    """For streams whose encoding is not a Unicode one: every other character is shown as `\\uNNNN`."""
    limit: int = 50
    """Findings that are written out; the others are counted."""
    links: bool = False
    """True: the terminal shows hyperlinks (OSC 8). Only with colour."""
    full: bool = False
    """True: every observer of a finding is named, in forms for programs."""
    guide: Guide = INSTALLED
    """Way of the reader to run wgaudit and to read its documentation: every proposed command is made by it."""
    selection: Selection = EVERYTHING
    """Part of the report that a page shows. The verdict and the counts beside it stay those of the whole."""

    @property
    def columns(self) -> int:
        """Columns that are used: lines longer than 160 are hard to follow, fewer than 40 hold no name."""
        return max(_NARROWEST, min(self.width, _WIDEST))


class Format(Protocol):
    """One report format. Pure: the same report and layout give the same text, which ends in a newline."""

    def __call__(self, report: Report, layout: Layout, /) -> str:
        """Render the whole report."""
        ...
