"""A node with files that bring its device up, and the request that rewrites them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from auditor.nodes.change.changes import DeviceState, RewriteFiles
from auditor.nodes.change.repair_script import change_request, parse_repair
from auditor.values.addresses import Prefix, PublicKey
from tests.nodes.namespaces import Network
from tests.nodes.stubs import key

OLD, NEW = Prefix("10.0.0.1/32"), Prefix("10.99.0.107/32")
CONF = "/etc/wireguard/wg0.conf"
NETWORKD = "/etc/systemd/network"


FOLDERS = (
    "etc/wireguard",
    "etc/netplan",
    "etc/NetworkManager/system-connections",
    "run/NetworkManager/system-connections",
    "etc/systemd/network",
    "run/systemd/network",
)


class Node:
    """A node with files, and one request to it."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.bin = folder / "bin"
        self.bin.mkdir()
        # Only one awk is found, and the device's key costs no program.
        self.program("wg", f"echo {key(1)}")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)

    def file(self, name: str) -> Path:
        """A file of the node as this process reaches it."""
        return self.network.root / name.removeprefix("/")

    def rewrite(self, old: Prefix = OLD, new: Prefix = NEW, shell: Sequence[str] = ()) -> DeviceState:
        asked = change_request("wg0", PublicKey(key(1)), RewriteFiles(old, new))
        words = asked.request.command.removeprefix("exec ").split()
        path = {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        self.answer = self.network.run(
            [*(shell or words[:1]), *words[1:]], stdin=asked.request.stdin, environment=path
        ).stdout
        return parse_repair(self.answer, asked)

    def clear(self) -> None:
        for folder in FOLDERS:
            for file in (self.network.root / folder).iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()

    def names(self) -> list[str]:
        return sorted(file.name for folder in FOLDERS for file in (self.network.root / folder).iterdir())
