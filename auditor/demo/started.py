"""Process that the demo keeps running beside its fleet: heard until it is ready, and ended with the demo."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from auditor.errors import UsageError

_READY_WITHIN = 60.0
_ENDS_WITHIN = 10.0
_CHUNK = 64 * 1024


class Started:
    """One process, which says on stderr when it is ready."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name
        self._draining: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process that it is."""
        return self._process.pid

    async def ready(self, *signs: re.Pattern[str]) -> list[re.Match[str]]:
        """Wait until it said all of these, one after another. Call it once. Raises `UsageError` where it does not."""
        found: list[re.Match[str]] = []
        last = ""
        try:
            async with asyncio.timeout(_READY_WITHIN):
                while len(found) < len(signs):
                    line = await self._stderr.readline()
                    if not line:
                        raise UsageError(f"demo: {self._name} ended: {last or 'it said nothing'}")
                    last = line.decode(errors="replace").rstrip()
                    if sign := signs[len(found)].search(last):
                        found.append(sign)
        except TimeoutError:
            raise UsageError(f"demo: {self._name} did not get ready: {last or 'it said nothing'}") from None
        self._draining = asyncio.create_task(self._drain())
        return found

    async def kill(self) -> None:
        """End it by SIGKILL."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """End it by SIGTERM, or by SIGKILL if that takes too long."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        await self._draining

    @property
    def _stderr(self) -> asyncio.StreamReader:
        stream = self._process.stderr
        if stream is None:
            raise AssertionError("stderr is a pipe")
        return stream

    async def _drain(self) -> None:
        """Read what nobody needs, so that it never waits for us."""
        while await self._stderr.read(_CHUNK):
            pass


@asynccontextmanager
async def started(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], *, name: str
) -> AsyncIterator[Started]:
    """Run a process while the block runs. name: for messages. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *words,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        limit=_CHUNK,
        # A Ctrl-C in the terminal reaches the demo, which ends this one when nobody needs it any more.
        start_new_session=True,
    )
    running = Started(process, name)
    try:
        yield running
    finally:
        await running.end()
