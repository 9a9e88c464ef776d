"""A way to a server's socket file that can be cut: connections are refused, or nothing passes any more."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import TracebackType


class Way(Enum):
    """What becomes of what is sent."""

    OPEN = "it passes"
    CLOSED = "connections break off, and new ones do too"
    DARK = "nothing passes, and nobody is told"


class CutSocket:
    """Socket file whose connections lead to another one, as a context manager."""

    def __init__(self, path: Path, to: Path) -> None:
        """path: where it is made."""
        self._path, self._to = path, to
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._passing: asyncio.Event | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._way = Way.OPEN
        self._server: asyncio.AbstractServer | None = None

    def set(self, way: Way) -> None:
        """Change what becomes of what is sent. What was held back passes when the way is open again."""
        self._in_loop(self._set(way))

    def __enter__(self) -> CutSocket:
        self._thread.start()
        self._in_loop(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_loop(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _in_loop(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)  # type: ignore[arg-type]

    async def _begin(self) -> None:
        self._passing = asyncio.Event()
        self._passing.set()
        self._server = await asyncio.start_unix_server(self._serve, self._path)

    async def _end(self) -> None:
        assert self._server is not None
        await self._set(Way.CLOSED)
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _set(self, way: Way) -> None:
        assert self._passing is not None
        self._way = way
        if way is Way.DARK:
            self._passing.clear()
        else:
            self._passing.set()
        if way is Way.CLOSED:
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            there, to = await asyncio.open_unix_connection(self._to)
            self._writers |= {writer, to}
            try:
                if self._way is Way.CLOSED:  # since it began
                    return
                await asyncio.gather(self._pass(reader, to), self._pass(there, writer))
            finally:
                self._writers -= {writer, to}
                writer.close()
                to.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._passing is not None
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
