"""Stream of a script that goes on speaking, on an open connection, bounded in bytes."""

from __future__ import annotations

import asyncio

import asyncssh

from auditor.errors import GapReason, ProbeError
from auditor.nodes.framing import Framing, Request, Stream, cleaned, first_telling_line
from auditor.nodes.ssh.execute import check_account, opened, words_of_end

_ERRORS_KEPT = 1024


class _StreamSession(asyncssh.SSHClientSession[bytes]):
    """Session of the SSH library. Holds the newest answer, and the newest word after it: no more is of use."""

    __slots__ = ("_channel", "_parser", "_stdin", "_waiter", "end", "ended", "errors", "said")

    def __init__(self, parser: Stream, stdin: bytes) -> None:
        self._parser = parser
        self._stdin = stdin
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.said: list[bytes | str | ProbeError] = []
        self.errors = b""
        self.ended = False
        self.end: Exception | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        asyncio.get_running_loop().call_soon(self._send, chan)

    def _send(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        stdin, self._stdin = self._stdin, b""
        try:
            if stdin:
                # And no end of it: the script ends when its input does.
                chan.write(stdin)
        except BrokenPipeError:
            # The command is gone already: its output and status say why.
            return

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype is not None:
            self.errors = (self.errors + data)[:_ERRORS_KEPT]
            return
        for said in self._parser.feed(data):
            if isinstance(said, bytes):
                self.said = [said]
            elif not self.said or self.said[-1] != said:
                self.said.append(said)
            if isinstance(said, ProbeError) and self._channel is not None:
                self._channel.abort()
        if self.said:
            self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended, self.end = True, exc
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until something is said, or it has ended."""
        if not self.said and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class NodeStream:
    """Open stream of a script on a node. Close it, and the script ends: its input does."""

    def __init__(
        self, channel: asyncssh.SSHClientChannel[bytes], session: _StreamSession, parser: Stream, where: str
    ) -> None:
        self._channel = channel
        self._session = session
        self._parser = parser
        self._where = where

    async def next(self) -> bytes | str | ProbeError:
        """Wait for the next answer, without its frame, word or error. Raises `ProbeError` where it has ended."""
        session = self._session
        await session.wait()
        if session.said:
            return session.said.pop(0)
        if session.end is not None:
            raise ProbeError(
                GapReason.CONNECTION_LOST,
                f"{self._where}: while it was followed: {cleaned(str(session.end))}",
            )
        raise self._ended()

    @property
    def begun(self) -> bool:
        """Tell whether the script began to speak."""
        return self._parser.begun

    def printed(self) -> str:
        """Word what was printed and came to no end."""
        text = cleaned(self._parser.said) or first_telling_line(self._session.errors.splitlines())
        return f"what was printed before: {text}" if text else "nothing was printed"

    async def close(self) -> None:
        """End the script, and wait until the server has let the channel go."""
        self._channel.close()
        await self._channel.wait_closed()

    def _ended(self) -> ProbeError:
        how = words_of_end(self._channel)
        said = first_telling_line(self._session.errors.splitlines())
        if not self._parser.begun:
            check_account(self._parser.said, self._session.errors, self._channel, self._where)
            return ProbeError(
                GapReason.UNREADABLE_OUTPUT,
                f"no answer of the probe: {self.printed()} ({how}{': ' + said if said else ''})",
            )
        return ProbeError(
            GapReason.CONNECTION_LOST,
            f"{self._where}: the probe ended while it was followed ({how}{': ' + said if said else ''})",
        )


async def open_stream(
    connection: asyncssh.SSHClientConnection,
    request: Request,
    framing: Framing,
    words: tuple[str, ...],
    *,
    limit: int,
    where: str,
    first: bool,
) -> NodeStream:
    """Start a script that goes on speaking. Raises `ProbeError`: no-channel, connection-lost."""
    parser = framing.stream(words, limit)
    session = _StreamSession(parser, request.stdin)
    channel = await opened(connection, session, request.command, framing, where, first=first)
    return NodeStream(channel, session, parser, where)
