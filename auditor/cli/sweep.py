"""`wgaudit sweep`: look at the whole fleet once and report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from auditor.cli import running, screen, settings
from auditor.reports.interface import Format
from auditor.values.models import Report, Severity

if TYPE_CHECKING:
    from auditor.service.remembered import Remembered
    from auditor.settings.file import Config

FORMATS = ("table", "json")


@click.command("sweep")
@settings.config_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="A page for people, or one JSON document.",
)
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
    type=settings.Seconds(min=0, min_open=True),
    help="Report what was seen after so many seconds.",
)
@click.option(
    "--confirm-after",
    type=settings.Seconds(min=0),
    help="Seconds before each further look at suspects and at what moved.",
)
@click.option(
    "--no-confirm", is_flag=True, help="Look at nobody a second time; what moved is not clean then."
)
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
    "--colour",
    "--color",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    show_default=True,
    help="Colours. auto: on a terminal, unless NO_COLOR is set.",
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
@click.option("--alert", is_flag=True, help="Tell the configured notifiers what is new, changed and over.")
@click.option(
    "--alert-timeout",
    type=settings.Seconds(min=1),
    default=60.0,
    show_default=True,
    help="Seconds for all deliveries; what is left goes with the next sweep.",
)
@click.option(
    "--lock-wait",
    type=settings.Seconds(min=0),
    default=0.0,
    show_default=True,
    help="With --alert: seconds to wait for another sweep that holds the state.",
)
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
    alert: bool,
    alert_timeout: float,
    lock_wait: float,
) -> int:
    """Look at the whole fleet once and report.

    The report goes to stdout, everything else to stderr. Exit codes: 0 clean; 1 findings at or above
    --fail-on; 2 usage or configuration; 3 inconclusive: not enough was seen to say clean; 4 an alert could
    not be handed over, whatever the verdict.
    """
    form = _Form(
        renderer(format_name),
        width,
        cast("screen.Colour", colour),
        limit,
        output,
        record or replay,
        config_path,
    )
    # What looks and judges takes as long to load as the rest: `--help` does without it.
    from auditor.cli.look import look
    from auditor.service.audit import Auditor, audit_recording, judged, sweep_options

    if replay is not None:
        _refuse_with_replay(
            record=record,
            deadline=deadline,
            confirm_after=confirm_after,
            alert=alert or None,
        )
        return _finish(running.run(audit_recording(replay)).report, form, Severity(fail_on))
    # Refused now, not after ten minutes of sweeping.
    running.check_folders(record=record, output=output)
    config, found = settings.read_config(config_path)
    form = form._replace(found=found if config_path is None else None)
    options = sweep_options(config, deadline=deadline, confirm_after=confirm_after, confirm=not no_confirm)

    async def seen(before: Remembered | None = None) -> Report:
        auditor = Auditor(config, endpoints=endpoints)
        snapshot = await look(auditor, options, progress=not no_progress, before=before)
        return (await judged(snapshot, recording=record)).report

    if not alert:
        return _finish(running.run(seen()), form, Severity(fail_on))
    return running.run(_alerted(config, seen, form, Severity(fail_on), alert_timeout, lock_wait))


async def _alerted(
    config: Config,
    seen: Callable[[Remembered | None], Awaitable[Report]],
    form: _Form,
    fail_on: Severity,
    budget: float,
    lock_wait: float,
) -> int:
    # httpx takes a tenth of a second to load, which a plain sweep does not pay for.
    from auditor.service.alert_session import AlertSession

    session = AlertSession(config, running.StderrObserver(), budget=budget, lock_wait=lock_wait)
    async with session.round() as current:
        report = current.plan(await seen(current.remembered()))
        try:
            _show(report, form)
        finally:
            # Where the report cannot be written, because a disk is full, people are alerted all the same.
            interrupt = asyncio.Event()
            with running.interrupted_by_signals(interrupt):
                await current.deliver(report, interrupt)
        code = running.exit_code(report, fail_on) if current.handed_over else running.EXIT_NOT_HANDED_OVER
        running.say(running.summary(report, code, form.found))
        return code


class _Form(NamedTuple):
    """Form and destination of the report."""

    render: Format
    width: int | None
    colour: screen.Colour
    limit: int
    output: Path | None
    recording: Path | None
    config: Path | None
    found: Path | None = None
    """Configuration file that was found, where --config does not name one."""


def _finish(report: Report, form: _Form, fail_on: Severity) -> int:
    """Show the report and sum it up; return the exit code of its verdict."""
    _show(report, form)
    code = running.exit_code(report, fail_on)
    running.say(running.summary(report, code, form.found))
    return code


def _show(report: Report, form: _Form) -> None:
    layout = screen.layout(
        form.width,
        form.colour,
        form.limit,
        to_file=form.output is not None,
        recording=form.recording,
        config=form.config,
    )
    running.deliver(form.render(report, layout), form.output)


def renderer(format_name: str) -> Format:
    """Load the function that renders a format."""
    # Each format brings a library along that takes a tenth of a second to load: only the one that is asked for.
    if format_name == "json":
        from auditor.reports import json_v1

        return json_v1.render
    from auditor.reports.terminal import table

    return table.render


def _refuse_with_replay(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(
                f"--{name.replace('_', '-')} has no meaning with --replay: nothing is looked at"
            )
