"""An other side that answers by script, a clock that tests move, and incidents in a few words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from alerts.memory.notification_log import NotificationLog
from alerts.models import AlertPlan, Incident, Notification, NotifyReason, Standing, Status
from auditor.errors import DeliveryError
from auditor.service.alert_state import state_tables
from auditor.state.opening import open_store
from auditor.state.places import StatePlace
from auditor.state.state_store import StateStore
from auditor.values.findings import Severity, fingerprint
from auditor.values.models import NodeId

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

Told = tuple[str, str, str]
"""What a message says of one incident: (fingerprint, status, summary)."""


class Killed(BaseException):
    """The process ends here, as SIGKILL ends it: nothing after it runs, what is not committed is lost."""


def opened(place: StatePlace) -> StateStore:
    """The state database with both parts, as a sweep opens it."""
    return open_store(place, state_tables())


def incident(
    subject: str = "10.0.0.1",
    summary: str = "two nodes hold it",
    nodes: tuple[str, ...] = ("a", "b"),
    severity: Severity = Severity.CRITICAL,
) -> Incident:
    """A duplicate address."""
    return Incident(
        fingerprint=fingerprint("duplicate-address", subject),
        check="duplicate-address",
        severity=severity,
        subject=subject,
        address=f"{subject}/32",
        summary=summary,
        guess="Probably two writers raced.",
        nodes=nodes,
        regions=("fra", "sin"),
        routing=(("a", 3, (("fra", 2), ("sin", 1))), ("nobody", 1, (("", 1),))),
        follows=(("split-routing", 1),),
        since=NOON,
    )


def firing(notifier: str = "oncall", about: Incident | None = None) -> Notification:
    """The first word on an incident."""
    return Notification(notifier, NotifyReason.FIRST_NOTIFICATION, Status.FIRING, about or incident())


def update(notifier: str = "oncall", about: Incident | None = None) -> Notification:
    """A later word on it."""
    return Notification(notifier, NotifyReason.CLAIMANTS_CHANGED, Status.FIRING, about or incident())


def repeat(notifier: str = "oncall", about: Incident | None = None) -> Notification:
    """The same word again."""
    return Notification(notifier, NotifyReason.REPEAT_INTERVAL_ELAPSED, Status.FIRING, about or incident())


def resolve(notifier: str = "oncall", about: Incident | None = None) -> Notification:
    """The last word on it."""
    return Notification(notifier, NotifyReason.RESOLVED, Status.RESOLVED, about or incident())


def stands(about: Incident, sweep: int = 1, at: datetime = NOON) -> Standing:
    """An incident as the plan remembers it."""
    return Standing(
        about, at, at, sweep, frozenset({"dc1"}), frozenset({NodeId("dc1", "a")}), everybody=False
    )


def planned(*notifications: Notification, standing: Iterable[Incident] = ()) -> AlertPlan:
    """A plan that sends these."""
    return AlertPlan(
        notifications=notifications,
        standing={item.fingerprint: stands(item) for item in standing},
        resolved=(),
    )


def keep(
    database: StateStore,
    *notifications: Notification,
    standing: Iterable[Incident] = (),
    sweep: int = 1,
    now: datetime = NOON,
) -> NotificationLog:
    """A store whose outbox holds these, committed."""
    kept = NotificationLog(database)
    kept.keep(planned(*notifications, standing=standing), sweep, now)
    return kept


def only_read(database: StateStore, only: bool) -> None:
    """Lets the database be read, and refuses what is written; or no more."""
    on_server = database.engine.dialect.name == "postgresql"
    setting = "SET SESSION default_transaction_read_only" if on_server else "PRAGMA query_only"
    with database.reading() as connection:
        connection.execute(text(f"{setting} = {'on' if only else 'off'}"))
        connection.commit()


@dataclass
class Clock:
    """Time that passes only where somebody waits for it."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        """The time of day."""
        return NOON + timedelta(seconds=self.seconds)

    def clock(self) -> float:
        """Seconds since some start."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Passes the time at once."""
        self.waits.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


Answer = Callable[[list[Told]], str]
"""What the other side makes of a message: its answer, or `DeliveryError`."""


def accept(_: list[Told]) -> str:
    """Takes everything."""
    return "202 accepted"


def busy(_: list[Told]) -> str:
    """Cannot take it now."""
    raise DeliveryError("503 try later", permanent=False)


def unclear(_: list[Told]) -> str:
    """Takes the message, perhaps, and says nothing that could be understood."""
    raise DeliveryError("a page", permanent=False, unclear=True)


def limited(seconds: float) -> Answer:
    """Asks to be left alone for a while."""

    def answer(_: list[Told]) -> str:
        raise DeliveryError("429 too many", permanent=False, retry_after=seconds)

    return answer


def refuse(_: list[Told]) -> str:
    """Will never take it."""
    raise DeliveryError("400 invalid", permanent=True)


def refuse_only(*fingerprints: str) -> Answer:
    """Will never take a message that holds one of these."""

    def answer(message: list[Told]) -> str:
        if any(mark in fingerprints for mark, _, _ in message):
            raise DeliveryError("400 invalid", permanent=True)
        return "200 ok"

    return answer


@dataclass
class ScriptedNotifier:
    """A notifier whose other side answers by script: each call takes the next answer, the last one for good."""

    name: str = "oncall"
    script: Sequence[Answer] = (accept,)
    max_per_message: int = 1
    sums_up: bool = False
    pause: float = 0.0
    calls: list[list[Told]] = field(default_factory=list)
    """Every message that came in, whatever became of it."""
    taken: list[list[Told]] = field(default_factory=list)
    """The messages that the other side took."""

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """The message as JSON."""
        told = [(item.incident.fingerprint, item.status, item.incident.summary) for item in notifications]
        return json.dumps(told).encode()

    async def send(self, payload: bytes) -> str:
        """Answers as the script says."""
        message: list[Told] = [(mark, status, summary) for mark, status, summary in json.loads(payload)]
        answer = self.script[min(len(self.calls), len(self.script) - 1)]
        self.calls.append(message)
        await asyncio.sleep(0)
        said = answer(message)
        self.taken.append(message)
        return said
