"""`wgaudit diff`: two sweeps compared, each a recording or one of the history."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import complaints, completing, running, screen, settings
from auditor.cli.formats import format_option
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.explain.comparison import SweepDifference

EXIT_SAME = 0
EXIT_DIFFERENT = 1


@click.command("diff")
@click.argument("a", metavar="A", shell_complete=completing.sweeps)
@click.argument("b", metavar="B", shell_complete=completing.sweeps)
@settings.config_option
@format_option("table", "json")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Entries of each section shown.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write the comparison to this file (0600).")
def command(
    a: str, b: str, config_path: Path | None, format_name: str, limit: int, output: Path | None
) -> int:
    """Compare two sweeps: what came, went and changed from A to B.

    A and B are recordings (files of `sweep --record`), or sweeps of the history: a number as `wgaudit history` shows
    it, `last`, or `last-1` for the one before. What one of the two could not see has not gone: it is listed as not
    seen. Registrations are compared between two recordings. Exit codes: 0 the same, 1 different, 2 usage.
    """
    from auditor.explain.comparison import ComparedSweep, compare
    from auditor.service.compared_sweeps import names_history, recorded_sweep, remembered_sweep

    running.check_folders(output=output)
    config = cache(lambda: settings.read_config(config_path)[0])  # read once, so that it complains once

    def side(text: str) -> ComparedSweep:
        if not text:
            raise UsageError("diff: A and B each name a recording or a sweep; one of them is empty")
        if names_history(text):
            return remembered_sweep(config(), text)
        return running.run(recorded_sweep(Path(text)))

    difference = compare(side(a), side(b))
    if format_name == "json":
        from auditor.reports.json.diff_v1 import diff_document

        text = diff_document(difference).text()
    else:
        from auditor.reports.terminal.diff_page import render_diff

        text = render_diff(difference, screen.layout(None, "auto", limit, to_file=output is not None))
    running.deliver(text, output)
    code = EXIT_SAME if difference.same else EXIT_DIFFERENT
    complaints.complain(f"diff: {_summary(difference)}; exit code {code}")
    return code


def _summary(difference: SweepDifference) -> str:
    if difference.same:
        return "the same"
    hidden = len(difference.hidden_in_a) + len(difference.hidden_in_b)
    gaps = len(difference.gaps_came) + len(difference.gaps_went)
    parts = (
        (len(difference.came), "came"),
        (len(difference.went), "went"),
        (len(difference.changed), "changed"),
        (hidden, "not seen in one of the two"),
        (gaps, "other gaps"),
        (len(difference.registrations or ()), "other registrations"),
    )
    words = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    return f"different: {words or 'coverage or verdict'}"
