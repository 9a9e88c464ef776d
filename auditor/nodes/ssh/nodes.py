"""Node source over SSH: one connection a node, its digest first, its table only where it is new.

A node is looked at once, or followed: then the connection stays, and the node's probe says when something changed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from typing import NamedTuple

from auditor.errors import GapReason, ProbeError
from auditor.nodes.asking import look
from auditor.nodes.framing import Request
from auditor.nodes.interface import FollowedNodes
from auditor.nodes.probe.probe import (
    BEAT,
    DEFAULT_PLACES,
    FRAMING,
    REFUSED,
    TRANSFER_SECONDS,
    Mode,
    ProbeAnswer,
    ProbePlaces,
    follow_request,
    inline_request,
    installed_follow_request,
    installed_request,
    packed_request,
    parse_answer,
)
from auditor.nodes.ssh.access import NodeSession, SshAccess
from auditor.nodes.ssh.followed import OVER, Bounds, FollowedNode, NewState
from auditor.nodes.table_store import TableStore
from auditor.nodes.varying import Varying
from auditor.values.meetings import PeersMet
from auditor.values.models import NodeId, Observation, Registration

BEATS = 3
"""Beats that do not come, after which a followed node is silent."""
GRACE = 2.0
"""Seconds that the last of them may be late."""


class SshNodes(FollowedNodes):
    """Looks at nodes. Built once, used for the whole fleet.

    `device`: the WireGuard device on each node. `region_command`: run there, prints its region; empty: none is.
    `places`: paths and devices that the probe uses on a node. `beat`: seconds after which a followed node speaks in any
    case; an installed probe has its own. `handshakes`: with endpoints, where they are asked for, each look also asks
    how long ago the handshakes were. `transfer`: each look also asks whom the node sends to in vain, some seconds long.
    """

    def __init__(
        self,
        access: SshAccess,
        device: str,
        region_command: str = "",
        places: ProbePlaces = DEFAULT_PLACES,
        beat: float = BEAT,
        *,
        handshakes: bool = True,
        transfer: bool = False,
    ) -> None:
        self._beat = beat
        self._access = access
        self._settings = access.settings
        self._device = device
        self._region_command = region_command
        self._places = places
        self._handshakes = handshakes and self._settings.endpoints
        self._requests: dict[tuple[Mode, bool], _Asked] = {}
        """By mode, and whether handshakes are asked for."""
        self._varying: Varying | None = None
        """What the requests of mode `base` ask for."""
        self._open: dict[NodeId, NodeSession] = {}
        """Sessions of followed nodes."""
        self._transfer = transfer
        self._further: dict[tuple[bool, bool], _Asked] = {}
        """Questions beside the first: whether for what routes hide, and for whom the node sends to in vain."""
        self._meet: _Asked | None = None
        """Question for the endpoints of peers alone."""
        self._untimed: set[NodeId] = set()
        """Nodes that do not tell when handshakes were: for their installed probe is older, or sudo refuses it."""
        self._undividing: set[NodeId] = set()
        """Nodes whose installed probe does not know the mode `base`."""
        self._alone: set[NodeId] = set()
        """Nodes whose server runs one command at a time on a connection."""

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Take the mesh addresses of the whole registry: no node is reached by one of them unasked."""
        self._access.expect(registrations)

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Look at one node once. Raises `ProbeError` with its `GapReason`; bounded in time and size."""
        async with self._access.session(registration) as session:

            async def ask(mode: Mode, varying: Varying | None = None) -> ProbeAnswer:
                return await self._ask(session, registration.node, mode, varying)

            answer, table, digested = await look(ask, tables)
            answer = await self._beside(session, answer)
            return _observation(registration.node, session, answer, table, digested=digested)

    async def _beside(self, session: NodeSession, answer: ProbeAnswer) -> ProbeAnswer:
        """Ask for what is not part of each look. Returns the answer with it."""
        closely = answer.routes_hinted
        if not closely and not self._transfer:
            return answer
        if (asked := self._further.get((closely, self._transfer))) is None:
            asked = self._further[closely, self._transfer] = self._request(
                "digest", (), endpoints=False, handshakes=False, transfer=self._transfer, closely=closely
            )
        longer = TRANSFER_SECONDS if self._transfer else 0.0
        try:
            further = await self._run(session, asked, endpoints=False, longer=longer)
        except ProbeError as error:
            if not self._refused(error):
                raise
            return answer  # its installed probe is older, and does not tell
        if closely:
            answer = replace(
                answer,
                shadows=further.shadows,
                routes_unread=further.routes_unread,
                routes_hinted=further.routes_hinted,
            )
        return replace(answer, transfers=further.transfers, transfers_unread=further.transfers_unread)

    async def meet(self, registration: Registration) -> PeersMet:
        """Ask a followed node where it meets its peers, as `FollowedNodes` says."""
        session = self._open.get(registration.node)
        if session is None or registration.node in self._alone:
            raise ProbeError(GapReason.CANNOT_FOLLOW, "there is no session on which it can be asked")
        if self._meet is None:
            self._meet = self._request("digest", (), endpoints=True, handshakes=True)
        answer = await self._run(session, self._meet, endpoints=True, beside=True)
        if answer.device.public_key != registration.public_key:
            raise ProbeError(GapReason.WRONG_HOST, "another key than the registered one answered")
        return PeersMet(registration.node, answer.endpoints or {}, answer.handshake_ages or {})

    def way(self, registration: Registration) -> tuple[str, int | None]:
        """Tell where a node is reached."""
        return self._access.way(registration)

    def silence(self, interval: float) -> float:
        """Return the seconds of three beats; a node speaks no more often than it looks."""
        return BEATS * max(self._beat, interval) + GRACE

    async def follow(
        self, registration: Registration, tables: TableStore, interval: float
    ) -> AsyncGenerator[Observation | ProbeError | None, None]:
        """Follow one node, as `FollowedNodes` says. Raises `ProbeError`."""
        node = registration.node
        async with self._access.session(registration, stays=True) as session:

            async def ask(mode: Mode, varying: Varying | None, beside: bool) -> ProbeAnswer:
                return await self._ask(session, node, mode, varying, beside=beside)

            followed = FollowedNode(
                session,
                self._follow_request(interval),
                self._device,
                tables,
                Bounds(self._settings.command_timeout, self.silence(interval)),
                ask,
                alone=node in self._alone,
            )
            try:
                while (said := await followed.next()) is not OVER:
                    self._open[node] = session
                    if followed.alone:
                        self._alone.add(node)
                    if isinstance(said, NewState):
                        yield _observation(node, session, said.answer, said.table)
                    else:
                        yield said
            finally:
                if self._open.get(node) is session:
                    del self._open[node]

    def _follow_request(self, interval: float) -> Request:
        settings = self._settings
        if settings.probe == "installed":
            return installed_follow_request(interval, endpoints=settings.endpoints)
        return follow_request(
            device=self._device,
            interval=interval,
            beat=self._beat,
            seconds=settings.command_timeout,
            sudo=settings.sudo,
            endpoints=settings.endpoints,
            region_command=self._region_command,
            places=self._places,
        )

    async def _ask(
        self,
        session: NodeSession,
        node: NodeId,
        mode: Mode,
        varying: Varying | None = None,
        *,
        beside: bool = False,
    ) -> ProbeAnswer:
        """Ask a question; a node that cannot tell base and difference, for its digest."""
        if mode == "base" and node not in self._undividing:
            try:
                return await self._ask_timed(session, node, mode, varying, beside=beside)
            except ProbeError as error:
                if not self._refused(error):
                    raise
            self._undividing.add(node)
        return await self._ask_timed(session, node, "digest" if mode == "base" else mode, beside=beside)

    async def _ask_timed(
        self,
        session: NodeSession,
        node: NodeId,
        mode: Mode,
        varying: Varying | None = None,
        *,
        beside: bool = False,
    ) -> ProbeAnswer:
        """Ask for the times of handshakes too, if they are wanted; a node that does not tell them, without."""
        if self._handshakes and node not in self._untimed:
            try:
                return await self._run(
                    session, self._asked(mode, varying, handshakes=True), endpoints=True, beside=beside
                )
            except ProbeError as error:
                if not self._refused(error) and error.reason is not GapReason.SUDO:
                    raise
            self._untimed.add(node)
        asked = self._asked(mode, varying, handshakes=False)
        return await self._run(session, asked, endpoints=self._settings.endpoints, beside=beside)

    def _refused(self, error: ProbeError) -> bool:
        """Tell whether an installed probe does not know the question."""
        return self._settings.probe == "installed" and REFUSED in error.detail

    def _asked(self, mode: Mode, varying: Varying | None, *, handshakes: bool) -> _Asked:
        if mode == "base" and varying is not self._varying:
            self._varying = varying
            self._requests.pop((mode, False), None)
            self._requests.pop((mode, True), None)
        kind = mode, handshakes
        if kind not in self._requests:
            ends = varying.ends if varying is not None else ()
            self._requests[kind] = self._request(
                mode, ends, endpoints=self._settings.endpoints, handshakes=handshakes
            )
        return self._requests[kind]

    async def _run(
        self,
        session: NodeSession,
        asked: _Asked,
        *,
        endpoints: bool,
        beside: bool = False,
        longer: float = 0.0,
    ) -> ProbeAnswer:
        settings = self._settings
        output = await session.run(asked.packed or asked.plain, FRAMING, beside=beside, longer=longer)
        if asked.packed is not None and not output.data:
            # No gzip there, or the login shell's start-up files read away what was sent.
            output = await session.run(asked.plain, FRAMING, longer=longer)
        hint = ""
        if settings.probe == "installed" and not output.data:
            hint = "; does authorized_keys force the file that `wgaudit probe-script` prints?"
        answer = output.read(lambda data: parse_answer(data, self._device), hint)
        if endpoints and answer.endpoints is None:
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, "endpoints were asked for, and none came")
        return answer

    def _request(
        self,
        mode: Mode,
        varying: Iterable[str],
        *,
        endpoints: bool,
        handshakes: bool,
        transfer: bool = False,
        closely: bool = False,
    ) -> _Asked:
        settings = self._settings
        if settings.probe == "installed":
            return _Asked(
                installed_request(
                    mode, endpoints=endpoints, handshakes=handshakes, transfer=transfer, varying=varying
                )
            )
        plain = inline_request(
            mode,
            device=self._device,
            seconds=settings.command_timeout,
            sudo=settings.sudo,
            endpoints=endpoints,
            handshakes=handshakes,
            transfer=transfer,
            closely=closely,
            region_command=self._region_command,
            places=self._places,
            varying=varying,
        )
        return _Asked(plain, packed_request(plain))


def _observation(
    node: NodeId, session: NodeSession, answer: ProbeAnswer, table: str, *, digested: bool = True
) -> Observation:
    return Observation(
        node=node,
        device=answer.device,
        table=table,
        region=answer.region,
        host_key=session.host_key(),
        endpoints=answer.endpoints,
        handshake_ages=answer.handshake_ages,
        digested=digested,
        shadows=answer.shadows,
        routes_unread=answer.routes_unread,
        one_way=answer.transfers,
        transfers_unread=answer.transfers_unread,
    )


class _Asked(NamedTuple):
    """Request in the form that any node takes, and in the smaller one."""

    plain: Request
    packed: Request | None = None
    """None: the probe is installed."""
