"""Connections from a demo node into its mesh, and the NATS server that answers there: whose is decided by the routes.

A connection goes where the asking node's allowed-ips say. It is answered if the node there has the address on its
device and takes packets of the one that asks from it: WireGuard drops what comes from an address that its table gives
to another peer. So a node whose own address is contested gets no answer from some, as on a real mesh. All of it is
read from the nodes' states at the time, so a move shows at once. Beside WireGuard stands one rule, as people leave them
behind: what comes for an address that the drifted node left is passed on to another node.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from auditor.demo.demo_fleet import DemoFleet, DemoNode
from auditor.errors import InvalidValue
from auditor.values.addresses import Prefix, PublicKey, format_prefix, parse_prefix

NATS_PORT = 4222
OWN_LOOPBACK = parse_prefix("127.0.0.1")
"""Address at which a node asks itself; nothing listens there."""
GIVES_UP_AFTER = 0.2
"""Seconds after which a demo node says that nobody answers; a real one tries for two minutes."""


@dataclass(frozen=True, slots=True)
class AnsweringNodes:
    """The fleet's nodes as somebody meets them over the mesh."""

    fleet: DemoFleet
    states: Mapping[str, Path]
    """Folder of each reachable node's state, by its name."""

    def met(self, asking: DemoNode, address: Prefix) -> DemoNode | None:
        """Return the node that answers at a mesh address when `asking` connects; None: none does."""
        if address in self._addresses(asking):
            return asking
        key = self._owner(asking, address)
        there = next((node for node in self.fleet.nodes if node.public_key == key), None)
        if there is None or self._owner(there, self._addresses(asking)[0]) != asking.public_key:
            return None
        return there if address in self._addresses(there) else self.fleet.stand_in(there, address)

    def _addresses(self, node: DemoNode) -> list[Prefix]:
        """The addresses that its device has, the one that it asks from first."""
        if node.name not in self.states:
            return [node.device_address]
        lines = (self.states[node.name] / "addresses").read_text().split()
        return [parse_prefix(line.split("/")[0]) for line in lines]

    def _owner(self, node: DemoNode, address: Prefix) -> PublicKey | None:
        if node.name not in self.states:
            return self.fleet.peer_table(node).owner(address)
        for line in (self.states[node.name] / "allowed-ips").read_text().splitlines():
            key, _, prefixes = line.partition("\t")
            if address in prefixes.split():
                return PublicKey(key)
        return None

    async def connect(self, asking: DemoNode, host: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
        """Connect from a node into its mesh. Raises asyncssh.ChannelOpenError with the words of OpenSSH's server."""
        try:
            address = parse_prefix(host)
        except InvalidValue:
            raise _failed("Name or service not known") from None
        if address == OWN_LOOPBACK:
            raise _failed("Connection refused")
        there = self.met(asking, address)
        if there is None:
            await asyncio.sleep(GIVES_UP_AFTER)
            raise _failed("Connection timed out")
        if port != NATS_PORT:
            raise _failed("Connection refused")
        return _FirstLine(_info(there, address, asking))


class _FirstLine(asyncssh.SSHTCPSession[bytes]):
    """The first line of a NATS server, which then hangs up: nobody logs in to it."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan

    def session_started(self) -> None:
        self._channel.write(self._line)
        self._channel.close()


def _info(node: DemoNode, address: Prefix, asking: DemoNode) -> bytes:
    document = {
        "server_id": "N" + hashlib.sha256(node.name.encode()).hexdigest()[:55].upper(),
        "server_name": node.name,
        "version": "2.9.10",
        "proto": 1,
        "host": format_prefix(address),
        "port": NATS_PORT,
        "headers": True,
        "max_payload": 1_048_576,
        "client_ip": format_prefix(asking.device_address),
        "cluster": node.region,
    }
    return b"INFO %s \r\n" % json.dumps(document, separators=(",", ":")).encode()


def _failed(why: str) -> asyncssh.ChannelOpenError:
    return asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, why)
