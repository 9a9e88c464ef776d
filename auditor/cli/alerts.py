"""`wgaudit alerts`: test, preview, list and retry what is sent to people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from alerts.delivery.deliver import deliver
from alerts.models import Incident, Log, Notification, NotifyReason, Status
from alerts.notifiers.interface import Notifier
from alerts.plan import plan
from auditor.cli import running, screen, settings, threads
from auditor.cli.alerting import EXIT_NOT_HANDED_OVER, build_notifiers, build_policy, opened_store
from auditor.errors import DeliveryError, UsageError
from auditor.judge import judge
from auditor.reports.terminal.page import Page
from auditor.settings.file import Config
from auditor.state.database import exclusive
from auditor.values.models import Severity, fingerprint
from auditor.values.text import for_log


@click.group("alerts")
def command() -> None:
    """Test, preview, list and retry what is sent to people."""


@command.command("test")
@settings.config_option
@click.argument("name", required=False)
def test(config_path: Path | None, name: str | None) -> int:
    """Send a marked test and its resolve through each notifier, or through NAME, and print each receipt.

    Exit code 0 if all were accepted, else 4.
    """
    config, _ = settings.read_config(config_path)
    chosen = _chosen(config, name)
    return 0 if threads.run(_test_all(chosen)) else EXIT_NOT_HANDED_OVER


async def _test_all(notifiers: Sequence[Notifier]) -> bool:
    accepted = True
    for notifier in notifiers:
        for status in (Status.FIRING, Status.RESOLVED):
            told = Notification(notifier.name, NotifyReason.TEST, status, _test_incident(), datetime.now(UTC))
            try:
                said = await notifier.send(notifier.payload([told]))
            except DeliveryError as error:
                accepted = False
                kind = "refused" if error.permanent else "not now"
                click.echo(for_log(f"FAIL  {notifier.name}  {status.value:<8}  {kind}: {error}"))
            else:
                click.echo(for_log(f"ok    {notifier.name}  {status.value:<8}  {said}"))
            await asyncio.sleep(notifier.pause)
    return accepted


def _test_incident() -> Incident:
    return Incident(
        fingerprint=fingerprint("test", "wgaudit alerts test"),
        check="test",
        severity=Severity.INFO,
        subject="192.0.2.1",
        address="192.0.2.1/32",
        summary="TEST of wgaudit's alerts. Nothing is wrong; nobody needs to do anything.",
        guess="",
        nodes=("example-sin-1", "example-fra-1"),
        regions=("fra", "sin"),
        routing=(("example-sin-1", 2, (("sin", 2),)), ("example-fra-1", 1, (("fra", 1),))),
        since=datetime.now(UTC),
    )


@command.command("preview")
@settings.config_option
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    required=True,
    help="A recorded snapshot to take incidents from.",
)
@click.option("--notifier", "name", help="Only this one.")
def preview(config_path: Path | None, replay: Path, name: str | None) -> int:
    """Print what would be sent for a recording if nothing had been sent before. Sends nothing.

    Secrets are not in it: they are added on sending.
    """
    from auditor.state.recording import replay as read

    config, _ = settings.read_config(config_path)
    chosen = {notifier.name: notifier for notifier in _chosen(config, name)}
    report = judge(read(replay))
    # Nothing is remembered here, so blindness shows at once.
    policy = replace(build_policy(config), blind_after=1)
    made = plan(report, Log(), (), report.finished_at, policy)
    for notifier_name, notifier in chosen.items():
        mine = [item for item in made.notifications if item.notifier == notifier_name]
        for batch in _batches(mine, notifier.max_per_message):
            reasons = ", ".join(sorted({item.reason.value for item in batch}))
            running.say(f"# {notifier_name}: {len(batch)} in one message ({reasons})")
            click.echo(json.dumps(json.loads(notifier.payload(batch)), indent=2, ensure_ascii=False))
        if not mine:
            running.say(f"# {notifier_name}: nothing to tell")
    return 0


def _batches(items: Sequence[Notification], size: int) -> Iterator[Sequence[Notification]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@command.command("list")
@settings.config_option
def list_(config_path: Path | None) -> int:
    """Show what waits in the outbox, and the dead letters: what was refused for good."""
    config, _ = settings.read_config(config_path)
    page = Page(screen.layout(None, "auto", 50))
    with opened_store(config) as (_, store):
        waiting, dead = store.outbox(), store.dead_letters()
    page.line(f"OUTBOX  {len(waiting)} waiting for the next sweep --alert")
    for row in waiting:
        told = row.notification
        page.line(
            f"{row.id}  {page.name(told.notifier)}  {told.reason.value}  {page.clean(told.incident.subject)}  "
            f"since {row.created_at:%Y-%m-%d %H:%M} UTC, tried {row.attempts} times"
            f"{f': {page.clean(row.detail)}' if row.detail else ''}",
            indent=2,
        )
    page.heading("DEAD LETTERS", f"{len(dead)} refused for good; `wgaudit alerts retry` sends them again")
    for letter in dead:
        told = letter.notification
        page.line(
            f"{letter.id}  {page.name(told.notifier)}  {told.reason.value}  {page.clean(told.incident.subject)}  "
            f"{page.clean(letter.detail)}",
            indent=2,
        )
    running.deliver(page.text(), None)
    return 0


@command.command("retry")
@settings.config_option
@click.argument("ids", type=int, nargs=-1)
@click.option(
    "--alert-timeout", type=settings.Seconds(min=1), default=60.0, show_default=True, help="Seconds for all."
)
@click.option("--lock-wait", type=settings.Seconds(min=0), default=10.0, show_default=True, help="Seconds.")
def retry(config_path: Path | None, ids: tuple[int, ...], alert_timeout: float, lock_wait: float) -> int:
    """Send dead letters again, all or those with the given numbers (`alerts list` shows them).

    Exit code 0 if all were accepted, else 4.
    """
    config, _ = settings.read_config(config_path)
    notifiers = build_notifiers(config)
    with exclusive(config.state.path, lock_wait), opened_store(config) as (_, store):
        before = {letter.id for letter in store.dead_letters()}
        chosen = {row.id for row in store.retry(ids or None, datetime.now(UTC))}
        for stale in sorted((set(ids) or before) - chosen):
            click.echo(f"-     {stale} is not sent again: its incident is over, or something newer was told")
        receipts = threads.run(deliver(store, notifiers, budget=alert_timeout))
    for receipt in receipts:
        click.echo(for_log(f"{'ok  ' if receipt.accepted else 'FAIL'}  {receipt.notifier}  {receipt.detail}"))
    if not receipts:
        click.echo("nothing to send")
    return 0 if all(receipt.accepted for receipt in receipts) else EXIT_NOT_HANDED_OVER


@command.command("forget")
@settings.config_option
@click.argument("name")
def forget(config_path: Path | None, name: str) -> int:
    """Forget a notifier that was taken out of the configuration, with all that waits for it."""
    config, _ = settings.read_config(config_path)
    if name in {notifier.name for notifier in config.notifiers}:
        raise UsageError(f"alerts forget: {name} is configured; take it out of the configuration first")
    with opened_store(config) as (_, store):
        left = store.forget(name)
    click.echo(f"{for_log(name)} is forgotten; {left} that waited for it or had been refused went with it")
    return 0


def _chosen(config: Config, name: str | None) -> tuple[Notifier, ...]:
    notifiers = build_notifiers(config)
    names = ", ".join(notifier.name for notifier in notifiers)
    if not notifiers:
        raise UsageError(
            "alerts: no [[notifiers]] in the configuration; docs/alerts.md has an example of each type"
        )
    if name is None:
        return notifiers
    chosen = tuple(notifier for notifier in notifiers if notifier.name == name)
    if not chosen:
        raise UsageError(f"alerts: no notifier is called {name}; there are {names}")
    return chosen
