"""`wgaudit affected TARGET`: every observer, whom it reaches and whom it loses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import completing, formats, running, screen, settings

if TYPE_CHECKING:
    from auditor.explain.affected import Affected
    from auditor.reports.interface import Layout
    from auditor.values.report import Report


@click.command("affected")
@click.argument("target", shell_complete=completing.affected_targets)
@settings.config_option
@formats.format_option("table", "json", "csv")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the list to this file (0600), not to stdout."
)
@settings.replay_option
@formats.screen_options
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    target: str,
    config_path: Path | None,
    format_name: str,
    output: Path | None,
    replay: Path | None,
    width: int | None,
    colour: screen.Colour,
    no_progress: bool,
) -> int:
    """List every observer of a target: its region, whom it reaches and whom it loses.

    TARGET is a mesh address (10.0.0.1), a node (edge-sin-1), a region (sin), a check (duplicate-address), a
    fingerprint or a public key; of the last two the beginning does. Of a node it tells who reaches it, and what it
    loses itself. Of a region or a check it names the observers that lose somebody; else all of them.

    Exit codes: 0 nobody loses anybody; 1 somebody does; 2 usage, configuration, or nothing of that name was seen;
    3 nobody does, as far as was seen, and that was not enough to be sure.
    """
    from auditor.checks.catalogue import BY_IDENT
    from auditor.cli.look import audited, refuse_mistyped
    from auditor.explain.affected import affected

    running.check_folders(reads=replay, output=output)
    if replay is None:
        refuse_mistyped([target], frozenset(BY_IDENT), "affected")
    audit, guide = audited(config_path, replay, progress=not no_progress)
    found = affected(audit.snapshot, audit.report, target)
    layout = screen.layout(
        width,
        colour,
        limit=50,
        to_file=output is not None,
        guide=guide,
    )
    running.deliver(_rendered(found, audit.report, format_name, layout), output)
    if found.losing:
        return running.EXIT_FINDINGS
    return running.EXIT_CLEAN if found.seen_enough else running.EXIT_INCONCLUSIVE


def _rendered(found: Affected, report: Report, format_name: str, layout: Layout) -> str:
    """Render one form. Each loads only what it needs."""
    if format_name == "json":
        from auditor.reports.json.affected_v1 import affected_document

        return affected_document(found, report).text()
    if format_name == "csv":
        from auditor.reports.affected_csv import render_affected_csv

        return render_affected_csv(found)
    from auditor.reports.terminal.affected_page import render_affected

    return render_affected(found, layout)
