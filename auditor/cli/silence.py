"""`wgaudit silence`: mute planned findings for a while."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from auditor.cli import complaints, completing, formats, running, screen, settings
from auditor.cli.durations import parse_duration, parse_utc
from auditor.errors import InvalidValue, UsageError
from auditor.reports.terminal.page import Page
from auditor.service.alert_checks import unknown_check
from auditor.service.alert_state import no_state
from auditor.service.silencing import OVER, ListedSilence, add_silence, expire_silence, list_silences
from auditor.values.addresses import Prefix, format_prefix, parse_prefix
from auditor.values.text import count

_LONGEST = timedelta(days=365)


@click.group("silence")
def command() -> None:
    """Mute planned findings for a while. They stay in the report, marked, and keep their exit code."""


@command.command("add")
@settings.config_option
@click.option(
    "--check",
    "checks",
    multiple=True,
    shell_complete=completing.checks,
    help="Ident of a check. May be given again: any of them.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    shell_complete=completing.addresses,
    help="Mesh address. May be given again.",
)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    shell_complete=completing.nodes,
    help="Node; all nodes of an incident must be named.",
)
@click.option(
    "--region",
    "regions",
    multiple=True,
    shell_complete=completing.regions,
    help="Region; all regions of an incident must be named.",
)
@click.option("--for", "duration", required=True, help="How long: 90s, 30m, 2h, 1d, 1h30m.")
@click.option("--starts", help="When it begins: ISO 8601, in UTC unless it has an offset. Default: now.")
@click.option("--comment", required=True, help="Why; the person on call reads it.")
def add(
    config_path: Path | None,
    checks: tuple[str, ...],
    addresses: tuple[str, ...],
    nodes: tuple[str, ...],
    regions: tuple[str, ...],
    duration: str,
    starts: str | None,
    comment: str,
) -> int:
    """Add a silence. All kinds of matchers that are given must match; at least one must be given."""
    if not (checks or addresses or nodes or regions):
        raise UsageError("silence add: give at least one of --check, --address, --node and --region")
    if not comment.strip() or len(comment) > 500:
        raise UsageError("silence add: --comment must say why, in at most 500 characters")
    if unknown := unknown_check(checks):
        raise UsageError(f"silence add: {unknown}")
    for option, names in (("--node", nodes), ("--region", regions)):
        if not all(map(str.strip, names)):
            raise UsageError(f"silence add: {option} names nobody")
    starts_at, ends_at = _period(starts, _duration(duration))
    prefixes = tuple(map(_address, addresses))
    config, _ = settings.read_config(config_path)
    added = add_silence(
        config,
        starts_at,
        ends_at,
        running.person(),
        comment.strip(),
        checks=checks,
        addresses=prefixes,
        nodes=nodes,
        regions=regions,
    )
    silence = added.silence
    muted = f"mutes {added.muted:,} of {count(added.standing, 'standing incident')}"
    running.tell(f"{silence.ident}  until {silence.ends_at:%Y-%m-%d %H:%M:%S} UTC; {muted}")
    for doubt in added.doubts:
        complaints.say(f"wgaudit: silence add: {doubt}; it is added all the same")
    return 0


@command.command("list")
@settings.config_option
@click.option("--all", "everything", is_flag=True, help="Also silences that have ended.")
@formats.format_option("table", "json")
def list_(config_path: Path | None, everything: bool, format_name: str) -> int:
    """List the silences that hold now or will, the next to end first."""
    config, _ = settings.read_config(config_path)
    listed = list_silences(config, datetime.now(UTC))
    if format_name == "json":
        shown = [item for item in listed or () if everything or item.state != OVER]
        running.deliver(_document(shown), None)
        return 0
    if listed is None:
        running.tell(f"no silences: {no_state(config, settings.guide(config, config_path))}")
        return 0
    page = Page(screen.layout(None, "auto", 50))
    for item in listed:
        silence = item.silence
        if item.state == OVER and not everything:
            continue
        page.line(
            f"{silence.ident}  {item.state}  {silence.starts_at:%Y-%m-%d %H:%M} to {silence.ends_at:%Y-%m-%d %H:%M} UTC"
        )
        page.line(page.clean(_matchers(item)), indent=2)
        page.line(f"{page.clean(silence.comment, 500)} ({page.name(silence.created_by)})", indent=2)
    running.deliver(page.text() or "no silences\n", None)
    return 0


@command.command("expire")
@settings.config_option
@click.argument("ident")
def expire(config_path: Path | None, ident: str) -> int:
    """End a silence now."""
    config, _ = settings.read_config(config_path)
    guide = settings.guide(config, config_path)
    expire_silence(config, ident, datetime.now(UTC), running.person(), guide)
    click.echo(f"{ident}  is over")
    return 0


def _document(listed: Sequence[ListedSilence]) -> str:
    from auditor.reports.json.silences_v1 import SilencesV1, SilenceV1

    silences = [
        SilenceV1(
            ident=item.silence.ident,
            state=item.state,
            starts_at=item.silence.starts_at,
            ends_at=item.silence.ends_at,
            created_by=item.silence.created_by,
            comment=item.silence.comment,
            checks=sorted(item.silence.checks),
            addresses=sorted(item.silence.addresses),
            nodes=sorted(item.silence.nodes),
            regions=sorted(item.silence.regions),
        )
        for item in listed
    ]
    return SilencesV1(silences=silences).text()


def _matchers(item: ListedSilence) -> str:
    silence = item.silence
    parts = (
        ("check", silence.checks),
        ("address", {format_prefix(parse_prefix(address)) for address in silence.addresses}),
        ("node", silence.nodes),
        ("region", silence.regions),
    )
    return " and ".join(f"{name} {' or '.join(sorted(values))}" for name, values in parts if values)


def _address(text: str) -> Prefix:
    try:
        return parse_prefix(text)
    except InvalidValue as error:
        raise UsageError(f"silence add: --address {text[:80]}: {error}") from None


def _duration(text: str) -> timedelta:
    length = parse_duration(text)
    if length is None:
        raise UsageError(f"silence add: --for {text[:40]}: say it like 90s, 30m, 2h, 1d or 1h30m")
    if not timedelta() < length <= _LONGEST:
        raise UsageError("silence add: --for must be more than nothing and at most 365d")
    return length


def _period(starts: str | None, length: timedelta) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    if starts is None:
        return now, now + length
    try:
        starts_at = parse_utc(starts)
        ends_at = starts_at + length
    except (ValueError, OverflowError):
        raise UsageError(f"silence add: --starts {starts[:40]}: say it like 2026-12-01T03:00") from None
    if ends_at <= now:
        raise UsageError(f"silence add: it would be over already, since {ends_at:%Y-%m-%d %H:%M} UTC")
    return starts_at, ends_at
