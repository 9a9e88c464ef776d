"""Event streams: each listener is told of a new page at once, and of the watch's life each 15 s."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Receive, Scope, Send

MOST_LISTENERS = 64
BEAT = 15.0
"""Seconds between two signs of life."""
_SEND_WITHIN = 20.0  # seconds; who reads more slowly is let go
_RETRY = 2000  # milliseconds after which a browser comes back
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class EventStreams:
    """Streams to all listeners, of one text: the token of the newest page."""

    def __init__(self, *, most: int = MOST_LISTENERS, beat: float = BEAT) -> None:
        """most: listeners at once. beat: seconds."""
        self._most = most
        self._beat = beat
        self._token = ""
        self._ended = False
        self._news = asyncio.Event()
        self.listeners = 0

    @property
    def full(self) -> bool:
        """Tell whether no further listener is taken, for there are enough or the watch ends."""
        return self._ended or self.listeners >= self._most

    def tell(self, token: str) -> None:
        """Tell all listeners of a token."""
        self._token = token
        self._wake()

    def end(self) -> None:
        """End all streams: an open one would hold the server's end."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        # Those who wait hold the old one; a new one for those who come back.
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one listener until it goes, or the streams end."""
        await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        self.listeners += 1
        gone = asyncio.create_task(_gone(receive))
        try:
            with contextlib.suppress(TimeoutError, OSError):  # slow, or gone: its browser comes back
                await self._stream(gone, send)
        finally:
            self.listeners -= 1
            gone.cancel()

    async def _stream(self, gone: asyncio.Task[None], send: Send) -> None:
        await _say(send, f"retry: {_RETRY}\n\n")
        said: str | None = None
        while not gone.done():
            news = self._news
            if self._ended:
                await _say(send, "event: end\ndata:\n\n", more=False)
                return
            if self._token != said:
                said = self._token
                await _say(send, f"id: {said}\nevent: view\ndata: {said}\n\n")
                continue
            woken = asyncio.create_task(news.wait())
            done, _ = await asyncio.wait(
                (woken, gone), timeout=self._beat, return_when=asyncio.FIRST_COMPLETED
            )
            woken.cancel()
            if not done:
                # The comment keeps proxies from closing; scripts see only the event.
                await _say(send, ": alive\nevent: beat\ndata:\n\n")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _say(send: Send, text: str, *, more: bool = True) -> None:
    async with asyncio.timeout(_SEND_WITHIN):
        await send({"type": "http.response.body", "body": text.encode(), "more_body": more})
