"""Interface of a report format: a function from a report and a layout to text, which never prints anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auditor.values.models import Report

NEW_RECORDING = "sweep.json.gz"
"""Name of a recording in a command that is proposed."""
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
    ascii_only: bool = False
    """For streams whose encoding is not a Unicode one: every other character is shown as `\\uNNNN`."""
    limit: int = 50
    """Findings that are written out; the others are counted."""
    recording: str | None = None
    """The file that holds what this sweep saw (`--record`, `--replay`), so that it can be shown again."""
    config: str | None = None
    """The configuration file as the caller named it; None: it is found without being named."""

    @property
    def columns(self) -> int:
        """Columns that are used: lines longer than 160 are hard to follow, fewer than 40 hold no name."""
        return max(_NARROWEST, min(self.width, _WIDEST))

    def command(self, *options: str) -> tuple[str, ...]:
        """Return the command, word by word, that shows this sweep with other options.

        A sweep that was not recorded has to be done again.
        """
        if self.recording is not None:
            return ("wgaudit", "sweep", "--replay", self.recording, *options)
        config = ("--config", self.config) if self.config is not None else ()
        return ("wgaudit", "sweep", *config, "--record", NEW_RECORDING, *options)


class Format(Protocol):
    """One report format. Pure: the same report and layout give the same text, which ends in a newline."""

    def __call__(self, report: Report, layout: Layout, /) -> str:
        """Render the whole report."""
        ...
