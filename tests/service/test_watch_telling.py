"""Telling of a watch: at once what is new, with each round the rest, and the state's lock for its whole life."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.memory.tables import alerts_notices, alerts_standing
from auditor.errors import StateBusy
from auditor.service.alert_session import AlertSession
from auditor.service.alert_state import opened_state
from auditor.service.outbox import read_outbox, retry_letters
from auditor.service.past import read_past
from auditor.service.watch_telling import WatchAlerts
from auditor.state.lock import exclusive
from auditor.values.findings import Finding, Severity
from auditor.values.report import Coverage, Report
from tests.doubles.receiver import Receiver
from tests.doubles.server import Reply, Trouble
from tests.service.test_alert_session import CLEAN, NODES, REPORT, Complaints, alert, config_of


async def taken(receiver: Receiver, count: int) -> None:
    """Waits until the other side took so many messages."""
    await asyncio.to_thread(receiver.wait_for, count)


def reasons(receiver: Receiver) -> list[str]:
    """What was told, in order."""
    return [item["reason"] for item in receiver.notifications]


def duplicate(address: str, severity: Severity = Severity.CRITICAL) -> Finding:
    """An address that a and b hold."""
    return Finding("duplicate-address", severity, address, f"a and b hold {address}.", nodes=NODES)


def found(*findings: Finding) -> Report:
    """A report that saw everything, and found these."""
    return replace(REPORT, findings=findings)


async def test_a_new_incident_is_told_at_once_and_the_round_says_no_more_of_it(tmp_path: Path) -> None:
    with Receiver() as receiver:
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.tell(CLEAN)
            await alerts.tell(REPORT)
            await taken(receiver, 1)
            await alerts.tell(REPORT)
            await alerts.round(REPORT)
            await alerts.tell(CLEAN)
            await alerts.round(CLEAN)
            await taken(receiver, 2)
        assert reasons(receiver) == ["first-notification", "resolved"]
        assert complaints.lines == []
    past = read_past(config, 10, leading_only=True)
    assert past is not None
    assert [sweep.number for sweep in past.sweeps] == [2, 1]


async def test_what_was_told_and_is_gone_by_the_round_stands_in_the_history(tmp_path: Path) -> None:
    """Somebody was paged: it must be found there, with its begin and its end."""
    with Receiver() as receiver:
        config = config_of(tmp_path, receiver.url)
        async with WatchAlerts(config, Complaints().complain) as alerts:
            await alerts.tell(REPORT)
            await alerts.round(CLEAN)
            await taken(receiver, 2)
        assert reasons(receiver) == ["first-notification", "resolved"]
    past = read_past(config, 10, leading_only=True)
    assert past is not None
    (finding,) = past.findings
    assert (finding.subject, finding.resolved_at is not None) == ("10.0.0.1", True)


async def test_the_lock_is_held_from_the_first_moment_to_the_last(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    async with WatchAlerts(config, Complaints().complain) as alerts:
        for _ in range(2):
            await alerts.round(CLEAN)
            with pytest.raises(StateBusy), exclusive(config.state.path, 0):
                pass
    with exclusive(config.state.path, 0):
        pass


async def test_a_sweep_that_would_alert_beside_a_watch_is_told_so_without_waiting(tmp_path: Path) -> None:
    """A watch does not end: whoever waits for it waits in vain."""
    config = config_of(tmp_path)
    async with WatchAlerts(config, Complaints().complain):
        with pytest.raises(StateBusy) as caught:
            async with asyncio.timeout(5):
                await alert(AlertSession(config, Complaints(), budget=1.0, lock_wait=3600.0), REPORT)
        with pytest.raises(StateBusy), exclusive(config.state.path, 3600.0):
            pass
    line = str(caught.value)
    assert line.startswith(f"{config.state.path}: a watch is at work here (process ")
    assert "a sweep without --alert runs beside it" in line


async def test_a_watch_beside_a_sweep_that_alerts_does_not_begin(tmp_path: Path) -> None:
    config, complaints = config_of(tmp_path), Complaints()
    with exclusive(config.state.path, 0), pytest.raises(StateBusy, match="another wgaudit is at work here"):
        async with WatchAlerts(config, complaints.complain):
            pass
    assert not config.state.path.exists()


async def test_planning_waits_for_no_delivery_and_what_is_left_at_the_end_waits_in_the_outbox(
    tmp_path: Path,
) -> None:
    with Receiver() as receiver:
        receiver.fault = Trouble.SILENCE
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        alerts = WatchAlerts(config, complaints.complain)
        async with alerts, asyncio.timeout(10):
            await alerts.tell(found(duplicate("10.0.0.1")))
            await asyncio.to_thread(receiver.wait_for_call)
            await alerts.tell(found(duplicate("10.0.0.1"), duplicate("10.0.0.2")))
            await alerts.round(found(duplicate("10.0.0.1"), duplicate("10.0.0.2")))
            await alerts.close(0.2)
        outbox = read_outbox(config)
        assert outbox is not None
        assert len(outbox.waiting) == 2
        receiver.fault = None
        async with WatchAlerts(config, complaints.complain):
            await taken(receiver, 1)
        assert reasons(receiver) == ["first-notification"] * 2


async def test_what_can_be_handed_over_before_the_end_is_handed_over(tmp_path: Path) -> None:
    with Receiver() as receiver:
        config = config_of(tmp_path, receiver.url)
        alerts = WatchAlerts(config, Complaints().complain)
        await alerts.open()
        await alerts.tell(REPORT)
        await alerts.close(10)
        assert reasons(receiver) == ["first-notification"]


async def test_a_notifier_that_fails_is_complained_of_once_and_once_it_takes_alerts_again(
    tmp_path: Path,
) -> None:
    with Receiver() as receiver:
        receiver.faults.extend([Reply(503, b"away"), Reply(503, b"away")])
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.tell(REPORT)
            await taken(receiver, 1)
            await alerts.close(10)
    assert complaints.lines == [
        "alerts: hook0: not handed over yet, tried again: 503 Service Unavailable: away",
        "alerts: hook0: takes alerts again",
    ]


async def test_a_state_that_cannot_be_used_is_said_once_and_people_are_told_all_the_same(
    tmp_path: Path,
) -> None:
    with Receiver() as receiver:
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        config.state.path.parent.mkdir()
        config.state.path.write_bytes(b"this is no database\n" * 500)
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.tell(REPORT)
            outcome = await alerts.round(REPORT)
            await alerts.tell(REPORT)
            await taken(receiver, 1)
            assert outcome.health.state_readable is False
            (line,) = complaints.lines
            assert "people are told all the same, from memory" in line
            config.state.path.unlink()  # somebody moved it away
            outcome = await alerts.round(REPORT)
            assert outcome.health.state_readable is True
            assert complaints.lines[1:] == [
                f"alerts: {config.state.path} can be used again, and holds what was remembered meanwhile"
            ]
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.tell(REPORT)
            await alerts.round(CLEAN)
            await taken(receiver, 2)
        assert reasons(receiver) == ["first-notification", "resolved"]


async def test_its_page_reads_who_was_told_what_and_when_from_disk_and_from_memory_alike(
    tmp_path: Path,
) -> None:
    """In a thread, while the loop goes on; the time from the cause to the first acceptance among it."""
    with Receiver() as receiver:
        for number, whole in enumerate((True, False)):
            config = config_of(tmp_path / str(number), receiver.url)
            if not whole:
                config.state.path.parent.mkdir(parents=True)
                config.state.path.write_bytes(b"this is no database\n" * 500)
            since = datetime.now(UTC) - timedelta(hours=1)
            async with WatchAlerts(config, Complaints().complain) as alerts:
                past = alerts.past
                assert await asyncio.to_thread(past.notices, 10) == ()
                await alerts.tell(REPORT, arrived_at=datetime.now(UTC) - timedelta(seconds=30))
                await alerts.round(replace(REPORT, finished_at=datetime.now(UTC), coverage=Coverage(4, 3)))
                await alerts.round(replace(CLEAN, finished_at=datetime.now(UTC)))
                await taken(receiver, 2 * number + 2)
                accepted = False
                while not accepted:  # the answers are under way
                    accepted = all(item.accepted for item in await asyncio.to_thread(past.notices, 10))
                resolved, first = await asyncio.to_thread(past.notices, 10)
                assert (first.reason, first.firing, first.subject) == ("first-notification", True, "10.0.0.1")
                assert (resolved.reason, resolved.firing) == ("resolved", False)
                assert len(await asyncio.to_thread(past.notices, 1)) == 1
                (span,) = await asyncio.to_thread(past.spans, since, timedelta(hours=2))
                assert (span.begins_at, span.most_findings, span.least_share) == (since, 1, 0.75)
                assert span.longest_page is not None
                assert 30 <= span.longest_page < 90


async def test_dead_letters_that_are_retried_beside_a_watch_go_with_its_next_round(tmp_path: Path) -> None:
    """Whoever retries them sends nothing: one line at a time goes to a notifier."""
    with Receiver() as receiver:
        receiver.faults.append(Reply(400, b"no"))
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.tell(REPORT)
            dead = False
            past = alerts.past
            while not dead:  # the refusal is under way
                dead = (await asyncio.to_thread(past.notices, 1))[0].state == "dead"
            assert alerts.health().handed_over is False
            retried = await retry_letters(config, (), budget=1.0, lock_wait=60.0)
            assert (retried.to_watch, retried.receipts, retried.stale) == (1, (), ())
            assert receiver.taken == []
            await alerts.round(REPORT)
            await taken(receiver, 1)
        assert reasons(receiver) == ["first-notification"]
        assert complaints.lines == ["alerts: hook0: not handed over: 400 Bad Request: no"]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file grows, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_is_full_for_a_while_costs_no_page_and_no_memory(tmp_path: Path) -> None:
    """Told meanwhile from memory, once; then the database has it all, and the next watch says no more of it."""
    with Receiver() as receiver:
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        one, two, three = (duplicate(f"10.0.0.{number}") for number in (1, 2, 3))
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.round(found(one))
            await taken(receiver, 1)
            with full_disk():
                await alerts.tell(found(one, two))
                outcome = await alerts.round(found(one, two))
                await taken(receiver, 2)
                await alerts.tell(found(one, two, three))
                await taken(receiver, 3)
                assert outcome.health.state_readable is False
            assert len(complaints.lines) == 1
            assert "people are told all the same, from memory" in complaints.lines[0]
            outcome = await alerts.round(found(one, two, three))
            assert outcome.health.state_readable is True
            assert len(complaints.lines) == 2
            await alerts.close(10)
        async with WatchAlerts(config, complaints.complain) as alerts:
            await alerts.tell(found(one, two, three))
            await alerts.round(CLEAN)
            await taken(receiver, 4)
        assert reasons(receiver) == ["first-notification"] * 3 + ["resolved"] * 3
        assert receiver.repeated == 0


async def test_what_has_not_begun_since_the_last_plan_is_not_planned_again(tmp_path: Path) -> None:
    """A fleet that moves is judged each second; its state is read and written where there is news."""
    with Receiver() as receiver:
        config = config_of(tmp_path, receiver.url)
        async with WatchAlerts(config, Complaints().complain) as alerts:
            await alerts.tell(REPORT)
            await taken(receiver, 1)
            await alerts.close(10)
            alerts = WatchAlerts(config, Complaints().complain)
            await alerts.open()
            await alerts.tell(REPORT)
            with opened_state(config.state.path) as other:
                for table in (alerts_notices, alerts_standing):
                    other.store.execute(table.delete())
            await alerts.tell(REPORT)
            await alerts.tell(CLEAN)
            await alerts.tell(REPORT)
            await alerts.close(10)
        assert reasons(receiver) == ["first-notification"]
