"""What parent and worker say to each other, and the channel that carries it.

For each node: `Ask`, and in the end `Seen` or `Unseen`. In between the worker may ask for a table by its
digest (`Wanted`); it is told that it is `Known`, or to `Fetch` it, and then sends the text (`Fetched`). So
at most two messages about one node are under way at a time, and the number of nodes bounds everything.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from auditor.errors import GapReason
from auditor.values.models import Observation, Registration, RouteTable

_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Expect:
    """To the worker: who belongs to the mesh."""

    registrations: tuple[Registration, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """To the worker: look at this node. `number` names this one look in all that follows."""

    number: int
    registration: Registration


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the worker: nobody waits for this any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Known:
    """To the worker: the table with that digest is here already."""

    number: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """To the worker: nobody has that table yet; bring its text."""

    number: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """From the worker: the node has a table with this digest."""

    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """From the worker: the text that it was told to bring."""

    number: int
    table: RouteTable


@dataclass(frozen=True, slots=True)
class Seen:
    """From the worker: what the node showed. `tables` are those that it sent without having digested them."""

    number: int
    observation: Observation
    tables: tuple[RouteTable, ...]


@dataclass(frozen=True, slots=True)
class Unseen:
    """From the worker: the node could not be seen. A `ProbeError`, taken apart."""

    number: int
    reason: GapReason
    detail: str


@dataclass(frozen=True, slots=True)
class Logged:
    """From the worker: a line for the parent's log, with its traceback if it has one."""

    logger: str
    level: int
    text: str


ToWorker = Expect | Ask | Cancel | Known | Fetch
About = Wanted | Fetched | Seen | Unseen
FromWorker = About | Logged


def packed(message: ToWorker | FromWorker) -> bytes:
    """The message as it goes through a channel."""
    # Pickle is safe here: both ends are this program, of one version and under one user, and nobody else
    # has the socket. What a node sent is never unpickled: it was parsed into values before it came here.
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


class Channel:
    """One end of a connection between parent and worker, for whole messages.

    Made of asyncio's streams and not of multiprocessing's `Connection`, for that one blocks while it sends:
    two ends that send to each other at once would wait for each other for ever.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Channel:
        """Takes the socket over; it is closed with the channel."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    async def receive(self) -> object | None:
        """The next message. None: the other side has gone, or this one was closed."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            message: object = pickle.loads(await self._reader.readexactly(length))  # noqa: S301  (see `packed`)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def write(self, data: bytes) -> None:
        """Sends a packed message as soon as there is room for it. To one who has gone, nothing."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def send(self, message: ToWorker | FromWorker) -> None:
        """Sends a message; waits while more is under way than the other side has taken."""
        self.write(packed(message))
        # That the other side has gone is for who receives to find out.
        with suppress(ConnectionError):
            await self._writer.drain()

    async def close(self) -> None:
        """Sends what is still to be sent, and closes."""
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        """Closes, whatever is still to be sent."""
        self._writer.transport.abort()
