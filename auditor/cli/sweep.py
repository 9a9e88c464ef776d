"""`wgaudit sweep`: look at the whole fleet once and report."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from auditor.cli import complaints, filters, formats, running, screen, settings
from auditor.errors import ConfigError
from auditor.reports.audit_health import AuditHealth
from auditor.reports.interface import Format
from auditor.reports.selection import EVERYTHING, Selection
from auditor.values.findings import Severity
from auditor.values.report import Report

if TYPE_CHECKING:
    from auditor.service.audit import Audit
    from auditor.service.remembered import Remembered
    from auditor.settings.file import Config

FORMATS = ("table", "csv", "json", "markdown", "html", "prometheus")
FILTERED = ("table", "csv", "markdown", "html")
"""Forms that show a part of a report. The others are for programs, which have filters of their own."""


@click.command("sweep")
@settings.config_option
@formats.format_option(*FORMATS)
@click.option(
    "--full", is_flag=True, help="With json: name all observers of each finding, not a few of them."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the report to this file (0600), not to stdout."
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Keep what was seen in this .json.gz file (0600)."
)
@click.option(
    "--metrics",
    type=click.Path(path_type=Path),
    help="Also write metrics to this file (0644), for Prometheus: NAME.prom in a textfile collector's folder.",
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
    "--transfer",
    is_flag=True,
    help="Also look for peers that are sent to in vain: 4 seconds a node, 20 where there may be one.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Findings the table writes out.",
)
@filters.filter_options
@formats.screen_options
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
@click.option(
    "--watch",
    is_flag=True,
    help="Follow the fleet and redraw the table until q or Ctrl-C; without a terminal, a line for each change.",
)
def command(
    config_path: Path | None,
    format_name: str,
    full: bool,
    output: Path | None,
    record: Path | None,
    metrics: Path | None,
    replay: Path | None,
    fail_on: str,
    deadline: float | None,
    confirm_after: float | None,
    no_confirm: bool,
    endpoints: bool,
    transfer: bool,
    limit: int,
    selection: Selection,
    width: int | None,
    colour: screen.Colour,
    no_progress: bool,
    alert: bool,
    alert_timeout: float,
    lock_wait: float,
    watch: bool,
) -> int:
    """Look at the whole fleet once and report.

    The report goes to stdout, everything else to stderr. Exit codes: 0 clean; 1 findings at or above
    --fail-on; 2 usage or configuration; 3 inconclusive: not enough was seen to say clean; 4 an alert could
    not be handed over, whatever the verdict. With --watch they are those of the last report; nobody is told, and no
    lock is taken.
    """
    if full and format_name != "json":
        raise click.UsageError("--full is for --format json; `wgaudit affected` lists observers for people")
    filters.refuse_whole_form(selection, format_name, *FILTERED)
    _refuse_with_watch(
        watch,
        format=format_name != "table",
        output=output,
        record=record,
        metrics=metrics,
        replay=replay,
        deadline=deadline,
        confirm_after=confirm_after,
        no_confirm=no_confirm,
        endpoints=endpoints,
        transfer=transfer,
        alert=alert,
    )
    form = _Form(
        renderer(format_name),
        width,
        colour,
        limit,
        output,
        record or replay,
        config_path,
        selection=selection,
        metrics=metrics,
        wants_health=format_name == "prometheus",
        full=full,
    )
    # What looks and judges takes as long to load as the rest: `--help` does without it.
    from auditor.cli.look import look
    from auditor.service.agreements import idle_agreements
    from auditor.service.audit import Auditor, audit_recording, judged, sweep_options

    if replay is not None:
        _refuse_with_replay(
            record=record,
            deadline=deadline,
            confirm_after=confirm_after,
            alert=alert,
        )
        form = form._replace(config=settings.named_config(config_path))
        running.check_folders(reads=replay, output=output, metrics=metrics)
        return _finish(running.run(audit_recording(replay)).report, form, Severity(fail_on))
    # Refused now, not after ten minutes of sweeping.
    running.check_folders(record=record, output=output, metrics=metrics)
    config, found = settings.read_config(config_path)
    form = form._replace(config=config, found=found if config_path is None else None)
    if watch:
        return _watched(config, form, Severity(fail_on))
    options = sweep_options(config, deadline=deadline, confirm_after=confirm_after, confirm=not no_confirm)

    async def seen(before: Remembered | None = None) -> Audit:
        try:
            auditor = Auditor(config, endpoints=endpoints, transfer=transfer)
            snapshot = await look(auditor, options, progress=not no_progress, before=before)
        except ConfigError as error:
            if found is not None:
                raise
            # The defaults do not fit: whoever has just installed it has not configured it.
            raise ConfigError(
                f"{error} (there is no configuration file: `wgaudit init` writes one)"
            ) from None
        audit = await judged(snapshot, recording=record)
        for line in idle_agreements(config, audit.report):
            complaints.say(f"wgaudit: {line}")
        return audit

    async def seen_with_silences() -> Report:
        before = await remembering(config)
        return with_silences((await seen(before)).report, before.silences, datetime.now(UTC))

    if not alert:
        from auditor.cli.look import remembering
        from auditor.service.remembered import with_silences

        return _finish(running.run(seen_with_silences()), form, Severity(fail_on), config)
    session = {"budget": alert_timeout, "lock_wait": lock_wait}
    return running.run(_alerted(config, found, seen, form, Severity(fail_on), **session))


def _watched(config: Config, form: _Form, fail_on: Severity) -> int:
    """Follow the fleet until it is ended; leave the last table, its summary and its exit code."""
    from auditor.cli.sweep_watch import watch_table

    guide = settings.guide(config, form.named)

    def render(report: Report, width: int) -> str:
        layout = screen.layout(
            form.width or width, form.colour, form.limit, guide=guide, selection=form.selection
        )
        return form.render(report, layout)

    report = running.run(watch_table(config, render, guide=guide, colour=form.colour))
    if sys.stdout is not None and sys.stdout.isatty():
        _show(report, form)
    code = running.exit_code(report, fail_on)
    complaints.say(running.summary(report, code, form.found))
    return code


async def _alerted(
    config: Config,
    config_file: Path | None,
    seen: Callable[[Remembered | None], Awaitable[Audit]],
    form: _Form,
    fail_on: Severity,
    *,
    budget: float,
    lock_wait: float,
) -> int:
    # httpx takes a tenth of a second to load, which a plain sweep does not pay for.
    from auditor.service.alert_session import AlertSession

    session = AlertSession(
        config, running.StderrObserver(), budget=budget, lock_wait=lock_wait, config_file=config_file
    )
    async with session.round() as current:
        audit = await seen(current.remembered())
        report = current.plan(audit.report)
        try:
            if not form.wants_health:
                _show(report, form)
        finally:
            # Where the report cannot be written, because a disk is full, people are alerted all the same.
            interrupt = asyncio.Event()
            with running.interrupted_by_signals(interrupt):
                await current.deliver(report, interrupt, audit.snapshot)
            if form.needs_health:
                health = current.health()
                _write_metrics(report, form, health)
        if form.wants_health:
            _show(report, form, health)
        code = running.exit_code(report, fail_on) if current.handed_over else running.EXIT_NOT_HANDED_OVER
        known = current.notified or (current.handed_over and current.tells)
        notified = current.notified if known else None
        complaints.say(running.summary(report, code, form.found, notified))
        return code


class _Form(NamedTuple):
    """Form and destination of the report."""

    render: Format
    width: int | None
    colour: screen.Colour
    limit: int
    output: Path | None
    recording: Path | None
    named: Path | None
    """Configuration file that --config names."""
    config: Config | None = None
    """None with --replay, unless the file is named."""
    found: Path | None = None
    """Configuration file that was found, where --config does not name one."""
    selection: Selection = EVERYTHING
    metrics: Path | None = None
    wants_health: bool = False
    """True: the report's form says how the audit itself fares, too."""
    full: bool = False

    @property
    def needs_health(self) -> bool:
        """Tell whether something is written that says how the audit itself fares."""
        return self.wants_health or self.metrics is not None


def _finish(report: Report, form: _Form, fail_on: Severity, config: Config | None = None) -> int:
    """Show the report and sum it up; return the exit code of its verdict. config: None for a recording."""
    health = AuditHealth()
    if form.needs_health and config is not None:
        from auditor.service.alert_state import state_place
        from auditor.service.health_from_state import health_of

        health = health_of(state_place(config), running.StderrObserver().complain)
    try:
        _show(report, form, health)
    finally:
        _write_metrics(report, form, health)
    code = running.exit_code(report, fail_on)
    complaints.say(running.summary(report, code, form.found))
    return code


def _write_metrics(report: Report, form: _Form, health: AuditHealth) -> None:
    if form.metrics is not None:
        from auditor.cli.metrics_file import write_metrics
        from auditor.reports.prometheus import exposition

        write_metrics(form.metrics, exposition(report, health))


def _show(report: Report, form: _Form, health: AuditHealth | None = None) -> None:
    if form.wants_health:
        from auditor.reports.prometheus import exposition

        running.deliver(exposition(report, health or AuditHealth()), form.output)
        return
    layout = screen.layout(
        form.width,
        form.colour,
        form.limit,
        to_file=form.output is not None,
        full=form.full,
        guide=settings.guide(form.config, form.named, form.recording),
        selection=form.selection,
    )
    filters.tell_strangers(form.selection, *filters.known_in(report))
    running.deliver(form.render(report, layout), form.output)


def renderer(format_name: str) -> Format:
    """Load the function that renders a format."""
    # Each format brings a library along that takes a tenth of a second to load: only the one that is asked for.
    if format_name == "json":
        from auditor.reports import json_v1

        return json_v1.render
    if format_name == "markdown":
        from auditor.reports import markdown

        return markdown.render
    if format_name == "html":
        from auditor.reports.html import html_report

        return html_report.render
    if format_name == "csv":
        from auditor.reports import findings_csv

        return findings_csv.render
    if format_name == "prometheus":
        from auditor.reports import prometheus

        return prometheus.render
    from auditor.reports.terminal import table

    return table.render


def _refuse_with_replay(**options: object) -> None:
    _refuse(options, "has no meaning with --replay: nothing is looked at")


def _refuse_with_watch(watch: bool, **options: object) -> None:
    _refuse(
        options if watch else {},
        "does not go with --watch, which draws the table anew and anew; leave it away",
    )


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None and value is not False:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")
