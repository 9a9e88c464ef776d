"""What a report format is: a function from a report and a layout to text, which never prints anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auditor.models import Report

_NARROWEST, _WIDEST = 40, 160


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the text will be shown. The caller decides; no format asks whether stdout is a terminal."""

    width: int = 80
    """Terminal columns."""
    colour: bool = False
    """False: plain text without one escape sequence."""
    ascii_only: bool = False
    """For streams whose encoding is not a Unicode one: every other character is shown as `\\uNNNN`."""
    limit: int = 50
    """Findings that are written out; the others are counted."""

    @property
    def columns(self) -> int:
        """Columns that are used: lines longer than 160 are hard to follow, fewer than 40 hold no name."""
        return max(_NARROWEST, min(self.width, _WIDEST))


class Format(Protocol):
    """One report format. Pure: the same report and layout give the same text, which ends in a newline."""

    def __call__(self, report: Report, layout: Layout, /) -> str:
        """Renders the whole report."""
        ...
