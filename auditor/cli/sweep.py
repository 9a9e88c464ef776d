"""`wgaudit sweep`: look at the whole fleet once and report."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from auditor.cli import running, screen, settings
from auditor.cli.progress import watching
from auditor.judge import judge
from auditor.models import Severity, Snapshot
from auditor.reports.interface import Format
from auditor.sweep import SweepOptions

FORMATS = ("table", "json")


@click.command("sweep")
@settings.config_option
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the report to this file (0600), not to stdout."
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Keep what was seen in this .json.gz file (0600)."
)
@settings.replay_option
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.WARNING.value,
    show_default=True,
    help="Exit 1 for findings at or above this severity.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    help="Report what was seen after so many seconds.",
)
@click.option(
    "--confirm-after", type=click.FloatRange(min=0), help="Seconds before suspects are looked at once more."
)
@click.option("--no-confirm", is_flag=True, help="Look at nobody twice.")
@click.option("--endpoints", is_flag=True, help="Also ask for peers' endpoints: shows where a ghost lives.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Findings the table writes out.",
)
@click.option(
    "--width", type=click.IntRange(min=40), help="Columns of the table. Default: the terminal's, else 80."
)
@click.option(
    "--colour", "--color", type=click.Choice(("auto", "always", "never")), default="auto", show_default=True
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    config_path: Path | None,
    format_name: str,
    output: Path | None,
    record: Path | None,
    replay: Path | None,
    fail_on: str,
    deadline: float | None,
    confirm_after: float | None,
    no_confirm: bool,
    endpoints: bool,
    limit: int,
    width: int | None,
    colour: str,
    no_progress: bool,
) -> int:
    """Look at the whole fleet once and report.

    The report goes to stdout, everything else to stderr. Exit codes: 0 clean; 1 findings at or above
    --fail-on; 2 usage or configuration; 3 inconclusive: not enough was seen to say clean.
    """
    if replay is not None:
        _refuse_with_replay(record=record, deadline=deadline, confirm_after=confirm_after)
        snapshot = _replayed(replay)
    else:
        # Told now, not after ten minutes of sweeping.
        running.check_folders(record=record, output=output)
        config, _ = settings.read_config(config_path)
        pause = config.sweep.confirm_after if confirm_after is None else confirm_after
        options = SweepOptions(
            concurrency=config.ssh.concurrency,
            deadline=deadline if deadline is not None else config.sweep.deadline,
            confirm_after=None if no_confirm else pause,
        )
        registry = settings.build_registry(config)
        nodes = settings.build_nodes(config, endpoints=endpoints)
        with watching(enabled=not no_progress) as observer:
            snapshot = running.run_sweep(registry, nodes, config.policy(), options, observer)
    report = judge(snapshot)
    code = running.exit_code(report, Severity(fail_on), snapshot.policy.minimum_coverage)
    layout = screen.layout(width, cast("screen.Colour", colour), limit, to_file=output is not None)
    running.deliver(renderer(format_name)(report, layout), output)
    if record is not None:
        from auditor.snapshot import record as keep

        keep(snapshot, record)
    running.say(running.summary(report, code))
    return code


def renderer(format_name: str) -> Format:
    """The function that renders a format."""
    from auditor.reports import json_v1, table

    return {"json": json_v1.render, "table": table.render}[format_name]


def _replayed(path: Path) -> Snapshot:
    from auditor.snapshot import replay

    return replay(path)


def _refuse_with_replay(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(
                f"--{name.replace('_', '-')} has no meaning with --replay: nothing is looked at"
            )
