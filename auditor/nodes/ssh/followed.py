"""Following of one node on one connection: what its probe says by itself, and what it is asked beside that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from auditor.errors import GapReason, ProbeError
from auditor.nodes.asking import look_further
from auditor.nodes.framing import Request
from auditor.nodes.probe.probe import DONE, FRAMING, WORDS, Mode, ProbeAnswer, parse_followed
from auditor.nodes.ssh.access import NodeSession
from auditor.nodes.ssh.stream import NodeStream
from auditor.nodes.table_store import TableStore
from auditor.nodes.varying import Varying


class End(Enum):
    """End of a following that came as it was to come: the node's script has run as long as it may."""

    OVER = auto()


OVER: Final = End.OVER

SAID_BY_THE_NODE = frozenset(
    {GapReason.SUDO, GapReason.NO_WG, GapReason.NO_DEVICE, GapReason.UNREADABLE_OUTPUT}
)
"""Failures of a question that say nothing of the connection, on which the node goes on looking at itself."""


class _Failed(NamedTuple):
    """Failed look, as the node tells of it."""

    reason: GapReason
    detail: str


@dataclass(frozen=True, slots=True)
class NewState:
    """State of a node that is new: its answer, and the digest of its table in the store."""

    answer: ProbeAnswer
    table: str


AskBeside = Callable[[Mode, Varying | None, bool], Awaitable[ProbeAnswer]]
"""Asks the node a question on the same connection. True: its stream is open beside."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of time of one following, in seconds."""

    first: float
    """For the first answer to come."""
    silence: float
    """Without a word, after which the node is silent."""


class FollowedNode:
    """Following of one node.

    `alone`: its server runs one command at a time; then the stream is closed for the time of a question.
    """

    __slots__ = (
        "_alone",
        "_ask",
        "_bounds",
        "_device",
        "_request",
        "_said",
        "_session",
        "_settled",
        "_stream",
        "_tables",
    )

    def __init__(
        self,
        session: NodeSession,
        request: Request,
        device: str,
        tables: TableStore,
        bounds: Bounds,
        ask: AskBeside,
        *,
        alone: bool,
    ) -> None:
        self._session = session
        self._request = request
        self._device = device
        self._tables = tables
        self._bounds = bounds
        self._ask = ask
        self._alone = alone
        self._stream: NodeStream | None = None
        self._said: ProbeAnswer | _Failed | None = None
        """What its probe last said of its state."""
        self._settled = False
        """True: what was last returned is what it last said."""

    @property
    def alone(self) -> bool:
        """Tell whether its server runs one command at a time, as far as is known."""
        return self._alone

    async def next(self) -> NewState | ProbeError | End | None:
        """Wait for the next word: a new state, an error that is one, or None, a beat. Raises `ProbeError`."""
        word = await self._word()
        if isinstance(word, str):
            if word == DONE:
                return OVER
            if self._said is None:
                raise ProbeError(
                    GapReason.UNREADABLE_OUTPUT, "the probe confirms an answer that it did not give"
                )
            # Else what was returned is newer than what it said, and that is what it still says.
            return None if self._settled else await self._state(self._said)
        said = self._read(word)
        if said == self._said and self._settled:
            return None
        self._said, self._settled = said, False
        return await self._state(said)

    async def _word(self) -> bytes | str:
        stream = self._stream
        if stream is None:
            stream = self._stream = await self._session.start(self._request, FRAMING, WORDS)
        seconds = self._bounds.silence if stream.begun else self._bounds.first
        try:
            async with asyncio.timeout(seconds):
                word = await stream.next()
        except TimeoutError:
            self._session.abandon()
            if stream.begun and self._said is not None:
                raise ProbeError(
                    GapReason.SILENT,
                    f"{self._session.host}: not a word for {seconds:g} s, for which three beats are due",
                ) from None
            raise ProbeError(
                GapReason.COMMAND_TIMEOUT if stream.begun else GapReason.PROBE_NOT_BEGUN,
                f"{self._session.host}: no answer of the probe within {seconds:g} s; {stream.printed()}",
            ) from None
        if isinstance(word, ProbeError):
            raise word
        return word

    def _read(self, body: bytes) -> ProbeAnswer | _Failed:
        try:
            return parse_followed(body, self._device)
        except ProbeError as error:
            if error.reason is GapReason.CANNOT_FOLLOW:
                raise
            return _Failed(error.reason, error.detail)

    async def _state(self, said: ProbeAnswer | _Failed) -> NewState | ProbeError:
        if isinstance(said, _Failed):
            self._settled = True
            return ProbeError(said.reason, said.detail)
        try:
            answer, table = await look_further(said, self._asked, self._tables)
        except ProbeError as error:
            if error.reason not in SAID_BY_THE_NODE:
                raise
            # Its device went between its word and the question, say. It is asked again with its next word, a beat too.
            return error
        self._settled = answer is said or _same(answer, said)
        return NewState(answer, table)

    async def _asked(self, mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
        if not self._alone:
            try:
                return await self._ask(mode, varying, True)
            except ProbeError as error:
                if error.reason is not GapReason.NO_CHANNEL:
                    raise
            self._alone = True
        if self._stream is not None:
            stream, self._stream = self._stream, None
            await stream.close()
        return await self._ask(mode, varying, False)


def _same(answer: ProbeAnswer, said: ProbeAnswer) -> bool:
    """Tell whether an answer to a question is what the node had said."""
    digest = answer.digest if answer.table is None else answer.spelled or answer.table.digest
    return (digest, answer.device, answer.region, answer.endpoints, answer.shadows) == (
        said.digest,
        said.device,
        said.region,
        said.endpoints,
        said.shadows,
    )
