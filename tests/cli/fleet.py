"""A fleet that is swept in well under a second: two nodes that answer over SSH, and registrations beside them."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from auditor.demo.demo_fleet import REGISTRY_PREFIX, build_fleet
from auditor.demo.servers import ServedFleet
from auditor.registry.file import export_text
from auditor.values.findings import fingerprint
from tests.cli.command import wgaudit
from tests.fleets import key_of
from tests.serving import served_by_thread

WITNESSES = build_fleet(2, incident=False)
"""They answer, and know each other only. Everybody else's SSH port refuses at once."""

NOBODY = "127.0.0.1:1"
"""Refuses at once."""

PAIR, TRIPLE = "10.0.0.1", "10.20.0.7"
HEALTHY = {
    "db-sin-1": "10.48.0.1",
    "db-fra-1": "10.48.0.2",
    "cache-sin-1": "10.48.0.3",
    "cache-fra-1": "10.48.0.4",
    "cache-nrt-1": "10.48.0.5",
    "spare-ams-1": "10.48.0.6",
}
"""Registered addresses by node. Nobody of them answers; enough that one who goes is no shrunk registry."""
HOLDERS = {PAIR: ("db-sin-1", "db-fra-1"), TRIPLE: ("cache-sin-1", "cache-fra-1", "cache-nrt-1")}


def contested(*addresses: str) -> dict[str, str]:
    """The registered addresses while these are held by all of their holders."""
    return HEALTHY | {node: address for address in addresses for node in HOLDERS[address]}


def mark(address: str) -> str:
    """The fingerprint of an address that is held twice."""
    return fingerprint("duplicate-address", address)


@contextmanager
def answering() -> Iterator[ServedFleet]:
    """The two nodes, served by a thread of this process while it is entered."""
    with (
        tempfile.TemporaryDirectory(prefix="wgaudit-witnesses-") as folder,
        served_by_thread(WITNESSES, Path(folder), sessions=8) as fleet,
    ):
        yield fleet


@dataclass
class Fleet:
    """One folder with a configuration, a registry and a state: what a machine that sweeps has."""

    folder: Path
    served: ServedFleet
    notifiers: Sequence[Mapping[str, Any]] = ()
    alerts: Mapping[str, Any] = field(default_factory=dict)
    shared: Sequence[Mapping[str, Any]] = ()
    watch: Mapping[str, Any] = field(default_factory=dict)
    state_url: str | None = None
    """URL of a server's database, in the place of the file."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of each run, beside what every one has."""

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.configure()
        self.register(contested(PAIR, TRIPLE))

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "wgaudit.toml"

    @property
    def database(self) -> Path:
        """The state database."""
        return self.folder / "state" / "wgaudit.db"

    def configure(self, **changes: Any) -> None:
        """Writes the configuration, after changing these attributes."""
        for name, value in changes.items():
            setattr(self, name, value)
        tables = [
            _table("[consul]", {"file": str(self.folder / "registry.json"), "prefix": REGISTRY_PREFIX}),
            _table(
                "[ssh]",
                {
                    "user": "root",
                    "identity_files": [str(self.served.client_key)],
                    "agent": False,
                    "known_hosts": str(self.served.known_hosts),
                    "config_file": str(_empty(self.folder / "ssh_config")),
                },
            ),
            # The two that answer know nobody else, and that is no finding here.
            _table("[mesh]", {"topology": "partial"}),
            _table("[regions]", {"name_pattern": "^[a-z]+-(?P<region>[a-z]{3})-"}),
            _table("[coverage]", {"minimum": 0.0}),
            _table("[sweep]", {"confirm_after": 0.0}),
            _table("[state]", {"path": str(self.database), "url": self.state_url}),
            _table("[alerts]", self.alerts),
            *([_table("[watch]", self.watch)] if self.watch else []),
            *(_table("[[notifiers]]", notifier) for notifier in self.notifiers),
            *(_table("[[shared]]", item) for item in self.shared),
        ]
        self.config.write_text("\n".join(tables), encoding="utf-8")

    def register(self, addresses: Mapping[str, str], *, down: Collection[str] = ()) -> None:
        """Writes the registry: the two that answer, unless they are `down`, and these."""
        records = WITNESSES.records({**self.served.ssh_hosts, **dict.fromkeys(down, NOBODY)})
        for node, address in addresses.items():
            value = {
                "public_key": key_of(node),
                "ip": address,
                "region": node.split("-")[1],
                "ssh_host": NOBODY,
            }
            records[f"{REGISTRY_PREFIX}{node}"] = json.dumps(value).encode()
        # Renamed into its place: whoever reads it meanwhile reads the one or the other.
        new = self.folder / "registry.new"
        new.write_text(export_text(records), encoding="utf-8")
        new.rename(self.folder / "registry.json")

    def run(self, *arguments: str | Path) -> CompletedProcess[str]:
        """One run of the command in the folder, which finds the configuration there."""
        return wgaudit(*arguments, folder=self.folder, environment=self.environment)

    def sweep(self, *arguments: str | Path) -> CompletedProcess[str]:
        """One `wgaudit sweep --alert`."""
        return self.run("sweep", "--alert", "--no-progress", *arguments)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says, once nobody has it open."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(statement).fetchall()

    def execute(self, statement: str) -> None:
        """Changes the database behind the program's back."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement)


def alert_lines(stderr: str) -> list[str]:
    """What stderr says beside the summary."""
    return [line for line in stderr.splitlines() if not re.search(r"; exit code \d$", line)]


def _empty(path: Path) -> Path:
    path.touch(mode=0o600)
    return path


def _table(head: str, values: Mapping[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's too; None leaves the key out.
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
    return "\n".join([head, *lines, ""])


def _toml(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else json.dumps(value)
