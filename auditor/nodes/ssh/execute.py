"""Execution of one command on an open connection, bounded in bytes and seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import asyncssh

from auditor.errors import ChangeFailed, GapReason, ProbeError
from auditor.nodes.accounts import account_advice
from auditor.nodes.framing import Framing, Request, cleaned, first_telling_line

_ERRORS_KEPT = 4096
_FREED_WITHIN = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds between tries for a channel that the request before is about to free."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output:
    """Output of a script, and its end."""

    framing: Framing
    data: bytes
    errors: bytes
    """Beginning of its standard error; for details only."""
    ended: str
    """`exit 0`, `signal KILL` …"""

    def how(self) -> str:
        """Word the command's end: its exit status, and the first telling line of its standard error."""
        said = self._said()
        return f"{self.ended}{': ' + said if said else ''}"

    def read(self, parse: Callable[[bytes], T], hint: str = "") -> T:
        """Parse the output. Raises `ProbeError`; one for an answer that cannot be read says how the script ended."""
        try:
            return parse(self.data)
        except ProbeError as error:
            if error.reason is not GapReason.UNREADABLE_OUTPUT or isinstance(error, ChangeFailed):
                raise
            # A whole answer with an error is enough: the script's own exit code would only confuse.
            how = self._said() if self.framing.ended(self.data) else self.how()
            raise ProbeError(error.reason, f"{error.detail}{f' ({how})' if how else ''}{hint}") from None

    def _said(self) -> str:
        return first_telling_line(self.errors.splitlines())


class _ExecSession(asyncssh.SSHClientSession[bytes]):
    def __init__(self, limit: int, stdin: bytes) -> None:
        self._limit = limit
        self._stdin = stdin
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.chunks: list[bytes] = []
        self.errors = b""
        self.size = 0
        self.too_large = False

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        # The library sends the command in this turn of the loop. What the command is to read follows as soon
        # as the server takes it, without a wait for the word that the command was started.
        asyncio.get_running_loop().call_soon(_send, chan, self._stdin)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.size += len(data)
        if self.size > self._limit:
            self.too_large = True
            self.chunks.clear()
            if self._channel is not None:
                self._channel.pause_reading()
            self._finish(None)
        elif datatype is None:
            self.chunks.append(data)
        else:
            self.errors = (self.errors + data)[:_ERRORS_KEPT]

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(exc)

    def _finish(self, exc: Exception | None) -> None:
        if not self.finished.done():
            if exc is None:
                self.finished.set_result(None)
            else:
                self.finished.set_exception(exc)


async def execute(
    connection: asyncssh.SSHClientConnection,
    request: Request,
    framing: Framing,
    *,
    seconds: float,
    limit: int,
    where: str,
    first: bool = True,
) -> Output:
    """Run one request within so many `seconds`, for at most `limit` bytes of output. `where`: for details.

    `first`: it is the first one on this connection. Raises `ProbeError`: auth, no-channel, probe-not-begun,
    command-timeout, output-too-large, connection-lost."""
    session = _ExecSession(limit, request.stdin)
    channel: asyncssh.SSHClientChannel[bytes] | None = None
    try:
        async with asyncio.timeout(seconds):
            channel = await _opened(connection, session, request.command, first=first)
            await session.finished
    except TimeoutError:
        # The probe ends itself on the node, and a repair brings to its end what it has begun.
        raise _timed_out(session, framing, seconds, where, opened=channel is not None) from None
    except (asyncssh.Error, OSError) as error:
        raise _not_run(error, framing, where) from None
    if session.too_large:
        raise ProbeError(
            GapReason.OUTPUT_TOO_LARGE, f"{where}: more than {limit} bytes; ssh.max_output sets the bound"
        )
    data = b"".join(session.chunks)
    if not framing.begun(data):
        check_account(data, session.errors, channel, where)
    return Output(framing, data, session.errors, words_of_end(channel))


def check_account(data: bytes, errors: bytes, channel: asyncssh.SSHClientChannel[bytes], where: str) -> None:
    """Raise `ProbeError` (auth) where the server let the account in and gave it nothing to run."""
    said = (data[:_ERRORS_KEPT] + b"\n" + errors).decode("utf-8", "replace")
    advice = account_advice(said, channel.get_exit_status())
    if advice:
        words = cleaned(" ".join(said.split()))
        raise ProbeError(
            GapReason.AUTH, f"{where}: logged in, and then: {words} ({words_of_end(channel)}); {advice}"
        )


async def opened(
    connection: asyncssh.SSHClientConnection,
    session: asyncssh.SSHClientSession[bytes],
    command: str,
    framing: Framing,
    where: str,
    *,
    first: bool,
) -> asyncssh.SSHClientChannel[bytes]:
    """Start a command that is not waited for. Raises `ProbeError`: no-channel, connection-lost."""
    try:
        return await _opened(connection, session, command, first=first)
    except (asyncssh.Error, OSError) as error:
        raise _not_run(error, framing, where) from None


async def _opened(
    connection: asyncssh.SSHClientConnection,
    session: asyncssh.SSHClientSession[bytes],
    command: str,
    *,
    first: bool,
) -> asyncssh.SSHClientChannel[bytes]:
    for pause in () if first else _FREED_WITHIN:
        try:
            return await _open(connection, session, command)
        except asyncssh.ChannelOpenError:
            # With MaxSessions 1 the session of the request before is still being closed.
            await asyncio.sleep(pause)
    return await _open(connection, session, command)


async def _open(
    connection: asyncssh.SSHClientConnection, session: asyncssh.SSHClientSession[bytes], command: str
) -> asyncssh.SSHClientChannel[bytes]:
    channel, _ = await connection.create_session(lambda: session, command, encoding=None, request_pty=False)
    return channel


def _not_run(error: Exception, framing: Framing, where: str) -> ProbeError:
    if isinstance(error, asyncssh.ChannelOpenError):
        return ProbeError(GapReason.NO_CHANNEL, f"{where}: the server runs no command: {cleaned(str(error))}")
    return ProbeError(
        GapReason.CONNECTION_LOST, f"{where}: while {framing.script} ran: {cleaned(str(error))}"
    )


def _timed_out(
    session: _ExecSession, framing: Framing, seconds: float, where: str, *, opened: bool
) -> ProbeError:
    """Name the stage at which the time was up."""
    within = f"within {seconds:g} s"
    if not opened:
        return ProbeError(GapReason.NO_CHANNEL, f"{where}: logged in, but no command was started {within}")
    data = b"".join(session.chunks)
    if framing.begun(data):
        return ProbeError(GapReason.COMMAND_TIMEOUT, f"{where}: {framing.script} did not end {within}")
    printed = cleaned(data) or first_telling_line(session.errors.splitlines())
    said = f"what was printed before: {printed}" if printed else "nothing was printed"
    return ProbeError(GapReason.PROBE_NOT_BEGUN, f"{where}: {framing.script} did not begin {within}; {said}")


def _send(channel: asyncssh.SSHClientChannel[bytes], data: bytes) -> None:
    try:
        if data:
            channel.write(data)
        channel.write_eof()
    except BrokenPipeError:
        # The command is gone already (no shell, a closed account): its output and status say why.
        return


def words_of_end(channel: asyncssh.SSHClientChannel[bytes]) -> str:
    """Word the end of a command: `exit 0`, `signal KILL` …"""
    signal = channel.get_exit_signal()
    if signal is not None:
        return f"signal {cleaned(signal[0])}"
    status = channel.get_exit_status()
    return "no exit status" if status is None else f"exit {status}"
