"""Alerts round after round in one event loop: the lock, the interrupt, and a state that cannot be used."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.errors import StateBusy
from auditor.gather.progress_events import Unwatched
from auditor.service.alert_session import AlertSession
from auditor.service.outbox import read_outbox
from auditor.service.past import read_past
from auditor.settings.file import Config, parse_config
from auditor.state.lock import exclusive, exclusive_in_loop
from auditor.values.findings import Finding, Severity
from auditor.values.models import NodeId
from auditor.values.report import Coverage, Report, Verdict
from tests.doubles.receiver import Receiver
from tests.doubles.server import Trouble

NOW = datetime.now(UTC)
NODES = (NodeId("dc1", "a"), NodeId("dc1", "b"))
PAIR = Finding("duplicate-address", Severity.CRITICAL, "10.0.0.1", "a and b hold it.", nodes=NODES)
REPORT = Report(
    verdict=Verdict.FINDINGS,
    started_at=NOW,
    finished_at=NOW,
    coverage=Coverage(2, 2),
    findings=(PAIR,),
    gaps=(),
    registered=frozenset(NODES),
    observed=frozenset(NODES),
)
CLEAN = replace(REPORT, verdict=Verdict.CLEAN, findings=())


class Complaints(Unwatched):
    """Keeps what is complained of."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def complain(self, line: str) -> None:
        """Keep one line."""
        self.lines.append(line)


def config_of(folder: Path, *urls: str) -> Config:
    """State in the folder, and a webhook for each URL."""
    hooks = [
        {"name": f"hook{number}", "type": "webhook", "url": url, "timeout": 60.0}
        for number, url in enumerate(urls)
    ]
    document = {"state": {"path": str(folder / "state" / "wgaudit.db")}, "notifiers": hooks}
    return parse_config(document, "a test")


async def alert(session: AlertSession, report: Report) -> bool:
    """One round with this report; whether all was handed over."""
    async with session.round() as current:
        await current.deliver(current.plan(report))
    return current.handed_over


async def test_one_session_alerts_round_after_round_in_one_loop(tmp_path: Path) -> None:
    with Receiver() as receiver:
        config = config_of(tmp_path, receiver.url)
        session = AlertSession(config, Complaints(), budget=30.0)
        assert [await alert(session, report) for report in (REPORT, REPORT, CLEAN)] == [True, True, True]
        assert [item["reason"] for item in receiver.notifications] == ["first-notification", "resolved"]
    past = read_past(config, 10, leading_only=True)
    assert past is not None
    assert [sweep.number for sweep in past.sweeps] == [3, 2, 1]


async def test_the_lock_is_held_for_a_round_and_free_between_two(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    session = AlertSession(config, Complaints(), budget=1.0)
    for _ in range(2):
        async with session.round():
            with pytest.raises(StateBusy), exclusive(config.state.path, 0):
                pass
        with exclusive(config.state.path, 0):
            pass


async def test_a_round_waits_for_the_lock_while_the_loop_goes_on(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    session = AlertSession(config, Complaints(), budget=1.0, lock_wait=60.0)
    async with exclusive_in_loop(config.state.path, 0):
        waiting = asyncio.create_task(alert(session, REPORT))
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting


async def test_a_round_under_another_lock_begins_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    complaints = Complaints()
    with exclusive(config.state.path, 0), pytest.raises(StateBusy):
        await alert(AlertSession(config, complaints, budget=1.0), REPORT)
    assert complaints.lines == []
    assert not config.state.path.exists()


async def test_an_interrupt_ends_sending_and_the_next_round_sends_what_is_left(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.fault = Trouble.SILENCE
        config, complaints = config_of(tmp_path, receiver.url), Complaints()
        session, interrupt = AlertSession(config, complaints, budget=60.0), asyncio.Event()
        async with session.round() as current:
            sending = asyncio.create_task(current.deliver(current.plan(REPORT), interrupt))
            await asyncio.to_thread(receiver.wait_for_call)
            interrupt.set()
            await sending
        assert not current.handed_over
        assert complaints.lines == ["alerts: interrupted; what is left goes with the next sweep"]
        outbox = read_outbox(config)
        assert outbox is not None
        assert len(outbox.waiting) == 1
        receiver.fault = None
        assert await alert(session, REPORT)
        assert [item["reason"] for item in receiver.notifications] == ["first-notification"]


async def test_a_state_that_cannot_be_used_is_a_complaint_and_the_round_goes_on(tmp_path: Path) -> None:
    config, complaints = config_of(tmp_path), Complaints()
    config.state.path.parent.mkdir()
    config.state.path.write_bytes(b"this is no database\n" * 500)
    async with AlertSession(config, complaints, budget=1.0).round() as current:
        assert current.plan(REPORT) is REPORT
        await current.deliver(REPORT)
    assert not current.handed_over
    assert complaints.lines[0].startswith(f"alerts: {config.state.path}: ")
    assert complaints.lines[0].endswith("; nothing is alerted")
