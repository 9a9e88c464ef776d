"""Drains by a command on this machine: by exec, never by a shell, bounded in time and output; its exit code decides."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import Self

from auditor.errors import DrainFailed, InvalidValue
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.values.addresses import format_prefix
from auditor.values.drains import DrainMeans, DrainPolicy, command_words
from auditor.values.text import for_detail, masked

ENVIRONMENT = ("PATH", "HOME", "USER", "LOGNAME", "LANG")
"""Variables that a command always gets, where they are set. No other is handed on unasked: they may hold secrets."""
MOST_OUTPUT = 16 * 1024
"""Bytes of output that are kept; what comes after is read and dropped."""
MOST_QUOTED = 300
"""Characters of its output that an error quotes."""
LINGER = 1.0
"""Seconds in which the output must end once the command has: a process that it left behind may hold it open."""


class CommandDrainer(Drainer):
    """Runs the configuration's commands, each for one node."""

    def __init__(
        self, way: DrainPolicy, seconds: float, environment: Mapping[str, str], passed: Sequence[str] = ()
    ) -> None:
        """Take the commands.

        seconds: limit of one. environment: the process's variables; passed: names of those that are handed on too.
        """
        self._way = way
        self._seconds = seconds
        self._environment = {
            name: environment[name] for name in (*ENVIRONMENT, *passed) if name in environment
        }

    @property
    def means(self) -> DrainMeans:
        """Commands."""
        return DrainMeans.COMMAND

    async def is_drained(self, target: DrainTarget) -> bool | None:  # noqa: ARG002
        """Tell nothing: only the commands know what they change."""
        return None

    async def drain(self, target: DrainTarget, reason: str) -> None:  # noqa: ARG002  (a command has no place for it)
        """Run the command that takes the node out. Raises `DrainFailed`."""
        await self._run(words_for(self._way, target, back=False))

    async def undrain(self, target: DrainTarget) -> None:
        """Run the command that puts the node back. Raises `DrainFailed`."""
        await self._run(words_for(self._way, target, back=True))

    async def _run(self, words: Sequence[str]) -> None:
        shown = for_detail(masked(shlex.join(words)))[:MOST_QUOTED]
        with _Output() as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *words,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output.inner,
                    stderr=output.inner,
                    env=self._environment,
                    cwd="/",
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it cannot be run"
                raise DrainFailed(f"{shown}: {reason}") from None
            ended = output.read()
            try:
                async with asyncio.timeout(self._seconds):
                    await process.wait()
            except TimeoutError:
                raise DrainFailed(
                    f"{shown}: did not end within {self._seconds:g} s, and was killed{output.quoted()}"
                ) from None
            finally:
                if process.returncode is None:
                    # Its whole session, for it may wait for a process of its own.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LINGER)
            if process.returncode:
                code = process.returncode
                how = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
                raise DrainFailed(f"{shown}: {how}{output.quoted()}")


class _Output:
    """Pipe for a command's output, of which the beginning is kept: a process that it leaves behind holds up nobody."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._outer, self.inner = os.pipe()
        os.set_blocking(self._outer, False)
        self._loop: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._outer)
        else:
            os.close(self.inner)
        os.close(self._outer)

    def read(self) -> asyncio.Event:
        """Read from now on all that is printed, once the command has its end of the pipe. Returns what its end sets."""
        os.close(self.inner)
        self._loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._loop.add_reader(self._outer, self._take, ended)
        return ended

    def _take(self, ended: asyncio.Event) -> None:
        try:
            chunk = os.read(self._outer, 65536)
        except BlockingIOError:
            return
        self._kept += chunk[: max(0, MOST_OUTPUT - len(self._kept))]
        if not chunk and self._loop is not None:
            self._loop.remove_reader(self._outer)
            ended.set()

    def quoted(self) -> str:
        """Return the beginning of the output for an error, without anything that looks like a secret."""
        text = for_detail(masked(self._kept.decode("utf-8", "replace"), cut=True))[:MOST_QUOTED]
        return f": {text}" if text else ""


def words_for(way: DrainPolicy, target: DrainTarget, *, back: bool) -> tuple[str, ...]:
    """Put a node's values into the words of a command. Raises `DrainFailed`."""
    address = target.address
    try:
        return command_words(
            way.words(back=back),
            node=target.node.name,
            region=target.region,
            address=format_prefix(address) if address is not None else None,
        )
    except InvalidValue as error:
        raise DrainFailed(str(error)) from None
