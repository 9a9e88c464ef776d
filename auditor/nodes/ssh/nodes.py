"""Node source over SSH: one connection a node, its digest first, its table only where it is new."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.errors import GapReason, ProbeError
from auditor.nodes.framing import Request
from auditor.nodes.interface import NodeSource, TableStore
from auditor.nodes.probe.probe import (
    DEFAULT_PLACES,
    FRAMING,
    Mode,
    ProbeAnswer,
    ProbePlaces,
    inline_request,
    installed_request,
    packed_request,
    parse_answer,
)
from auditor.nodes.ssh.access import NodeSession, SshAccess
from auditor.settings.ssh import SshSettings
from auditor.values.models import Observation, Registration, RouteTable


class SshNodes(NodeSource):
    """Looks at nodes. Built once, used for the whole fleet.

    `device`: the WireGuard device on each node. `region_command`: run there, prints its region; empty: none is.
    `places`: paths and devices that the probe uses on a node.
    """

    def __init__(
        self,
        access: SshAccess,
        device: str,
        region_command: str = "",
        places: ProbePlaces = DEFAULT_PLACES,
    ) -> None:
        self._access = access
        self._settings = access.settings
        self._device = device
        self._requests: dict[Mode, Request] = {
            mode: _request(mode, access.settings, device, region_command, places)
            for mode in ("digest", "text")
        }
        self._packed: dict[Mode, Request] = {}
        if access.settings.probe != "installed":
            self._packed = {mode: packed_request(request) for mode, request in self._requests.items()}

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Take the mesh addresses of the whole registry: no node is reached by one of them unasked."""
        self._access.expect(registrations)

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Look at one node once. Raises `ProbeError` with its `GapReason`; bounded in time and size."""
        async with self._access.session(registration) as session:
            answer = await self._ask(session, "digest")
            digested = answer.digest is not None

            async def fetch() -> RouteTable:
                nonlocal answer
                answer = await self._ask(session, "text")
                if answer.table is None:
                    raise ProbeError(
                        GapReason.UNREADABLE_OUTPUT, f"{session.host}: asked for the table, got none"
                    )
                if answer.spelled is not None:
                    tables.respelled(answer.spelled, answer.table.digest)
                return answer.table

            # Where the table is fetched, the second answer is the node's, whole: it is of one moment.
            if answer.digest is not None:
                table = await tables.obtain(answer.digest, fetch)
            else:
                table = tables.add(await fetch())
            return Observation(
                node=registration.node,
                device=answer.device,
                table=table,
                region=answer.region,
                host_key=session.host_key(),
                endpoints=answer.endpoints,
                digested=digested,
            )

    async def _ask(self, session: NodeSession, mode: Mode) -> ProbeAnswer:
        settings = self._settings
        output = await session.run(self._packed.get(mode, self._requests[mode]), FRAMING)
        if self._packed and not output.data:
            # No gzip there, or the login shell's start-up files read away what was sent.
            output = await session.run(self._requests[mode], FRAMING)
        hint = ""
        if settings.probe == "installed" and not output.data:
            hint = "; does authorized_keys force the file that `wgaudit probe-script` prints?"
        answer = output.read(lambda data: parse_answer(data, self._device), hint)
        if settings.endpoints and answer.endpoints is None:
            raise ProbeError(GapReason.UNREADABLE_OUTPUT, "endpoints were asked for, and none came")
        return answer


def _request(
    mode: Mode, settings: SshSettings, device: str, region_command: str, places: ProbePlaces
) -> Request:
    if settings.probe == "installed":
        return installed_request(mode, endpoints=settings.endpoints)
    return inline_request(
        mode,
        device=device,
        seconds=settings.command_timeout,
        sudo=settings.sudo,
        endpoints=settings.endpoints,
        region_command=region_command,
        places=places,
    )
