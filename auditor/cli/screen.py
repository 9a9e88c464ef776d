"""Abilities of the terminal: the only place that inspects a stream."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TextIO

from auditor.reports.interface import Layout

Colour = Literal["auto", "always", "never"]
PLAIN_WIDTH = 80
"""Columns where the output is no terminal: what fits into a mail or a ticket."""


def layout(
    width: int | None,
    colour: Colour,
    limit: int,
    *,
    to_file: bool = False,
    recording: Path | None = None,
    config: Path | None = None,
) -> Layout:
    """Choose the layout of a report for stdout, or for a file.

    `recording` and `config`, as the caller named them, stand in the commands that a report proposes.
    """
    stream = sys.stdout
    terminal = not to_file and stream is not None and stream.isatty()
    return Layout(
        width=width or (shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns if terminal else PLAIN_WIDTH),
        colour=wants_colour(colour, terminal, os.environ),
        ascii_only=not to_file and not _speaks_unicode(stream),
        limit=limit,
        recording=str(recording) if recording is not None else None,
        config=str(config) if config is not None else None,
    )


def wants_colour(colour: Colour, terminal: bool, environment: Mapping[str, str]) -> bool:
    """Tell whether to colour: not with NO_COLOR (any value), a dumb or no terminal, unless an option asks for it."""
    if colour != "auto":
        return colour == "always"
    return terminal and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def _speaks_unicode(stream: TextIO | None) -> bool:
    return stream is None or (stream.encoding or "ascii").lower().replace("-", "").startswith("utf")
