"""Outbox: waiting notifications and dead letters; tests and previews of messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from alerts.delivery.deliver import deliver
from alerts.memory.notices import Row
from alerts.models import Incident, Log, Notification, NotifyReason, Receipt, Status
from alerts.notifiers.heartbeat import HeartbeatKind
from alerts.notifiers.interface import Notifier
from alerts.plan import plan
from auditor.errors import DeliveryError, StateBusy, UsageError
from auditor.service.alert_parts import (
    build_alert_policy,
    build_heartbeat,
    build_notifiers,
    build_sender,
    choose_notifiers,
)
from auditor.service.alert_state import AlertState, existing_state, opened_state, state_place
from auditor.service.audit import audit_recording
from auditor.settings.file import Config
from auditor.state.lock import exclusive_in_loop
from auditor.values.findings import Severity, fingerprint
from auditor.values.leaders import TellingRole


async def send_tests(
    config: Config, name: str | None, config_file: Path | None = None
) -> AsyncIterator[tuple[Status, Receipt]]:
    """Send a marked test and its resolve through each notifier; yield each receipt as it comes.

    config_file: the file that `config` was read from. name: one notifier; None: all. Raises `UsageError` and
    `ConfigError`.
    """
    for notifier in choose_notifiers(config, name, config_file):
        for status in (Status.FIRING, Status.RESOLVED):
            notice = Notification(
                notifier.name, NotifyReason.TEST, status, _test_incident(config.alerts.mesh), _now()
            )
            try:
                answer = await notifier.send(notifier.payload([notice]))
            except DeliveryError as error:
                receipt = Receipt(notifier.name, False, str(error), 1, error.permanent)
            else:
                receipt = Receipt(notifier.name, True, answer, 1)
            yield status, receipt
            await asyncio.sleep(notifier.pause)


async def try_heartbeat(config: Config, note: str) -> Receipt | None:
    """Call the heartbeat's URL once, as after a sweep that did its work; None where none is set.

    note: text in the call's body. Raises `ConfigError`.
    """
    heartbeat = build_heartbeat(config)
    if heartbeat is None:
        return None
    complaint = await heartbeat.beat(HeartbeatKind.SUCCESS, note)
    return Receipt("heartbeat", complaint is None, complaint or "taken", 1)


def _test_incident(mesh: str) -> Incident:
    return Incident(
        fingerprint=fingerprint("test", "wgaudit alerts test", mesh),
        check="test",
        severity=Severity.INFO,
        subject="192.0.2.1",
        address="192.0.2.1/32",
        summary="TEST of wgaudit's alerts. Nothing is wrong; nobody needs to do anything.",
        guess="",
        nodes=("example-sin-1", "example-fra-1"),
        regions=("fra", "sin"),
        routing=(("example-sin-1", 2, (("sin", 2),)), ("example-fra-1", 1, (("fra", 1),))),
        since=_now(),
        mesh=mesh,
    )


@dataclass(frozen=True, slots=True)
class MessagePreview:
    """Message as it would be sent."""

    notifier: str
    payload: bytes
    """Body without the secrets that are added on sending; empty where there is nothing to send."""
    reasons: tuple[str, ...]
    """Reason of each notification in it; none where there is nothing to send."""


async def preview_messages(
    config: Config, recording: Path, name: str | None, config_file: Path | None = None
) -> tuple[MessagePreview, ...]:
    """Make the messages of a recording as if nothing had been sent before. Sends nothing.

    config_file: the file that `config` was read from. name: one notifier; None: all. Raises `UsageError`,
    `ConfigError` and `SnapshotError`.
    """
    notifiers = choose_notifiers(config, name, config_file)
    report = (await audit_recording(recording)).report
    # Nothing is remembered here, so blindness shows at once.
    policy = replace(build_alert_policy(config), blind_after=1)
    made = plan(report, Log(), (), report.finished_at, policy)
    return tuple(message for notifier in notifiers for message in _messages(notifier, made.notifications))


def _messages(notifier: Notifier, notifications: Sequence[Notification]) -> Iterator[MessagePreview]:
    mine = [item for item in notifications if item.notifier == notifier.name]
    if not mine:
        yield MessagePreview(notifier.name, b"", ())
    most = max(len(mine), 1) if notifier.sums_up else notifier.max_per_message
    for start in range(0, len(mine), most):
        batch = mine[start : start + most]
        reasons = tuple(item.reason.value for item in batch)
        yield MessagePreview(notifier.name, notifier.payload(batch), reasons)


@dataclass(frozen=True, slots=True)
class Outbox:
    """Notifications that have not been accepted."""

    waiting: tuple[Row, ...]
    dead: tuple[Row, ...]
    """Refused for good, oldest first."""


def read_outbox(config: Config) -> Outbox | None:
    """Read waiting notifications and dead letters; None where there is no state. Raises `StateError`."""
    with existing_state(state_place(config)) as state:
        if state is None:
            return None
        return Outbox(tuple(state.notifications.outbox()), tuple(state.notifications.dead_letters()))


@dataclass(frozen=True, slots=True)
class Retried:
    """Dead letters that were sent again, or went back to the outbox of a watch."""

    stale: tuple[int, ...]
    """Numbers of dead letters that were not sent: the incident is over, or something newer was sent."""
    receipts: tuple[Receipt, ...]
    to_watch: int = 0
    """Number of those that a watch, which holds the lock, sends with its next round."""


async def retry_letters(
    config: Config,
    idents: Collection[int],
    *,
    budget: float,
    lock_wait: float,
    config_file: Path | None = None,
) -> Retried:
    """Send dead letters again, all or those of the given numbers. Where there is no state, there are none.

    Beside a watch, or another auditor that leads, they are put back into its outbox, and it sends them.

    config_file: the file that `config` was read from. budget, lock_wait: seconds. Raises `ConfigError`, `UsageError`
    for a number that is none, `StateBusy` and `StateError`.
    """
    notifiers = build_notifiers(config, config_file)
    if read_outbox(config) is None:  # no lock is made beside a state that is not there
        if idents:
            raise _no_letter(min(idents), config, config_file)
        return Retried((), ())
    if config.state.on_server:
        return await _retry_under_lease(config, idents, notifiers, budget, config_file)
    try:
        async with exclusive_in_loop(config.state.path, lock_wait):
            with opened_state(state_place(config)) as state:
                _, stale = _back_to_outbox(state, idents, config, config_file)
                return Retried(stale, await deliver(state.notifications, notifiers, budget=budget))
    except StateBusy as busy:
        if not busy.by_watch:
            raise
    with opened_state(state_place(config)) as state:
        chosen, stale = _back_to_outbox(state, idents, config, config_file)
        return Retried(stale, (), to_watch=chosen)


async def _retry_under_lease(
    config: Config,
    idents: Collection[int],
    notifiers: Sequence[Notifier],
    budget: float,
    config_file: Path | None,
) -> Retried:
    from auditor.service.lease_keeper import LeaseKeeper

    keeper = LeaseKeeper(state_place(config), config.state.lease, lambda: None)
    await keeper.open()
    try:
        with opened_state(state_place(config)) as state:
            chosen, stale = _back_to_outbox(state, idents, config, config_file)
            if keeper.role is not TellingRole.LEADS:
                return Retried(stale, (), to_watch=chosen)
            state.store.begun = keeper.begin
            sent = await deliver(
                state.notifications,
                notifiers,
                budget=budget,
                may_send=lambda: keeper.role is TellingRole.LEADS,
            )
            return Retried(stale, sent)
    finally:
        await keeper.close()


def _back_to_outbox(
    state: AlertState, idents: Collection[int], config: Config, config_file: Path | None
) -> tuple[int, tuple[int, ...]]:
    """Put dead letters back; return how many, and the numbers of those that are stale. Raises `UsageError`."""
    before = {letter.id for letter in state.notifications.dead_letters()}
    if unknown := sorted(set(idents) - before):
        raise _no_letter(unknown[0], config, config_file)
    chosen = {row.id for row in state.notifications.retry(idents or None, _now())}
    return len(chosen), tuple(sorted((set(idents) or before) - chosen))


def forget_notifier(config: Config, name: str) -> int:
    """Forget a notifier; return the number of its waiting or refused notifications. Raises `StateError`."""
    with existing_state(state_place(config)) as state:
        return 0 if state is None else state.notifications.forget(name)


def _now() -> datetime:
    return datetime.now(UTC)


def _no_letter(number: int, config: Config, config_file: Path | None) -> UsageError:
    guide = build_sender(config, config_file).guide
    return UsageError(f"{number} is no dead letter; {guide.mention('alerts list')} shows them")
