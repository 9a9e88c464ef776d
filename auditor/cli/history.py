"""`wgaudit history`: past sweeps, and the life of each finding."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from rich.text import Text

from auditor.cli import running, screen, settings
from auditor.reports.terminal.page import Page
from auditor.service.alert_state import no_state
from auditor.service.past import read_life, read_past
from auditor.values.text import count


@click.group("history", invoke_without_command=True)
@settings.config_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Sweeps and findings shown."
)
@click.option("--all", "everything", is_flag=True, help="Also the findings that follow from another.")
@click.pass_context
def command(ctx: click.Context, /, config_path: Path | None, limit: int, everything: bool) -> int | None:
    """Show past sweeps and findings: those that stand, then those that were resolved last.

    Only `sweep --alert` is remembered here, for state.keep_days.
    """
    ctx.obj = config_path
    if ctx.invoked_subcommand is not None:
        return None
    config, _ = settings.read_config(config_path)
    past = read_past(config, limit, leading_only=not everything)
    if past is None:
        running.deliver(f"{no_state(config.state.path)}\n", None)
        return 0
    page = Page(screen.layout(None, "auto", limit))
    page.line(f"SWEEPS  the last {len(past.sweeps)}; all times in UTC")
    for sweep in past.sweeps:
        seconds = (sweep.finished_at - sweep.started_at).total_seconds()
        cut = f", cut short ({page.clean(sweep.cut_short)})" if sweep.cut_short else ""
        found = count(sum(sweep.findings.values()), "finding")
        page.row(
            [
                (Text(_time(sweep.started_at)), 19),
                (Text(sweep.verdict.value), 12),
                (Text(f"{sweep.observed:,} of {sweep.registered:,} seen"), 14),
                (Text(f"{found}, {count(sweep.gaps, 'gap')}, {seconds:.1f} s{cut}"), 0),
            ],
            indent=2,
        )
    page.heading("FINDINGS", "one's life: wgaudit history show FINGERPRINT")
    for finding in past.findings:
        end = f"resolved {_time(finding.resolved_at)}" if finding.resolved_at else "stands"
        page.row(
            [
                (Text(finding.fingerprint[:10]), 10),
                (Text(finding.severity.value), 8),
                (Text(f"{finding.check}  {page.clean(finding.subject)}"), 0),
            ],
            indent=2,
        )
        page.line(f"{end}; seen {_time(finding.first_seen)} to {_time(finding.last_seen)}", indent=14)
    running.deliver(page.text(), None)
    return 0


@command.command("show")
@click.argument("fingerprint")
@settings.config_option
@click.pass_context
def show(ctx: click.Context, /, fingerprint: str, config_path: Path | None) -> int:
    """Show one finding's life with each notification. The beginning of its fingerprint does."""
    config, _ = settings.read_config(config_path or ctx.obj)
    life = read_life(config, fingerprint)
    finding = life.finding
    page = Page(screen.layout(None, "auto", 50))
    page.line(f"{finding.fingerprint}  {finding.severity}  {finding.check}  {page.clean(finding.subject)}")
    page.line(page.clean(finding.summary, 2000), indent=2)
    page.labelled("first", _time(finding.first_seen))
    page.labelled("last", _time(finding.last_seen))
    page.labelled("end", f"resolved {_time(finding.resolved_at)}" if finding.resolved_at else "it stands")
    page.heading("TOLD", "all times in UTC")
    for row in life.notifications:
        notice = row.notification
        page.line(
            f"{_time(row.at)}  {page.name(notice.notifier)}  {notice.reason.value}  {row.state.value}  "
            f"{page.clean(row.detail)}",
            indent=2,
        )
    if not life.notifications:
        page.line("nobody yet", indent=2)
    running.deliver(page.text(), None)
    return 0


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
