"""A page that a thread of the test's process serves, for a browser, which a test waits for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from auditor.watch.view import WatchView
from auditor.watch.web.listener import PageListener
from tests.watch.web.scripted import LiteralRecord, ScriptedViews, served


class ThreadedPage:
    """Page of views that a test shows one by one, as a context manager; it can end and begin anew at its port."""

    def __init__(self, view: WatchView, record: LiteralRecord | None = None) -> None:
        self._view = view
        self._record = record
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._page: AbstractAsyncContextManager[PageListener] | None = None
        self.url = ""

    def __enter__(self) -> ThreadedPage:
        self._thread.start()
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def begin(self) -> None:
        """Serve, at the port of before if there was one; nothing where it is served."""
        if self._page is not None:
            return
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(60)

    def end(self) -> None:
        """End the watch, as its service manager does."""
        if self._page is not None:
            asyncio.run_coroutine_threadsafe(self._page.__aexit__(None, None, None), self._loop).result(60)
            self._page = None

    def show(self, view: WatchView) -> None:
        """Publish a view."""
        self._view = view
        asyncio.run_coroutine_threadsafe(self._views.show(view), self._loop).result(60)

    async def _begin(self) -> None:
        self._views = ScriptedViews(self._view)
        listen = self.url.removeprefix("http://").rstrip("/") or "127.0.0.1:0"
        self._page = served(self._views, self._record, listen)
        self.url = (await self._page.__aenter__()).url
