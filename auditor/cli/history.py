"""`wgaudit history`: past sweeps, and the life of each finding."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click
from rich.text import Text

from auditor.cli import completing, filters, running, screen, settings
from auditor.cli.formats import format_option
from auditor.reports.selection import Selection
from auditor.reports.terminal.page import Page, column
from auditor.service.alert_state import no_state
from auditor.service.past import read_life, read_past
from auditor.values.text import count


@click.group("history", invoke_without_command=True)
@settings.config_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Sweeps and findings shown."
)
@click.option("--all", "everything", is_flag=True, help="Also the findings that follow from another.")
@filters.filter_options
@format_option("table", "json")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    config_path: Path | None,
    limit: int,
    everything: bool,
    selection: Selection,
    format_name: str,
) -> int | None:
    """Show past sweeps and findings: those that stand, then those that were resolved last.

    Only `sweep --alert` is remembered here, for state.keep_days. `wgaudit diff` compares two sweeps by their
    numbers; `wgaudit timeline` tells all that happened, in one order.
    """
    ctx.obj = config_path
    if ctx.invoked_subcommand is not None:
        return None
    config, _ = settings.read_config(config_path)
    guide = settings.guide(config, config_path)
    filters.refuse_whole_form(selection, format_name, "table")
    past = read_past(config, limit, leading_only=not everything, selection=selection)
    if format_name == "json":
        from auditor.reports.json.history_v1 import history_document

        sweeps, findings = (past.sweeps, past.findings) if past is not None else ((), ())
        running.deliver(history_document(sweeps, findings, state=past is not None).text(), None)
        return 0
    if past is None:
        running.tell(no_state(config, guide))
        return 0
    filters.tell_strangers(selection, past.nodes, past.regions)
    page = Page(screen.layout(None, "auto", limit))
    page.line(f"SWEEPS  the last {len(past.sweeps)}; all times in UTC")
    digits = len(str(max((sweep.number for sweep in past.sweeps), default=0)))
    seen = [f"{sweep.observed:,} of {sweep.registered:,} seen" for sweep in past.sweeps]
    widest = column(seen, 22)
    for sweep, coverage in zip(past.sweeps, seen, strict=True):
        cut = f", cut short ({page.clean(sweep.cut_short)})" if sweep.cut_short else ""
        found = count(sweep.found, "finding")
        page.row(
            [
                (Text(f"{sweep.number:>{digits}}"), digits),
                (Text(_time(sweep.started_at)), 19),
                (Text(sweep.verdict.value), 12),
                (Text(coverage), widest),
                (Text(f"{found}, {count(sweep.gaps, 'gap')}, {sweep.seconds:.1f} s{cut}"), 0),
            ],
            indent=2,
        )
    life = guide.spelled(guide.command("history show", target="FINGERPRINT"))
    page.heading("FINDINGS", page.clean(f"one's life: {life}") if life is not None else "")
    if selection:
        page.line(f"FILTERED by {page.clean(' '.join(selection.options))}: sweeps are all shown", 2)
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
@format_option("table", "json")
@click.pass_context
def show(ctx: click.Context, /, fingerprint: str, config_path: Path | None, format_name: str) -> int:
    """Show one finding's life with each notification. The beginning of its fingerprint does."""
    config, _ = settings.read_config(config_path or ctx.obj)
    life = read_life(config, fingerprint)
    finding = life.finding
    if format_name == "json":
        from auditor.reports.json.finding_life_v1 import finding_life_document

        running.deliver(finding_life_document(finding, life.notifications).text(), None)
        return 0
    page = Page(screen.layout(None, "auto", 50))
    page.line(f"{finding.fingerprint}  {finding.severity}  {finding.check}  {page.clean(finding.subject)}")
    page.line(page.clean(finding.summary, 2000), indent=2)
    page.labelled("first", _time(finding.first_seen))
    page.labelled("last", _time(finding.last_seen))
    page.labelled("end", f"resolved {_time(finding.resolved_at)}" if finding.resolved_at else "it stands")
    page.heading("TOLD", "all times in UTC")
    for notice in life.notifications:
        page.line(
            f"{_time(notice.at)}  {page.name(notice.notifier)}  {notice.reason}  {notice.state}  "
            f"{page.clean(notice.answer)}",
            indent=2,
        )
    if not life.notifications:
        page.line("nobody yet", indent=2)
    running.deliver(page.text(), None)
    return 0


@command.command("node")
@click.argument("target", shell_complete=completing.node_targets)
@settings.config_option
@format_option("table", "json")
@click.pass_context
def node(ctx: click.Context, /, target: str, config_path: Path | None, format_name: str) -> int:
    """Show what became of registrations: of a node, or of all that had an address or a key.

    TARGET is a node's name, an address, or a key or its beginning. Consul's KV has no history: `sweep --alert` takes
    down what differs from the sweep before, so a change is known to lie between two times. Kept for state.keep_days.
    """
    from auditor.reports.registration_sentences import between, change_words, registration_words
    from auditor.service.registration_past import read_registration_history

    config, _ = settings.read_config(config_path or ctx.obj)
    guide = settings.guide(config, config_path or ctx.obj)
    past = read_registration_history(config, target, guide)
    if format_name == "json":
        from auditor.reports.json.registration_history_v1 import registration_history_document

        running.deliver(registration_history_document(target, past).text(), None)
        return 0
    if past is None:
        running.tell(no_state(config, guide))
        return 0
    page = Page(screen.layout(None, "auto", 50))
    page.line("REGISTRATIONS  as last read")
    for item in past.known:
        gone = f"gone between {between(item.gone)}; it was " if item.gone is not None else ""
        page.line(f"{page.name(str(item.registration.node))}", indent=2)
        page.line(f"{gone}{registration_words(item.registration, page.clean)}", indent=4)
    page.heading("CHANGES", "all times in UTC; each lies between two sweeps")
    for change in past.changes:
        page.line(f"{between(change)}  {page.name(str(change.node))}", indent=2)
        page.line(change_words(change, page.clean), indent=4)
    if not past.changes:
        began = past.began_at
        page.line(f"none since {_time(began)}" if began is not None else "none", indent=2)
    running.deliver(page.text(), None)
    return 0


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
