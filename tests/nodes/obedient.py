"""A node source whose nodes do what their names say, for tests that run it in worker processes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.interface import TableStore
from auditor.values.addresses import Prefix
from auditor.values.models import Device, NodeId, Observation, Registration, RouteTable
from tests.nodes.stubs import key

log = logging.getLogger("tests.obedient")

TABLE = RouteTable(b"everybody's\n")
LARGE = 1_000_000
"""Bytes: more than a socket takes at once."""


def registered(name: str) -> Registration:
    """A node of this name."""
    return Registration(NodeId("", name), key(1), (Prefix("10.0.0.1/32"),))


@dataclass
class Obedient:
    """Nodes that obey the first word of their name. `fetches` gets a line for each text that is fetched."""

    fetches: Path
    only_in: int | None
    """The process in which it can be built."""
    sharing: int
    expected: list[Registration] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.only_in not in (None, os.getpid()):
            raise ConfigError("planted: this cannot be built in a worker")

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Remembers them."""
        self.expected = list(registrations)

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """Does what the name says."""
        name = registration.node.name
        command = name.partition("-")[0]
        await self._obey(command, name)
        table = _table(command, name)

        async def fetch() -> RouteTable:
            with self.fetches.open("a") as file:
                file.write(f"{os.getpid()} {name}\n")
            if command == "dieFetching":
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(0)
            return table

        digested = command != "large"
        return Observation(
            registration.node,
            Device("wg0", registration.public_key, registration.addresses),
            await tables.obtain(table.digest, fetch) if digested else tables.add(table),
            self._report() if command == "report" else None,
            digested=digested,
        )

    async def _obey(self, command: str, name: str) -> None:
        match command:
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wait":
                await self._wait(name)
            case "refuse":
                raise ProbeError(GapReason.AUTH, f"{name}: planted")
            case "surprise":
                raise LookupError("planted")
            case "tell":
                log.info("from %s", name)
                log.debug("with more", exc_info=LookupError("planted"))

    def _report(self) -> str:
        return f"expects {len(self.expected)}, shares with {self.sharing}, asks from {os.getpid()}"

    async def _wait(self, name: str) -> None:
        log.warning("%s began", name)
        try:
            await asyncio.Event().wait()
        finally:
            log.warning("%s ended", name)


def _table(command: str, name: str) -> RouteTable:
    match command:
        case "own":
            return RouteTable(f"{name}\n".encode())
        case "large":
            return RouteTable(name.encode() * (LARGE // len(name)))
    return TABLE
