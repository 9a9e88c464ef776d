"""What all regions that are followed share: one connection to NATS, and the registry's mesh addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from auditor.gather.nats.connection import NatsConnection
from auditor.gather.nats.message_parts import mesh_addresses_of
from auditor.gather.nats.messages import AUDITOR_INBOX
from auditor.gather.nats.nats_login import NatsLogin
from auditor.values.addresses import Prefix
from auditor.values.models import Registration


class NatsLine:
    """Connection to NATS, opened when it is needed and anew when it is gone. Close it in the end."""

    def __init__(self, login: NatsLogin, complain: Callable[[str], None]) -> None:
        """complain: receives one line for what happens to the connection."""
        self._login = login
        self._complain = complain
        self._opening = asyncio.Lock()
        self._open: NatsConnection | None = None
        self._registry: tuple[Registration, ...] = ()
        self._mesh: Sequence[Prefix] = ()

    async def connection(self) -> NatsConnection:
        """Return the connection that is open; else open one. Raises `ConfigError` and `NatsAway`."""
        async with self._opening:
            if self._open is not None and not self._open.closed.is_set():
                return self._open
            await self.close()
            opened = NatsConnection(self._login, self._complain)
            await opened.open(AUDITOR_INBOX)
            self._open = opened
            return opened

    async def close(self) -> None:
        """Close the connection, if one is open."""
        before, self._open = self._open, None
        if before is not None:
            await before.close()

    def mesh_of(self, registered: tuple[Registration, ...]) -> Sequence[Prefix]:
        """List the mesh addresses of a registry, made once for all regions."""
        if registered is not self._registry:
            self._registry, self._mesh = registered, mesh_addresses_of(registered)
        return self._mesh
