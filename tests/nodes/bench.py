"""A stub node behind a real sshd, and an `SshNodes` that can reach it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from auditor.errors import ProbeError
from auditor.nodes.probe.probe import BEAT, ProbePlaces
from auditor.nodes.ssh import SshAccess, SshNodes
from auditor.nodes.table_store import TableStore
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Observation, Registration
from tests.nodes.stubs import StubNode
from tests.parts.sshd import Sshd, make_key, public


class Bench:
    """A stub node behind a real sshd, with an identity that it knows and a known_hosts file."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.identity = make_key(folder / "id")
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text("")
        self.node = StubNode(folder / "node")

    def sshd(self, name: str = "sshd", **options: object) -> Sshd:
        """Starts a server that finds the stubs first; by default the identity may log in and the host is known."""
        options.setdefault("authorized", [public(self.identity)])
        options.setdefault("environment", {"PATH": self.node.path})
        known = options.pop("known", True)
        server = self._stack.enter_context(Sshd(self.folder / name, **options))  # type: ignore[arg-type]
        if known:
            self.known_hosts.write_text(self.known_hosts.read_text() + server.known_hosts_line)
        return server

    def nodes(
        self,
        *,
        region_command: str = "",
        mesh: tuple[str, ...] = (),
        beat: float = BEAT,
        pools: tuple[Prefix, ...] = (),
        transfer: bool = False,
        **settings: object,
    ) -> SshNodes:
        options: dict[str, object] = {
            "user": "root" if os.geteuid() == 0 else os.environ["USER"],
            "identity_files": [self.identity],
            "known_hosts": self.known_hosts,
            "config_file": None,
        }
        options |= settings
        options = {name: value for name, value in options.items() if value != "default"}
        read = SshSettings.model_validate(options)
        places = ProbePlaces(read.wg_command, pools=pools)
        nodes = SshNodes(SshAccess(read), "wg0", region_command, places, beat, transfer=transfer)
        nodes.expect(
            Registration(NodeId("", "another"), self.node.key, (Prefix(f"{address}/32"),)) for address in mesh
        )
        return nodes

    def registered(self, server: Sshd | str, name: str = "edge-fra-1") -> Registration:
        host = server if isinstance(server, str) else f"{server.host}:{server.port}"
        return Registration(NodeId("", name), self.node.key, self.node.device.addresses, ssh_host=host)

    async def observe(self, server: Sshd | str, **settings: object) -> Observation:
        return await self.nodes(**settings).observe(self.registered(server), TableStore())  # type: ignore[arg-type]

    async def refused(self, server: Sshd | str, **settings: object) -> ProbeError:
        with pytest.raises(ProbeError) as caught:
            await self.observe(server, **settings)
        assert caught.value.detail.isprintable()
        return caught.value


def script_of(node: StubNode, body: str) -> None:
    """A `wg` that knows its key and does the rest in its own way."""
    node.script("wg", f'#!/bin/sh\n[ "$3" = public-key ] && exec cat "{node.folder}/public-key"\n{body}\n')
