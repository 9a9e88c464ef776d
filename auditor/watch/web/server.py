"""Web server of the watch's page, inside the watch's own loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from auditor.settings.watch import WatchSettings
from auditor.values.text import for_log
from auditor.watch.web.event_streams import EventStreams
from auditor.watch.web.listener import PageListener, open_listener
from auditor.watch.web.page_app import page_app
from auditor.watch.web.page_guard import PageGuard
from auditor.watch.web.page_keeper import PageKeeper, PageSources

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 200
"""Connections at once; a further one is told 503."""
LARGEST_REQUEST = 16_384
"""Bytes of a request's line and headers."""
_END_WITHIN = 2.0  # seconds


class PageServer(uvicorn.Server):
    """Server that leaves signals to the watch."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: the watch has handlers of its own."""
        yield


class PageProtocol(H11Protocol):
    """HTTP that lets go who connects and does not ask: silent connections would take the room of others."""

    request_within = 10.0
    """Seconds in which a connection must have sent its first request, and between two checks for the next."""
    _check: asyncio.TimerHandle | None = None
    _answered: object = None

    def connection_made(self, transport: Any) -> None:
        """Begin to watch for silence."""
        super().connection_made(transport)
        self._check = self.loop.call_later(self.request_within, self._let_go)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def _let_go(self) -> None:
        """Let go who has asked for nothing since the last check; an answer under way has limits of its own."""
        cycle: Any = self.cycle  # None until the first request
        idle = cycle is None or cycle.response_complete
        if idle and cycle is self._answered:
            self.transport.abort()
            return
        self._answered = cycle if idle else None
        self._check = self.loop.call_later(self.request_within, self._let_go)


@asynccontextmanager
async def served_page(settings: WatchSettings, sources: PageSources) -> AsyncIterator[PageListener | None]:
    """Serve the page while it is entered; None where `watch.listen` is empty. Raises `ConfigError`.

    Its end ends the open event streams first, and takes 2 s at most.
    """
    listener = open_listener(settings)
    if listener is None:
        yield None
        return
    with listener:
        async with serving(listener, sources):
            yield listener


@asynccontextmanager
async def serving(
    listener: PageListener, sources: PageSources, protocol: type[PageProtocol] = PageProtocol
) -> AsyncIterator[None]:
    """Serve the page at an open listener while it is entered. protocol: how HTTP is spoken."""
    streams = EventStreams()
    keeper = PageKeeper(sources, streams)
    app = PageGuard(page_app(keeper, streams), listener.hosts, listener.password)
    server = PageServer(_server_config(listener, app, protocol))
    running = asyncio.create_task(server.serve(sockets=list(listener.sockets)))
    running.add_done_callback(_tell_fault)
    following = asyncio.create_task(keeper.follow())
    following.add_done_callback(keeper.note_end)
    try:
        yield
    finally:
        following.cancel()
        streams.end()
        server.should_exit = True
        await asyncio.wait((running,), timeout=_END_WITHIN)
        running.cancel()
        for connection in list(server.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        await asyncio.wait((running, following))


def _tell_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error(
            "the page is not served any more: %s: %s", type(error).__name__, for_log(str(error), most=300)
        )


def _server_config(listener: PageListener, app: PageGuard, protocol: type[PageProtocol]) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what a client sends is no line of the watch's log; faults of ours are told by the guard
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LARGEST_REQUEST,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    config.load()
    config.ssl = listener.tls
    return config
