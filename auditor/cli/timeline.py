"""`wgaudit timeline`: everything that happened in one order, as the draft of a post-mortem."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from auditor.cli import running, screen, settings
from auditor.cli.durations import parse_past
from auditor.cli.formats import format_option
from auditor.errors import UsageError


@click.command("timeline")
@click.argument("fingerprint", required=False)
@settings.config_option
@click.option(
    "--since",
    help="Begin: so long ago (2h, 1d), or ISO 8601 in UTC. Default: 1d; of a finding, its first sight.",
)
@click.option(
    "--until", help="End, likewise. Default: now; of a finding that is over, an hour after its end."
)
@format_option("table", "markdown", "json")
@click.option(
    "--plan",
    "plans",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Plan that the state does not know; may be given again.",
)
@click.option(
    "--journal",
    "journals",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Journal of an apply that the state does not know, or that was moved; may be given again.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Incidents whose times the table writes out.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write it to this file (0600).")
def command(
    fingerprint: str | None,
    config_path: Path | None,
    since: str | None,
    until: str | None,
    format_name: str,
    plans: tuple[Path, ...],
    journals: tuple[Path, ...],
    limit: int,
    output: Path | None,
) -> int:
    """Tell what happened, in one order: the draft of a post-mortem.

    Sweeps and their pauses, findings (seen, changed, resolved, back), changes of registrations, who was told what and
    what they answered, silences, plans and the steps of an apply. FINGERPRINT, or its beginning, tells of one finding;
    `wgaudit history` lists them. All times are in UTC. What is known is what `sweep --alert` remembers; where it runs,
    `plan --output`, `apply` and `silence` leave a line too.
    """
    from auditor.explain.timeline import build_timeline, window
    from auditor.service.timeline_records import find_target, read_records

    now = datetime.now(UTC)
    running.check_folders(output=output)
    begin = parse_past(since, now, "timeline: --since") if since is not None else None
    end = parse_past(until, now, "timeline: --until") if until is not None else None
    config, _ = settings.read_config(config_path)
    target = (
        find_target(config, fingerprint, settings.guide(config, config_path))
        if fingerprint is not None
        else None
    )
    records = read_records(config, plans, journals)
    usual = window(records, target, now)
    begin, end = begin or usual[0], end or usual[1]
    if begin > end:
        raise UsageError(
            f"timeline: it would end ({end:%Y-%m-%d %H:%M} UTC) before it begins ({begin:%Y-%m-%d %H:%M})"
        )
    timeline = build_timeline(records, begin, end, now=now, target=target)
    if format_name == "json":
        from auditor.reports.json.timeline_v1 import timeline_document

        text = timeline_document(timeline).text()
    elif format_name == "markdown":
        from auditor.reports.timeline_markdown import render_timeline_markdown

        text = render_timeline_markdown(timeline)
    else:
        from auditor.reports.terminal.timeline_page import render_timeline

        text = render_timeline(timeline, screen.layout(None, "auto", limit, to_file=output is not None))
    running.deliver(text, output)
    return 0
