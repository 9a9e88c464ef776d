"""`wgaudit alerts`: test, preview, list and retry notifications."""

from __future__ import annotations

import json
from pathlib import Path

import click

from auditor.cli import complaints, formats, running, screen, settings
from auditor.errors import UsageError
from auditor.reports.terminal.page import Page
from auditor.service.alert_state import no_state
from auditor.service.outbox import (
    Outbox,
    forget_notifier,
    preview_messages,
    read_outbox,
    retry_letters,
    send_tests,
    try_heartbeat,
)
from auditor.settings.file import Config
from auditor.values.text import count, for_log


@click.group("alerts")
def command() -> None:
    """Test, preview, list and retry what is sent to people."""


@command.command("test")
@settings.config_option
@click.argument("name", required=False)
def test(config_path: Path | None, name: str | None) -> int:
    """Send a marked test and its resolve through each notifier, or through NAME, and print each receipt.

    Without NAME the heartbeat is called too, as after a sweep.

    Exit code 0 if all were accepted, else 4.
    """
    config, found = settings.read_config(config_path)
    return 0 if running.run(_test_all(config, name, found)) else running.EXIT_NOT_HANDED_OVER


async def _test_all(config: Config, name: str | None, config_file: Path | None) -> bool:
    accepted = True
    async for status, receipt in send_tests(config, name, config_file):
        if receipt.accepted:
            running.tell(for_log(f"ok    {receipt.notifier}  {status.value:<8}  {receipt.detail}"))
        else:
            accepted = False
            kind = "refused" if receipt.permanent else "not now"
            running.tell(for_log(f"FAIL  {receipt.notifier}  {status.value:<8}  {kind}: {receipt.detail}"))
    beaten = await try_heartbeat(config, "wgaudit alerts test") if name is None else None
    if beaten is not None:
        accepted = accepted and beaten.accepted
        mark = "ok  " if beaten.accepted else "FAIL"
        running.tell(for_log(f"{mark}  {beaten.notifier}  {beaten.detail.removeprefix('heartbeat: ')}"))
    return accepted


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
    config, found = settings.read_config(config_path)
    for message in running.run(preview_messages(config, replay, name, found)):
        if not message.reasons:
            complaints.say(f"# {message.notifier}: nothing to tell")
            continue
        reasons = ", ".join(sorted(set(message.reasons)))
        complaints.say(f"# {message.notifier}: {len(message.reasons)} in one message ({reasons})")
        click.echo(json.dumps(json.loads(message.payload), indent=2, ensure_ascii=False))
    return 0


@command.command("list")
@settings.config_option
@formats.format_option("table", "json")
def list_(config_path: Path | None, format_name: str) -> int:
    """Show what waits in the outbox, and the dead letters: what was refused for good."""
    config, _ = settings.read_config(config_path)
    guide = settings.guide(config, config_path)
    outbox = read_outbox(config)
    if format_name == "json":
        running.deliver(_document(outbox or Outbox((), ())), None)
        return 0
    if outbox is None:
        running.tell(no_state(config, guide))
        return 0
    waiting, dead = outbox.waiting, outbox.dead
    page = Page(screen.layout(None, "auto", 50))
    page.line(f"OUTBOX  {len(waiting)} waiting for the watch, or the next sweep --alert")
    for row in waiting:
        notice = row.notification
        page.line(
            f"{row.id}  {page.name(notice.notifier)}  {notice.reason.value}  {page.clean(notice.incident.subject)}  "
            f"since {row.created_at:%Y-%m-%d %H:%M} UTC, tried {row.attempts} times"
            f"{f': {page.clean(row.detail)}' if row.detail else ''}",
            indent=2,
        )
    again = f"; {guide.mention('alerts retry')} sends them again" if dead else ""
    page.heading("DEAD LETTERS", page.clean(f"{len(dead)} refused for good{again}"))
    for letter in dead:
        notice = letter.notification
        page.line(
            f"{letter.id}  {page.name(notice.notifier)}  {notice.reason.value}  {page.clean(notice.incident.subject)}  "
            f"{page.clean(letter.detail)}",
            indent=2,
        )
    running.deliver(page.text(), None)
    return 0


def _document(outbox: Outbox) -> str:
    from auditor.reports.json.outbox_v1 import OutboxV1, UndeliveredV1

    waiting, dead = (
        [
            UndeliveredV1(
                id=row.id,
                notifier=row.notification.notifier,
                reason=row.notification.reason.value,
                status=row.notification.status.value,
                fingerprint=row.notification.incident.fingerprint,
                check=row.notification.incident.check,
                severity=row.notification.incident.severity.value,
                subject=row.notification.incident.subject,
                created_at=row.created_at,
                tried_at=row.at,
                attempts=row.attempts,
                detail=row.detail,
            )
            for row in rows
        ]
        for rows in (outbox.waiting, outbox.dead)
    )
    return OutboxV1(waiting=waiting, dead=dead).text()


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
    config, found = settings.read_config(config_path)
    retried = running.run(
        retry_letters(config, ids, budget=alert_timeout, lock_wait=lock_wait, config_file=found)
    )
    for stale in retried.stale:
        click.echo(f"-     {stale} is not sent again: its incident is over, or something newer was told")
    for receipt in retried.receipts:
        running.tell(
            for_log(f"{'ok  ' if receipt.accepted else 'FAIL'}  {receipt.notifier}  {receipt.detail}")
        )
    if retried.to_watch:
        sent = count(retried.to_watch, "dead letter")
        click.echo(
            f"ok    {sent} back in the outbox: the watch that runs here sends them with its next round"
        )
    elif not retried.receipts:
        click.echo("nothing to send")
    accepted = all(receipt.accepted for receipt in retried.receipts)
    return 0 if accepted else running.EXIT_NOT_HANDED_OVER


@command.command("forget")
@settings.config_option
@click.argument("name")
def forget(config_path: Path | None, name: str) -> int:
    """Forget a notifier that was taken out of the configuration, with all that waits for it."""
    config, _ = settings.read_config(config_path)
    if name in {notifier.name for notifier in config.notifiers}:
        raise UsageError(f"alerts forget: {name} is configured; take it out of the configuration first")
    left = forget_notifier(config, name)
    click.echo(f"{for_log(name)} is forgotten; {left} that waited for it or had been refused went with it")
    return 0
