"""A machine that asks: a configuration, and a registry that may say something else than the nodes are."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.demo.demo_fleet import REGISTRY_PREFIX, build_fleet
from auditor.demo.servers import ServedFleet
from auditor.nodes.stop import Stop
from auditor.registry.file import export_text
from auditor.service.who_answers import AskProgress, AskRequest, ask
from auditor.settings.file import Config, read_found
from auditor.values.asked_addresses import Asking
from tests.fleets import key_of
from tests.serving import served_by_thread

FLEET = build_fleet(4, incident=False)
"""edge-ams-1, edge-fra-1, edge-nrt-1 and edge-sin-1: on each a NATS server answers at its device's address."""
AMS, FRA, NRT, SIN = "10.64.0.1", "10.32.0.1", "10.48.0.1", "10.16.0.1"
NOBODYS, FREE = "10.32.0.9", "10.32.0.200"
NO_SSH = "127.0.0.1:1"
"""Refuses at once."""


class Desk:
    """Folder of a machine that asks."""

    def __init__(self, folder: Path, served: ServedFleet) -> None:
        self.folder, self.served = folder, served
        (folder / "ssh_config").touch(mode=0o600)
        self.register()
        self.configure()

    def configure(self, witness: str | None = "", more: str = "") -> None:
        """Writes the configuration, with keys of the witness; None: without one."""
        asked = f'[[witnesses]]\ntype = "nats"\n{witness}\n' if witness is not None else ""
        (self.folder / "wgaudit.toml").write_text(
            f'[consul]\nfile = "{self.folder}/registry.json"\nprefix = "{REGISTRY_PREFIX}"\n'
            f'[ssh]\nuser = "root"\nidentity_files = ["{self.served.client_key}"]\nagent = false\n'
            f'config_file = "{self.folder}/ssh_config"\nknown_hosts = "{self.served.known_hosts}"\n'
            f"{more}{asked}"
        )

    def register(self, **addresses: str) -> None:
        """Writes the registry: each node with its address, or with this one; and nodes that nobody can log in to."""
        records = FLEET.records(self.served.ssh_hosts)
        for name in ("edge_fra_1", "edge_nrt_1", "edge_sin_1", "db_sin_1", "cache_fra_1"):
            node = name.replace("_", "-")
            key = f"{REGISTRY_PREFIX}{node}"
            if name in addresses and key in records:
                records[key] = json.dumps({**json.loads(records[key]), "ip": addresses[name]}).encode()
            elif name in addresses:
                value = {"public_key": key_of(node), "region": node.split("-")[1], "ssh_host": NO_SSH}
                records[key] = json.dumps({**value, "ip": addresses[name]}).encode()
        (self.folder / "registry.json").write_text(export_text(records))

    def ask(self, target: str, *origins: str, everyone: bool = False) -> Asking:
        """Asks, in this process."""
        config, _ = read_found(self.folder / "wgaudit.toml", {}, self.folder)
        return asyncio.run(_asked(config, AskRequest(target, origins, everyone)))


async def _asked(config: Config, request: AskRequest) -> Asking:
    return await ask(config, request, Stop(), AskProgress())


@contextmanager
def answering_fleet() -> Iterator[ServedFleet]:
    """The fleet, served by a thread of this process while it is entered."""
    with (
        tempfile.TemporaryDirectory(prefix="wgaudit-ask-") as folder,
        served_by_thread(FLEET, Path(folder), sessions=8) as fleet,
    ):
        yield fleet
