"""What a slow, silent or greedy client cannot do: hold the loop, take all room, or hold the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import urlsplit

import httpx

from auditor.settings.watch import WatchSettings
from auditor.watch.web import server
from auditor.watch.web.event_streams import MOST_LISTENERS, EventStreams
from auditor.watch.web.listener import PageListener, open_listener
from auditor.watch.web.page_keeper import PageSources
from tests.watch.web.scripted import ScriptedViews, fleet_view, served


async def connected(listener: PageListener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(listener.url)
    return await asyncio.open_connection(place.hostname, place.port)


async def test_an_open_event_stream_does_not_hold_the_end() -> None:
    async with served(ScriptedViews(fleet_view(1))) as listener:
        reader, writer = await connected(listener)
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: view\n")
        began = time.monotonic()
    assert time.monotonic() - began < 1.9  # it would wait for 2 s, and cut it off
    assert b"event: end" in await reader.read()
    writer.close()


class HastyProtocol(server.PageProtocol):
    """The same, in a fraction of the time."""

    request_within = 0.3


async def test_silent_and_slow_clients_are_let_go() -> None:
    """One that says nothing, one in the middle of its headers, one that sends a body bit by bit."""
    listener = open_listener(WatchSettings(listen="127.0.0.1:0"))
    assert listener is not None
    slow = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\nx"
    with listener:
        async with server.serving(listener, PageSources(ScriptedViews(fleet_view(1))), HastyProtocol):
            for said in (b"", b"GET / HTTP/1.1\r\nHost: loc", slow):
                reader, writer = await connected(listener)
                writer.write(said)
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(reader.read(), 10)
                writer.close()


async def test_a_request_that_is_too_long_is_refused() -> None:
    async with served(ScriptedViews(fleet_view(1))) as listener:
        reader, writer = await connected(listener)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 2 * server.LARGEST_REQUEST)
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_listeners_have_a_bound_and_make_room_when_they_go() -> None:
    async with served(ScriptedViews(fleet_view(1))) as listener:
        open_ones = []
        for _ in range(MOST_LISTENERS):
            reader, writer = await connected(listener)
            writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"event: view\n")
            open_ones.append(writer)
        async with httpx.AsyncClient(base_url=listener.url, trust_env=False) as client:
            assert (await client.get("/events")).status_code == 503
            assert (await client.get("/")).status_code == 200
            open_ones.pop().close()
            for _ in range(1_000):
                if await _status(client, "/events") == 200:
                    break
            else:
                raise AssertionError("who went left no room")
        for writer in open_ones:
            writer.close()


async def _status(client: httpx.AsyncClient, path: str) -> int:
    async with client.stream("GET", path) as answer:
        return answer.status_code


async def test_a_stream_says_that_the_watch_lives_and_who_does_not_read_is_let_go() -> None:
    streams = EventStreams(beat=0.01)
    streams.tell("one")
    said: list[bytes] = []
    never = asyncio.Event()

    async def receive() -> dict[str, str]:
        await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        said.append(message.get("body", b""))  # type: ignore[arg-type]
        if len(said) == 4:
            streams.end()

    await streams.serve({"type": "http", "method": "GET"}, receive, send)  # type: ignore[arg-type]
    assert said[1] == b"retry: 2000\n\n"
    assert said[2] == b"id: one\nevent: view\ndata: one\n\n"
    assert said[3] == b": alive\nevent: beat\ndata:\n\n"
    assert said[-1] == b"event: end\ndata:\n\n"
    assert streams.listeners == 0
