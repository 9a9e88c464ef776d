"""Entry of the console script. It imports nothing that takes time, before an interrupt is provided for."""

from __future__ import annotations

from auditor.cli.loading import begin_loading


def begin() -> None:
    """Run the command line, and exit."""
    begin_loading()
    from auditor.cli.main import run

    run()
