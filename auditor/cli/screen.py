"""Abilities of the terminal: the only place that inspects a stream."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TextIO

from auditor.reports.interface import Layout
from auditor.reports.selection import EVERYTHING, Selection
from auditor.values.guide import INSTALLED, Guide

if TYPE_CHECKING:
    from rich.console import Console

Colour = Literal["auto", "always", "never"]
PLAIN_WIDTH = 80
"""Columns where the output is no terminal: what fits into a mail or a ticket."""


def layout(
    width: int | None,
    colour: Colour,
    limit: int,
    *,
    to_file: bool = False,
    full: bool = False,
    guide: Guide = INSTALLED,
    selection: Selection = EVERYTHING,
) -> Layout:
    """Choose the layout of a report for stdout, or for a file.

    full: names every observer in forms for programs. guide: makes the commands that a report proposes; see
    `settings.guide`. selection: the part that is shown.
    """
    stream = sys.stdout
    terminal = not to_file and stream is not None and stream.isatty()
    coloured = wants_colour(colour, terminal, {} if to_file else os.environ)
    return Layout(
        width=width or (shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal else PLAIN_WIDTH),
        colour=coloured,
        few_colours=has_few_colours(os.environ),
        ascii_only=not to_file and not speaks_unicode(stream),
        limit=limit,
        links=coloured and terminal and shows_links(os.environ),
        full=full,
        guide=guide,
        selection=selection,
    )


def live_console(stream: TextIO, *, colour: bool, width: int | None) -> Console:
    """Make the console of a line that is redrawn on a terminal.

    width: columns; None: the terminal's.
    """
    from rich.console import Console  # what draws nothing does without it

    return Console(
        file=stream,
        force_terminal=True,
        color_system="standard" if colour else None,
        no_color=not colour,
        width=width,
        legacy_windows=False,
    )


def wants_colour(colour: Colour, terminal: bool, environment: Mapping[str, str]) -> bool:
    """Tell whether to colour: as an option asks; else never with NO_COLOR, and always with FORCE_COLOR.

    Any value of either counts. Where the environment says neither, on a terminal that is not dumb.
    """
    if colour != "auto":
        return colour == "always"
    if environment.get("NO_COLOR"):
        return False
    return bool(environment.get("FORCE_COLOR")) or (terminal and environment.get("TERM") != "dumb")


def has_few_colours(environment: Mapping[str, str]) -> bool:
    """Tell whether the terminal says nothing of more than 16 colours."""
    return not environment.get("COLORTERM") and "256color" not in environment.get("TERM", "256color")


def shows_links(environment: Mapping[str, str]) -> bool:
    """Tell whether the terminal shows hyperlinks, or leaves them out: old ones print the address between the words."""
    kind = environment.get("TERM", "")
    if kind in ("", "dumb", "linux", "ansi", "cygwin") or kind.startswith("vt"):
        return False
    return not kind.startswith("screen") or bool(environment.get("TMUX"))


def speaks_unicode(stream: TextIO | None) -> bool:
    """Tell whether the stream takes more than ASCII."""
    return stream is None or (stream.encoding or "ascii").lower().replace("-", "").startswith("utf")
