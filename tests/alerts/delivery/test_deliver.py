"""Delivery: each notifier on its own, in order, within the budget, and recorded only when it arrived."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, text

from alerts.delivery.deliver import deliver
from alerts.delivery.line import LONGEST_RETRY_AFTER, LONGEST_WAIT
from alerts.memory.notices import State
from alerts.memory.notification_log import NotificationLog
from alerts.models import Notification, Receipt, Status
from alerts.notifiers.interface import Notifier
from alerts.notifiers.webhook import Webhook
from auditor.errors import DeliveryError, NotLeading
from auditor.state.state_store import StateStore
from tests.alerts.conftest import Reopen
from tests.alerts.fakes import (
    NOON,
    Clock,
    Killed,
    ScriptedNotifier,
    Told,
    accept,
    busy,
    firing,
    incident,
    keep,
    limited,
    only_read,
    refuse,
    refuse_only,
    resolve,
    unclear,
    update,
)
from tests.doubles.receiver import Receiver

ONE, TWO, THREE = (incident(f"10.0.0.{number}") for number in (1, 2, 3))
SECRET = "https://hooks.example/T000/B000/verysecret"


async def sent(
    store: NotificationLog, *notifiers: Notifier, budget: float = 60, clock: Clock | None = None
) -> tuple[Receipt, ...]:
    """Delivers on a clock that passes only by waiting."""
    time = clock or Clock()
    return await deliver(store, notifiers, budget=budget, now=time.now, clock=time.clock, sleep=time.sleep)


def subjects(messages: Sequence[list[Told]]) -> list[list[str]]:
    """Which incidents each message was about."""
    known = {item.fingerprint: item.subject for item in (ONE, TWO, THREE)}
    return [[known[mark] for mark, _, _ in message] for message in messages]


def contents(folder: Path) -> list[bytes]:
    """All that the state's files hold."""
    return [file.read_bytes() for file in folder.iterdir()]


# -- what arrives


async def test_what_was_accepted_is_recorded_and_not_sent_again(database: StateStore) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier()
    assert await sent(store, notifier) == (Receipt("oncall", accepted=True, detail="202 accepted"),)
    assert await sent(store, notifier) == ()
    assert len(notifier.calls) == 1


async def test_messages_go_in_order_and_hold_no_more_than_allowed(database: StateStore) -> None:
    store = keep(database, *(firing(about=item) for item in (THREE, ONE, TWO)))
    notifier = ScriptedNotifier(max_per_message=2)
    receipts = await sent(store, notifier)
    assert subjects(notifier.taken) == [["10.0.0.3", "10.0.0.1"], ["10.0.0.2"]]
    assert len(receipts) == 2


async def test_a_resolve_never_travels_with_its_trigger(database: StateStore) -> None:
    """In one message the other side could take them in any order."""
    store = keep(database, firing(about=ONE), firing(about=TWO), resolve(about=ONE))
    notifier = ScriptedNotifier(max_per_message=10)
    await sent(store, notifier)
    assert subjects(notifier.taken) == [["10.0.0.1", "10.0.0.2"], ["10.0.0.1"]]


async def test_calls_keep_the_vendors_distance(database: StateStore) -> None:
    store, clock = keep(database, firing(about=ONE), firing(about=TWO), firing(about=THREE)), Clock()
    await sent(store, ScriptedNotifier(pause=1.5), clock=clock)
    assert clock.waits == [1.5, 1.5]


async def test_a_new_attempt_does_not_add_the_pause_to_its_wait(database: StateStore) -> None:
    store, clock = keep(database, firing()), Clock()
    await sent(store, ScriptedNotifier(script=(limited(9), accept), pause=1.0), clock=clock)
    assert clock.waits == [9]


# -- what can recover


async def test_a_failure_that_can_recover_is_tried_again_with_growing_waits(
    database: StateStore,
) -> None:
    store, clock = keep(database, firing()), Clock()
    (receipt,) = await sent(store, ScriptedNotifier(script=(busy,) * 4 + (accept,)), clock=clock)
    assert (receipt.accepted, receipt.attempts) == (True, 5)
    assert [low <= wait <= low + 1 for low, wait in zip((1, 2, 4, 8), clock.waits, strict=True)] == [True] * 4


async def test_waits_differ_so_that_two_do_not_keep_step(database: StateStore) -> None:
    store, clock = keep(database, firing()), Clock()
    await sent(store, ScriptedNotifier(script=(busy,)), budget=3000, clock=clock)
    assert len({wait - math.floor(wait) for wait in clock.waits[:4]}) == 4
    assert max(clock.waits) <= LONGEST_WAIT


async def test_what_is_left_when_the_budget_is_over_goes_first_with_the_next_sweep(
    database: StateStore,
) -> None:
    store, clock = keep(database, firing(about=ONE), firing(about=TWO)), Clock()
    down = ScriptedNotifier(script=(busy,))
    (receipt,) = await sent(store, down, budget=60, clock=clock)
    assert (receipt.accepted, receipt.permanent) == (False, False)
    assert receipt.detail == "503 try later; 2 left for the next sweep"
    assert clock.seconds < 60
    assert subjects(down.calls) == [["10.0.0.1"]] * len(down.calls)
    keep(database, firing(about=THREE), sweep=2)
    up = ScriptedNotifier()
    await sent(store, up)
    assert subjects(up.taken) == [["10.0.0.1"], ["10.0.0.2"], ["10.0.0.3"]]


async def test_attempts_are_counted_across_sweeps(database: StateStore) -> None:
    store, down = keep(database, firing()), ScriptedNotifier(script=(busy,))
    await sent(store, down, budget=10)
    await sent(store, down, budget=10)
    (row,) = store.outbox()
    assert row.attempts == len(down.calls) > 2
    assert row.detail == "503 try later"


async def test_many_messages_stop_where_the_budget_ends(database: StateStore) -> None:
    store = keep(database, *(firing(about=incident(f"10.1.0.{number}")) for number in range(10)))
    notifier = ScriptedNotifier(pause=10)
    receipts = await sent(store, notifier, budget=25)
    assert len(notifier.taken) == 3
    assert receipts[-1].detail == "the time for delivery was over; 7 left for the next sweep"


async def test_without_a_budget_nothing_is_sent(database: StateStore) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier()
    (receipt,) = await sent(store, notifier, budget=0)
    assert not receipt.accepted
    assert notifier.calls == []


# -- Retry-After


async def test_a_retry_after_is_waited_for(database: StateStore) -> None:
    store, clock = keep(database, firing()), Clock()
    (receipt,) = await sent(store, ScriptedNotifier(script=(limited(30), accept)), clock=clock)
    assert receipt.accepted
    assert clock.waits == [30]


async def test_a_short_retry_after_does_not_undo_the_backoff(database: StateStore) -> None:
    store, clock = keep(database, firing()), Clock()
    await sent(store, ScriptedNotifier(script=(limited(0), accept)), clock=clock)
    assert clock.waits[0] >= 1


async def test_a_retry_after_beyond_the_budget_stops_at_once_and_holds_in_the_next_sweep(
    database: StateStore,
    reopened: Reopen,
) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier(script=(limited(300), accept))
    clock = Clock()
    await sent(store, notifier, clock=clock)
    assert clock.waits == []
    store = NotificationLog(reopened(database))
    clock.seconds = 120
    (receipt,) = await sent(store, notifier, clock=clock)
    assert receipt.detail == (
        "the other side asked to be left alone until 2026-03-01 12:05:00Z; 1 left for the next sweep"
    )
    clock.seconds = 270
    (receipt,) = await sent(store, notifier, clock=clock)
    assert receipt.accepted
    assert clock.waits == [30]
    assert len(notifier.calls) == 2


@pytest.mark.parametrize("asked", [1e308, math.inf, math.nan, -5.0, 10.0**9])
async def test_no_retry_after_mutes_alerts_for_longer_than_an_hour(
    database: StateStore, asked: float
) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier(script=(limited(asked), accept))
    clock = Clock()
    await sent(store, notifier, budget=1, clock=clock)
    clock.seconds = LONGEST_RETRY_AFTER + 1
    (receipt,) = await sent(store, notifier, clock=clock)
    assert receipt.accepted


async def test_a_clock_that_was_set_back_mutes_nobody(database: StateStore) -> None:
    store = keep(database, firing())
    store.postponed(store.pending("oncall"), "429", NOON + timedelta(days=365), NOON)
    (receipt,) = await sent(store, ScriptedNotifier())
    assert receipt.accepted


# -- what is refused for good


async def test_a_permanent_refusal_becomes_a_dead_letter_and_is_not_tried_again(
    database: StateStore,
) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier(script=(refuse,))
    (receipt,) = await sent(store, notifier)
    assert receipt == Receipt("oncall", accepted=False, detail="400 invalid", permanent=True)
    (row,) = store.dead_letters()
    assert row.notification == replace(firing(), at=row.created_at)
    assert (row.detail, row.attempts) == ("400 invalid", 1)
    assert await sent(store, notifier) == ()


async def test_a_refused_message_of_several_is_tried_one_by_one(database: StateStore) -> None:
    """One that cannot be told must not take the others with it."""
    store = keep(database, *(firing(about=item) for item in (ONE, TWO, THREE)))
    notifier = ScriptedNotifier(script=(refuse_only(TWO.fingerprint),), max_per_message=10)
    receipts = await sent(store, notifier)
    assert subjects(notifier.taken) == [["10.0.0.1"], ["10.0.0.3"]]
    assert [(receipt.accepted, receipt.permanent) for receipt in receipts] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert [row.notification.incident.subject for row in store.dead_letters()] == ["10.0.0.2"]
    assert store.outbox() == []


async def test_one_by_one_keeps_the_order_when_the_other_side_goes_away(
    database: StateStore,
) -> None:
    store = keep(database, *(firing(about=item) for item in (ONE, TWO, THREE)))
    await sent(store, ScriptedNotifier(script=(refuse, accept, busy), max_per_message=10))
    assert [row.notification.incident.subject for row in store.outbox()] == ["10.0.0.2", "10.0.0.3"]


async def test_a_refused_trigger_takes_its_waiting_resolve_with_it(database: StateStore) -> None:
    store = keep(database, firing(about=ONE), resolve(about=ONE), firing(about=TWO))
    notifier = ScriptedNotifier(script=(refuse_only(ONE.fingerprint),))
    await sent(store, notifier)
    assert [[(status) for _, status, _ in message] for message in notifier.calls] == [["firing"], ["firing"]]
    assert [row.state for row in store.life(ONE.fingerprint)] == [State.DEAD, State.DROPPED]


async def test_a_resolve_follows_a_trigger_that_was_refused_only_after_a_call_without_an_answer(
    database: StateStore,
) -> None:
    """Whoever took it before the connection broke must hear that it is over."""
    store = keep(database, firing(about=ONE), resolve(about=ONE))
    notifier = ScriptedNotifier(script=(busy, refuse, accept))
    await sent(store, notifier)
    assert [status for message in notifier.taken for _, status, _ in message] == ["resolved"]
    assert [row.state for row in store.life(ONE.fingerprint)] == [State.DEAD, State.ACCEPTED]


async def test_no_resolve_follows_a_trigger_that_was_refused_among_others_and_alone(
    database: StateStore,
) -> None:
    store = keep(database, firing(about=ONE), firing(about=TWO), resolve(about=ONE))
    notifier = ScriptedNotifier(script=(refuse_only(ONE.fingerprint),), max_per_message=10)
    await sent(store, notifier)
    assert [row.state for row in store.life(ONE.fingerprint)] == [State.DEAD, State.DROPPED]


# -- answers that nobody understands


async def test_what_is_never_clearly_answered_is_posted_three_times_and_holds_nothing_behind_it(
    database: StateStore,
) -> None:
    store = keep(database, firing(about=ONE), firing(about=TWO))
    notifier = ScriptedNotifier(script=(unclear, unclear, unclear, accept))
    receipts = await sent(store, notifier)
    assert subjects(notifier.calls) == [["10.0.0.1"]] * 3 + [["10.0.0.2"]]
    assert [(receipt.accepted, receipt.permanent) for receipt in receipts] == [(False, True), (True, False)]
    (letter,) = store.dead_letters()
    assert letter.detail == "it may have arrived: sent 3 times, and no answer was clear: a page"
    assert letter.unclear


async def test_unclear_posts_are_counted_across_sweeps(database: StateStore) -> None:
    """A short budget must not turn three posts into three a sweep."""
    store, notifier = keep(database, firing()), ScriptedNotifier(script=(unclear,))
    for _ in range(5):
        await sent(store, notifier, budget=0.5)
    assert len(notifier.calls) == 3
    assert store.waiting() == {}


async def test_a_clear_not_now_is_not_counted_as_unclear(database: StateStore) -> None:
    """Whoever is down for a while comes back."""
    store = keep(database, firing())
    notifier = ScriptedNotifier(script=(unclear, busy, busy, busy, unclear, busy, accept))
    (receipt,) = await sent(store, notifier, budget=600)
    assert receipt.accepted


async def test_a_message_of_several_that_is_never_clearly_answered_is_not_sent_again_one_by_one(
    database: StateStore,
) -> None:
    """Each has had its three posts."""
    store = keep(database, firing(about=ONE), firing(about=TWO))
    notifier = ScriptedNotifier(script=(unclear,), max_per_message=10)
    await sent(store, notifier)
    assert len(notifier.calls) == 3
    assert len(store.dead_letters()) == 2


async def test_a_dead_letter_that_is_retried_has_three_posts_anew(database: StateStore) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier(script=(unclear,) * 3 + (unclear, accept))
    await sent(store, notifier)
    store.retry(None, NOON)
    (receipt,) = await sent(store, notifier)
    assert receipt.accepted


def unset(_: list[Told]) -> str:
    """Is never called: something on this side cannot be used."""
    raise DeliveryError("nothing was sent: no CA", permanent=False, local=True)


async def test_what_fails_on_this_side_waits_for_the_next_sweep_without_a_pause(
    database: StateStore,
) -> None:
    """Neither a dead letter, nor a minute of attempts that can't help."""
    store, clock = keep(database, firing(about=ONE), firing(about=TWO)), Clock()
    notifier = ScriptedNotifier(script=(unset, accept))
    (receipt,) = await sent(store, notifier, clock=clock)
    assert receipt.detail == "nothing was sent: no CA; 2 left for the next sweep"
    assert clock.waits == []
    (row, _) = store.outbox()
    assert (row.detail, row.unclear) == ("nothing was sent: no CA", False)
    await sent(store, notifier)
    assert store.waiting() == {}


# -- notifiers that break


class Broken(ScriptedNotifier):
    """Cannot write down one of the incidents."""

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Breaks over the second incident, with a secret on its lips."""
        if any(item.incident == TWO for item in notifications):
            raise ValueError(SECRET)
        return super().payload(notifications)


async def test_an_incident_that_no_message_can_be_made_of_does_not_hold_up_the_rest(
    database: StateStore,
) -> None:
    store = keep(database, *(firing(about=item) for item in (ONE, TWO, THREE)))
    notifier = Broken(max_per_message=10)
    await sent(store, notifier)
    assert subjects(notifier.taken) == [["10.0.0.1"], ["10.0.0.3"]]
    (row,) = store.dead_letters()
    assert row.detail == "no message could be made of it: internal error: ValueError"


def surprise(_: list[Told]) -> str:
    """An exception that nobody foresaw, with a secret in its text."""
    raise RuntimeError(f"cannot reach {SECRET}")


async def test_an_unforeseen_exception_is_a_receipt_and_ends_no_other_notifier(
    database: StateStore,
) -> None:
    store = keep(database, firing("bad"), firing("good"))
    receipts = await sent(store, ScriptedNotifier("bad", (surprise,)), ScriptedNotifier("good"))
    assert [(item.notifier, item.accepted) for item in receipts] == [("bad", False), ("good", True)]
    assert receipts[0].detail == "internal error: RuntimeError; 1 left for the next sweep"
    assert store.waiting() == {"bad": 1}


async def test_an_exceptions_text_reaches_neither_receipts_nor_the_database(
    database: StateStore, tmp_path: Path
) -> None:
    store = keep(database, firing("bad", ONE), firing("worse", TWO))
    receipts = await sent(store, ScriptedNotifier("bad", (surprise,)), Broken("worse"))
    database.close()  # what stood beside the file is in it now
    assert SECRET not in repr(receipts)
    assert not any(b"verysecret" in content for content in contents(tmp_path))


class Hanging(ScriptedNotifier):
    """Never answers."""

    async def send(self, payload: bytes) -> str:
        """Waits for what never comes."""
        await asyncio.Event().wait()
        return await super().send(payload)


async def test_a_notifier_that_hangs_is_cut_off_and_holds_up_no_other(database: StateStore) -> None:
    """The budget runs on real time here, and is short."""
    store = keep(database, firing("hangs"), firing("good"))
    receipts = await deliver(store, [Hanging("hangs"), ScriptedNotifier("good")], budget=0.05)
    assert [(item.notifier, item.accepted) for item in receipts] == [("hangs", False), ("good", True)]
    (row,) = store.outbox()
    assert (row.notification.notifier, row.attempts) == ("hangs", 1)
    assert row.detail == "the time for delivery was over"


async def test_one_notifiers_long_wait_holds_up_no_other(database: StateStore) -> None:
    """The one that waits does so until the other has all of its messages."""
    store = keep(database, firing("slow"), *(firing("quick", item) for item in (ONE, TWO, THREE)))
    quick = ScriptedNotifier("quick")
    done = asyncio.Event()

    async def until_done(_: float) -> None:
        await done.wait()

    def last(message: list[Told]) -> str:
        if subjects([message]) == [["10.0.0.3"]]:
            done.set()
        return "ok"

    quick.script = (last,)
    slow = ScriptedNotifier("slow", (busy, accept))
    receipts = await deliver(store, [slow, quick], budget=60, sleep=until_done)
    assert [receipt.accepted for receipt in receipts] == [True] * 4


async def test_what_waits_for_a_notifier_that_is_no_longer_configured_is_told_and_kept(
    database: StateStore,
) -> None:
    store = keep(database, firing("old"), firing("new"))
    receipts = await sent(store, ScriptedNotifier("new"))
    assert [(item.notifier, item.accepted) for item in receipts] == [("new", True), ("old", False)]
    assert "no notifier of this name" in receipts[1].detail
    assert store.waiting() == {"old": 1}


# -- a database that fails


async def test_what_arrived_and_could_not_be_recorded_is_told_and_sent_again(
    database: StateStore,
) -> None:
    store = keep(database, firing(about=ONE), firing(about=TWO))

    def then_the_disk_fails(_: list[Told]) -> str:
        only_read(database, True)
        return "202"

    notifier = ScriptedNotifier(script=(then_the_disk_fails, accept))
    (receipt,) = await sent(store, notifier)
    assert not receipt.accepted
    assert receipt.detail.startswith("202, but that could not be recorded, so it will be sent again")
    assert len(notifier.calls) == 1
    only_read(database, False)
    await sent(store, notifier)
    assert subjects(notifier.taken) == [["10.0.0.1"], ["10.0.0.1"], ["10.0.0.2"]]


async def test_an_outbox_that_cannot_be_read_is_a_receipt_for_each_notifier(
    database: StateStore,
) -> None:
    store = keep(database, firing())
    with database.transaction():
        database.execute(text("DROP TABLE alerts_notices"))
    receipts = await sent(store, ScriptedNotifier("a"), ScriptedNotifier("b"))
    assert [(item.notifier, item.accepted) for item in receipts] == [("a", False), ("b", False)]
    assert "no such table" in receipts[0].detail


# -- killed in between


async def test_killed_before_the_call_nothing_is_lost(database: StateStore, reopened: Reopen) -> None:
    """Planned and committed, not sent: the next sweep sends it."""
    keep(database, firing())
    store, notifier = NotificationLog(reopened(database)), ScriptedNotifier()
    await sent(store, notifier)
    assert len(notifier.taken) == 1


async def test_killed_after_the_call_it_is_sent_again_under_the_same_fingerprint(
    database: StateStore,
    reopened: Reopen,
) -> None:
    """Sent and not recorded: twice is better than never, and the other side joins them."""
    store, notifier = keep(database, firing()), ScriptedNotifier()

    def taken_then_killed(message: list[Told]) -> str:
        notifier.taken.append(message)
        raise Killed

    notifier.script = (taken_then_killed, accept)
    with pytest.raises(Killed):
        await sent(store, notifier)
    store = NotificationLog(reopened(database))
    await sent(store, notifier)
    assert notifier.taken[0] == notifier.taken[1]
    assert await sent(store, notifier) == ()


async def test_cancelling_the_delivery_leaves_the_outbox_as_it_was(database: StateStore) -> None:
    """Ctrl-C while the other side does not answer."""
    store = keep(database, firing())
    called = asyncio.Event()

    class Waiting(Hanging):
        async def send(self, payload: bytes) -> str:
            called.set()
            return await super().send(payload)

    task = asyncio.create_task(sent(store, Waiting()))
    await called.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.waiting() == {"oncall": 1}


async def test_a_permanent_error_from_making_the_message_is_a_dead_letter(
    database: StateStore,
) -> None:
    class TooLarge(ScriptedNotifier):
        def payload(self, notifications: Sequence[Notification]) -> bytes:
            raise DeliveryError(f"{len(notifications)} do not fit", permanent=True)

    store = keep(database, firing(), update())
    receipts = await sent(store, TooLarge())
    assert [item.permanent for item in receipts] == [True, True]
    assert [row.notification.status for row in store.dead_letters()] == [Status.FIRING, Status.FIRING]


# -- where another auditor tells


async def test_a_message_does_not_leave_once_another_auditor_tells(database: StateStore) -> None:
    with Receiver() as receiver:
        store, webhook = keep(database, firing("hook")), Webhook("hook", SecretStr(receiver.url))
        assert await deliver(store, [webhook], budget=20.0, may_send=lambda: False) == ()
        assert receiver.calls == []
        (row,) = store.pending("hook")
        assert (row.attempts, row.state) == (1, State.PENDING)
        (receipt,) = await deliver(store, [webhook], budget=20.0)
        assert receipt.accepted


async def test_who_does_not_lead_any_more_ends_without_a_word(database: StateStore) -> None:
    store, notifier = keep(database, firing()), ScriptedNotifier()

    def refuse_to_begin(_: Connection) -> None:
        raise NotLeading

    database.begun = refuse_to_begin
    assert await sent(store, notifier) == ()
    assert notifier.calls == []
