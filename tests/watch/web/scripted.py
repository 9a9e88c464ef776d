"""Views that a test hands to the page one by one, as the watch's loop would, and a state's memory as a literal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from auditor.errors import StateError, WatchEnded
from auditor.judge import judge
from auditor.settings.watch import WatchSettings
from auditor.values.findings import Severity
from auditor.values.models import Snapshot
from auditor.values.past_sweeps import PastNotice, PastSpan
from auditor.values.report import Report
from auditor.watch.view import (
    FollowedDatacenter,
    Sessions,
    WatchCounter,
    WatchView,
)
from auditor.watch.web.listener import PageListener
from auditor.watch.web.page_keeper import PageSources
from auditor.watch.web.server import served_page
from tests.reports import fleet

BEGAN = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class ScriptedViews:
    """Source of views that a test sets."""

    def __init__(self, view: WatchView | None = None) -> None:
        self.newest = view
        self._ended = False
        self._news = asyncio.Condition()

    async def after(self, number: int) -> WatchView:
        async with self._news:
            await self._news.wait_for(
                lambda: self._ended or (self.newest is not None and self.newest.number > number)
            )
        if self._ended or self.newest is None:
            raise WatchEnded
        return self.newest

    async def show(self, view: WatchView) -> None:
        """Publish a view."""
        async with self._news:
            self.newest = view
            self._news.notify_all()

    async def end(self) -> None:
        """End the watch."""
        async with self._news:
            self._ended = True
            self._news.notify_all()


class LiteralRecord:
    """Memory of a state, given as a literal."""

    def __init__(
        self, notices: tuple[PastNotice, ...] = (), spans: tuple[PastSpan, ...] = (), fault: str = ""
    ) -> None:
        self._notices, self._spans, self._fault = notices, spans, fault

    def notices(self, most: int) -> tuple[PastNotice, ...]:
        self._refuse()
        return self._notices[:most]

    def page_seconds(self, since: datetime) -> tuple[float, ...]:
        self._refuse()
        return (0.4, 1.2) if since == BEGAN else ()

    def spans(self, since: datetime, step: timedelta) -> tuple[PastSpan, ...]:
        self._refuse()
        return tuple(span for span in self._spans if span.begins_at + step > since)

    def _refuse(self) -> None:
        if self._fault:
            raise StateError(self._fault)


def view(number: int, report: Report, snapshot: Snapshot | None = None, *, ready: bool = True) -> WatchView:
    """A view of a fleet that is followed in two datacenters."""
    now = datetime.now(UTC).replace(microsecond=0)
    seen = snapshot or fleet.snapshot()
    return WatchView(
        number=number,
        report=replace(report, version="9.9.9", mesh="backbone"),
        snapshot=seen,
        taken_at=now,
        started_at=BEGAN,
        ready=ready,
        round_at=now - timedelta(seconds=20),
        datacenters=(
            FollowedDatacenter("sin", True, now - timedelta(seconds=4), 4711, 20),
            FollowedDatacenter(
                "fra", True, now - timedelta(seconds=9), 99, 20, "began anew after an election", now
            ),
        ),
        sessions=Sessions(37, 1, 2),
        counters={WatchCounter.WAKES: 12, WatchCounter.JUDGEMENTS: 40},
    )


def fleet_view(number: int, *, unseen: bool = True) -> WatchView:
    """A view of ten nodes with one contested address, judged as it is."""
    snapshot = fleet.snapshot(unseen=unseen)
    return view(number, judge(snapshot), snapshot)


def notice(
    subject: str, *, state: str = "accepted", firing: bool = True, notifier: str = "oncall"
) -> PastNotice:
    """A notification about a contested address."""
    return PastNotice(
        notifier,
        "f" * 20,
        "duplicate-address",
        Severity.CRITICAL,
        subject,
        "first-notification",
        firing,
        state,
        BEGAN,
        BEGAN + timedelta(seconds=1),
        1,
        "ok" if state == "accepted" else "invalid routing key",
    )


def week_of_spans(until: datetime) -> tuple[PastSpan, ...]:
    """Seven days in half-hours, with a bad night, a blind hour and a pause."""
    spans = []
    for place in range(336):
        if 150 <= place < 158:
            continue
        bad = 200 <= place < 214
        spans.append(
            PastSpan(
                until - timedelta(minutes=30 * (336 - place)),
                3 if bad else 1 if place > 330 else 0,
                0.4 if 90 <= place < 92 else 1.0,
                1.7 if place == 200 else 0.6 if place == 331 else None,
            )
        )
    return tuple(spans)


@asynccontextmanager
async def served(
    views: ScriptedViews, record: LiteralRecord | None = None, listen: str = "127.0.0.1:0", **files: Path
) -> AsyncIterator[PageListener]:
    """Serve the page of these views. files: password and certificate."""
    settings = WatchSettings.model_validate({"listen": listen, **files})
    async with served_page(settings, PageSources(views, record or LiteralRecord())) as listener:
        assert listener is not None
        yield listener
