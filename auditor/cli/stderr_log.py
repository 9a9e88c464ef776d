"""Log of a daemon on stderr: a line each, with its time, in one style."""

from __future__ import annotations

from datetime import UTC, datetime

from auditor.cli import complaints
from auditor.values.text import timestamp

_LONGEST = 600


class StderrLog:
    """Log on stderr: a line each, with its time, in one style."""

    def __init__(self, *, quiet: bool) -> None:
        """quiet: complaints alone are written."""
        self._quiet = quiet

    def say(self, line: str) -> None:
        """Write what happened."""
        if not self._quiet:
            self.complain(line)

    def complain(self, line: str) -> None:
        """Write what failed and did not end it."""
        text = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
        complaints.say(f"{timestamp(datetime.now(UTC), 'seconds')} {text}")
