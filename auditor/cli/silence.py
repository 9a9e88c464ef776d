"""`wgaudit silence`: mute planned findings for a while."""

from __future__ import annotations

import getpass
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from alerts.models import BLIND_CHECK, Silence
from alerts.silences import active
from auditor.checks.catalogue import BY_IDENT
from auditor.cli import running, screen, settings
from auditor.cli.alerting import opened_store
from auditor.errors import InvalidValue, UsageError
from auditor.reports.terminal.page import Page
from auditor.values.addresses import format_prefix, parse_prefix

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST = timedelta(days=365)


@click.group("silence")
def command() -> None:
    """Mute planned findings for a while. They stay in the report, marked, and keep their exit code."""


@command.command("add")
@settings.config_option
@click.option("--check", "checks", multiple=True, help="Ident of a check. May be given again: any of them.")
@click.option("--address", "addresses", multiple=True, help="Mesh address. May be given again.")
@click.option("--node", "nodes", multiple=True, help="Node; all nodes of an incident must be named.")
@click.option("--region", "regions", multiple=True, help="Region; all regions of an incident must be named.")
@click.option("--for", "duration", required=True, help="How long: 90s, 30m, 2h, 1d, 1h30m.")
@click.option("--starts", help="When it begins, ISO 8601. Default: now.")
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
    for check in checks:
        if check not in BY_IDENT and check != BLIND_CHECK:
            known = ", ".join(sorted((*BY_IDENT, BLIND_CHECK)))
            raise UsageError(f"silence add: no check is called {check}; there are {known}")
    for option, names in (("--node", nodes), ("--region", regions)):
        if not all(map(str.strip, names)):
            raise UsageError(f"silence add: {option} names nobody")
    starts_at, ends_at = _period(starts, _duration(duration))
    silence = Silence(
        ident=secrets.token_hex(4),
        starts_at=starts_at,
        ends_at=ends_at,
        created_by=os.environ.get("SUDO_USER") or getpass.getuser(),
        comment=comment.strip(),
        checks=frozenset(checks),
        addresses=frozenset(map(_address, addresses)),
        nodes=frozenset(nodes),
        regions=frozenset(regions),
    )
    config, _ = settings.read_config(config_path)
    with opened_store(config) as (_, store):
        store.add_silence(silence)
    click.echo(f"{silence.ident}  until {silence.ends_at:%Y-%m-%d %H:%M:%S} UTC")
    return 0


@command.command("list")
@settings.config_option
@click.option("--all", "everything", is_flag=True, help="Also silences that have ended.")
def list_(config_path: Path | None, everything: bool) -> int:
    """List the silences that hold now or will, the next to end first."""
    config, _ = settings.read_config(config_path)
    now = datetime.now(UTC)
    with opened_store(config) as (_, store):
        silences = sorted(store.silences(), key=lambda silence: (silence.ends_at, silence.ident))
    page = Page(screen.layout(None, "auto", 50))
    for silence in silences:
        if silence.ends_at <= now and not everything:
            continue
        state = "active" if active(silence, now) else "over" if silence.ends_at <= now else "to come"
        page.line(
            f"{silence.ident}  {state}  {silence.starts_at:%Y-%m-%d %H:%M} to {silence.ends_at:%Y-%m-%d %H:%M} UTC"
        )
        page.line(page.clean(_matchers(silence)), indent=2)
        page.line(f"{page.clean(silence.comment, 500)} ({page.name(silence.created_by)})", indent=2)
    running.deliver(page.text() or "no silences\n", None)
    return 0


@command.command("expire")
@settings.config_option
@click.argument("ident")
def expire(config_path: Path | None, ident: str) -> int:
    """End a silence now."""
    config, _ = settings.read_config(config_path)
    with opened_store(config) as (_, store):
        store.expire_silence(ident, datetime.now(UTC))
    click.echo(f"{ident}  is over")
    return 0


def _matchers(silence: Silence) -> str:
    parts = (
        ("check", silence.checks),
        ("address", {format_prefix(parse_prefix(address)) for address in silence.addresses}),
        ("node", silence.nodes),
        ("region", silence.regions),
    )
    return " and ".join(f"{name} {' or '.join(sorted(values))}" for name, values in parts if values)


def _address(text: str) -> str:
    try:
        return parse_prefix(text)
    except InvalidValue as error:
        raise UsageError(f"silence add: --address {text[:80]}: {error}") from None


def _duration(text: str) -> timedelta:
    parts = re.findall(r"([0-9]{1,6})([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"silence add: --for {text[:40]}: say it like 90s, 30m, 2h, 1d or 1h30m")
    length = timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
    if not timedelta() < length <= _LONGEST:
        raise UsageError("silence add: --for must be more than nothing and at most 365d")
    return length


def _period(starts: str | None, length: timedelta) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    if starts is None:
        return now, now + length
    try:
        # Without an offset it is the local time. Years at the calendar's ends have no other one.
        starts_at = datetime.fromisoformat(starts).astimezone(UTC)
        ends_at = starts_at + length
    except (ValueError, OverflowError):
        raise UsageError(f"silence add: --starts {starts[:40]}: say it like 2026-12-01T03:00+00:00") from None
    if ends_at <= now:
        raise UsageError(f"silence add: it would be over already, since {ends_at:%Y-%m-%d %H:%M} UTC")
    return starts_at, ends_at
