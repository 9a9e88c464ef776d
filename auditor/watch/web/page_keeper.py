"""Keeper of the page: follows the watch's views, and makes each answer once a view, whoever asks for it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from auditor.errors import StateError, TooManyAsk, WatchEnded
from auditor.reports.interface import Layout
from auditor.reports.json_v1 import render as render_json
from auditor.values.guide import INSTALLED, Guide
from auditor.values.text import for_log
from auditor.watch.view import WatchRecord, WatchView, WatchViews
from auditor.watch.web.event_streams import EventStreams
from auditor.watch.web.once_each import OnceEach
from auditor.watch.web.page_changes import LastChange
from auditor.watch.web.rendering import MOST_NOTICES, NOW, RememberedPast, plain_page, watch_page
from auditor.watch.web.target_pages import TargetKind, target_page
from auditor.watch.web.watch_metrics import watch_exposition
from auditor.watch.web.week_plots import DAYS, STEP

log = logging.getLogger(__name__)

_PACE = 0.1
"""Seconds between two views that are told: those that come meanwhile are told at the end of it."""
_NOTICES_EACH, _SPANS_EACH = 3.0, 60.0
"""Seconds between two readings of the state, while somebody looks."""
_LOOKED_AT = 30.0  # seconds: so long somebody counts as looking after a page was asked for
_MOST_TARGETS = 32
_MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class Made:
    """Answer that was made for one view."""

    body: bytes
    etag: str = ""
    status: int = 200


@dataclass(frozen=True, slots=True)
class PageSources:
    """What the page is made of."""

    views: WatchViews
    record: WatchRecord | None = None
    """None: there is no state."""
    guide: Guide = INSTALLED
    """Way of the operator to run wgaudit, with the configuration as it must be named."""
    sick: Callable[[], str] = field(default=lambda: "")
    """Says why the watch's loop does not turn; "": it turns."""
    answers: Callable[[], Mapping[str, datetime]] = field(default=dict)
    """Gives the time of each datacenter's newest answer. A view comes when something is new, and answers each 30 s."""


class PageKeeper:
    """Keeper of one watch's page."""

    def __init__(self, sources: PageSources, streams: EventStreams) -> None:
        """Begin without a view. streams: are told of each new page."""
        self._sources = sources
        self._streams = streams
        self._view = sources.views.newest
        self._change = LastChange()
        self._past = RememberedPast()
        self._readings = 0
        self._looked_at = -_LOOKED_AT
        self._pages: OnceEach[str, bytes] = OnceEach(2)
        self._targets: OnceEach[tuple[str, TargetKind, str], Made] = OnceEach(_MOST_TARGETS)
        self._reports: OnceEach[int, Made] = OnceEach(2)
        self._waiting = 0
        self._fault = ""
        self._spans_due = 0.0
        if self._view is not None:
            self._change = self._change.after(self._view)
        streams.tell(self.token)

    @property
    def token(self) -> str:
        """What stands for the newest page: the watch's begin, the view and the reading of the state."""
        if self._view is None:
            return "none"
        return f"{int(self._view.started_at.timestamp()):x}-{self._view.number}-{self._readings}"

    @property
    def ready(self) -> bool:
        """Tell whether the registry was read whole once."""
        return self._view is not None and self._view.ready

    @property
    def sick(self) -> str:
        """Say why the watch's loop does not turn, or the page does not follow it; "": all is well."""
        return self._sources.sick() or self._fault

    def note_end(self, task: asyncio.Task[None]) -> None:
        """Note that `follow` has ended. By a fault of ours: then the page is old, and says so."""
        if not task.cancelled() and (error := task.exception()) is not None:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            words = for_log(f"{type(error).__name__}: {error}", most=300)
            log.error("the page does not follow the watch any more: %s", words)
            self._fault = f"the page does not follow the watch any more: {words}"

    # -- following

    async def follow(self) -> None:
        """Follow the views until the watch ends."""
        async with asyncio.TaskGroup() as tasks:
            remembering = tasks.create_task(self._remember())
            try:
                while True:
                    number = self._view.number if self._view is not None else 0
                    self._show(await self._sources.views.after(number))
                    await asyncio.sleep(_PACE)
            except WatchEnded:
                remembering.cancel()

    def _show(self, view: WatchView) -> None:
        self._view = view
        self._change = self._change.after(view)
        self._streams.tell(self.token)

    async def _remember(self) -> None:
        """Read what the state remembers again and again, while somebody looks."""
        while True:
            await asyncio.sleep(_NOTICES_EACH)
            clock = asyncio.get_running_loop().time()
            if self._streams.listeners or clock - self._looked_at < _LOOKED_AT:
                await self._read_past()

    async def _read_past(self) -> None:
        record = self._sources.record
        if record is None:
            return
        past = self._past
        try:
            notices = await asyncio.to_thread(record.notices, MOST_NOTICES)
            past = replace(past, notices=notices, fault="")
        except (StateError, TimeoutError) as error:
            past = replace(past, notices=(), fault=_fault_words(error))
        clock = asyncio.get_running_loop().time()
        if clock >= self._spans_due:
            self._spans_due = clock + _SPANS_EACH
            since = datetime.now(UTC) - timedelta(days=DAYS)
            try:
                spans = await asyncio.to_thread(record.spans, since, STEP)
                past = replace(past, spans=spans, spans_fault="")
            except (StateError, TimeoutError) as error:
                past = replace(past, spans=(), spans_fault=_fault_words(error))
        if past != self._past:
            self._past = past
            self._readings += 1
            self._streams.tell(self.token)

    async def _looked(self) -> None:
        """Note that somebody looks; read the state for the first who does."""
        clock = asyncio.get_running_loop().time()
        first = clock - self._looked_at >= _LOOKED_AT and not self._streams.listeners
        self._looked_at = clock
        if first:
            await self._read_past()

    # -- answers

    async def page(self) -> bytes:
        """Return the page of the newest view."""
        await self._looked()
        view, token = self._view, self.token
        if view is None:
            words = "The registry has not been read yet. This page changes by itself as soon as it was."
            return _sent(plain_page("Nothing was read yet", words, token).encode())
        change, past, guide = self._change, self._past, self._sources.guide
        view = self._answered(view)
        made = await self._pages.get(token, lambda: watch_page(view, change, past, guide, token).encode())
        return _sent(made)

    def _answered(self, view: WatchView) -> WatchView:
        """Give a view's datacenters the times of their newest answers."""
        answers = self._sources.answers()
        return replace(
            view,
            datacenters=tuple(
                replace(item, arrived_at=max(item.arrived_at, answers.get(item.name, item.arrived_at)))
                for item in view.datacenters
            ),
        )

    async def target(self, kind: TargetKind, text: str) -> Made:
        """Return the page of an address or a node. Raises `TooManyAsk`."""
        view, token = self._view, self.token
        if view is None:
            return Made(await self.page())
        if self._waiting >= _MOST_WAITING:
            raise TooManyAsk
        self._waiting += 1
        try:
            guide = self._sources.guide
            made = await self._targets.get(
                (token, kind, text), lambda: _target(view, kind, text, guide, token)
            )
        finally:
            self._waiting -= 1
        return replace(made, body=_sent(made.body))

    async def report(self) -> Made | None:
        """Return the report as JSON, with its entity tag; None before the first view."""
        view = self._view
        if view is None:
            return None
        layout = Layout(guide=self._sources.guide)
        return await self._reports.get(
            view.number, lambda: _tagged(render_json(view.report, layout).encode())
        )

    async def metrics(self) -> bytes:
        """Return the metrics of now."""
        view, record = self._view, self._sources.record

        def exposition() -> str:
            seconds = None
            if view is not None and record is not None:
                try:
                    seconds = record.page_seconds(view.started_at)
                except (StateError, TimeoutError) as error:
                    # Its metric is not there then, and `wgaudit_state_readable` says why.
                    log.info("metrics: %s", _fault_words(error))
            shown = self._answered(view) if view is not None else None
            return watch_exposition(shown, datetime.now(UTC), seconds)

        return (await asyncio.to_thread(exposition)).encode()


def _fault_words(error: Exception) -> str:
    return str(error) or "the watch's loop did not answer in time"


def _target(view: WatchView, kind: TargetKind, text: str, guide: Guide, token: str) -> Made:
    page = target_page(view, kind, text, guide, token)
    return Made(page.text.encode(), status=page.status)


def _tagged(body: bytes) -> Made:
    return Made(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _sent(page: bytes) -> bytes:
    """Put the time of now into a page."""
    return page.replace(NOW.encode(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}".encode())
