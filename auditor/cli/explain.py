"""`wgaudit explain TARGET`: all that was seen of one address, node or key."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from auditor.cli import running, screen, settings
from auditor.cli.look import look
from auditor.explain.story_builder import explain
from auditor.gather.sweep import SweepOptions
from auditor.reports.terminal.story_page import render_explain
from auditor.service.audit import Audit, Auditor, audit_recording, judged, sweep_options


@click.command("explain")
@click.argument("target")
@settings.config_option
@settings.replay_option
@click.option("--endpoints", is_flag=True, help="Also ask for peers' endpoints: shows where a ghost lives.")
@click.option("--width", type=click.IntRange(min=40), help="Columns. Default: the terminal's, else 80.")
@click.option(
    "--colour",
    "--color",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    show_default=True,
    help="Colours. auto: on a terminal, unless NO_COLOR is set.",
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    target: str,
    config_path: Path | None,
    replay: Path | None,
    endpoints: bool,
    width: int | None,
    colour: str,
    no_progress: bool,
) -> int:
    """Tell the whole story of one address, node or key.

    TARGET is a mesh address (10.0.0.1), a node (edge-sin-1, or edge-sin-1@dc1), or a public key (its
    first six characters do, where they are unique). Looks at the fleet, or at a recording with --replay.

    Exit codes: 0 there is something to say of it; 2 usage, configuration, or no such address, node or key was seen.
    """
    if replay is not None:
        audit = running.run(audit_recording(replay))
    else:
        config, _ = settings.read_config(config_path)
        auditor = Auditor(config, endpoints=endpoints)
        audit = running.run(_audited(auditor, sweep_options(config), progress=not no_progress))
    story = explain(audit.snapshot, audit.report, target)
    layout = screen.layout(
        width, cast("screen.Colour", colour), limit=50, recording=replay, config=config_path
    )
    running.deliver(render_explain(story, layout), None)
    return 0


async def _audited(auditor: Auditor, options: SweepOptions, *, progress: bool) -> Audit:
    return await judged(await look(auditor, options, progress=progress))
