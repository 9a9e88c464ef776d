"""Regions of a lab whose nodes let in SSH from inside their region alone, and the collectors that look at them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cli.watching import Watching
from tests.gather.nats.documented import DocumentedServer, documented_server, replaced
from tests.lab.mesh import Lab
from tests.lab.topology import Node

COLLECTED = ("fra", "nrt", "sin")
"""The regions with a collector; it stands on their `edge`, and is reached by its underlay address alone."""
_CLOSING = "add table ip door; add chain ip door in { type filter hook input priority 0; }"


def close_doors(lab: Lab) -> None:
    """From now on the nodes of these regions refuse SSH from outside their region."""
    for node in _behind_doors(lab):
        own = f"{lab.topology.underlay(node).rpartition('.')[0]}.0/24"
        rule = f"add rule ip door in tcp dport 22 ip saddr != {own} reject with tcp reset"
        lab.on(node.label, "nft", f"{_CLOSING}; {rule}")


@contextlib.contextmanager
def open_doors(lab: Lab) -> Iterator[None]:
    """Inside of it they let in everybody again."""
    for node in _behind_doors(lab):
        lab.on(node.label, "nft", "delete", "table", "ip", "door")
    try:
        yield
    finally:
        close_doors(lab)


def _behind_doors(lab: Lab) -> list[Node]:
    return [node for node in lab.topology.nodes if node.region in COLLECTED]


@contextlib.contextmanager
def deaf(lab: Lab, *labels: str) -> Iterator[None]:
    """Inside of it the sshd of these nodes takes connections, and says nothing: logins wait."""

    def send(number: signal.Signals) -> None:
        for label in labels:
            pid = (lab.node_folder(label) / "sshd.pid").read_text().strip()
            lab.on(label, "kill", f"-{number.value}", pid)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


@dataclass
class Collectors:
    """The NATS server on the underlay, as docs/collectors.md has it, and a collector in each region that has one."""

    lab: Lab
    nats: DocumentedServer
    running: dict[str, Watching] = field(default_factory=dict)

    def start(self, region: str, *, key_of: str = "", ca_file: Path | None = None) -> Watching:
        """Start a region's collector, and return at once. key_of: the region whose nkey it has, if not its own."""
        folder = self.lab.folder / f"collector-{region}"
        folder.mkdir(exist_ok=True)
        text = replaced(
            self.nats.configuration("collector", f"U{(key_of or region).upper()}"),
            {
                'user = "wgaudit"': f'user = "root"\nagent = false\nconfig_file = "{self.lab.folder}/ssh_config"\n'
                "connect_timeout = 60.0",
                "/etc/wgaudit/id_ed25519": f"{self.lab.folder}/client_key",
                "/etc/wgaudit/known_hosts": f"{self.lab.folder}/known_hosts",
                str(self.nats.ca_file): str(ca_file or self.nats.ca_file),
            },
        )
        (folder / "wgaudit.toml").write_text(text)
        network = self.lab.networks()[f"edge-{region}-1"]
        # `nsenter` of a network alone becomes the collector: signals reach it.
        self.running[region] = Watching(
            folder, "--region", region, command="collector", prefix=("nsenter", f"--net={network}", "--")
        )
        return self.running[region]

    def serve(self, *regions: str) -> None:
        """Start collectors, and wait until they serve."""
        for each in [self.start(region) for region in regions]:
            each.wait_for("collects for")

    def stop(self, *regions: str) -> None:
        """Have collectors end, as systemd would."""
        for region in regions:
            collector = self.running.pop(region)
            assert collector.end()[0] == 0, collector.said
            collector.kill()

    def kill(self, *regions: str) -> None:
        """End collectors by SIGKILL."""
        for region in regions:
            self.running.pop(region).kill()

    def table(self, changes: Mapping[str, str] | None = None) -> str:
        """The auditor's table, with the documented text changed in these places."""
        listed = ", ".join(f'"{region}"' for region in COLLECTED)
        text = self.nats.configuration("auditor", "UAUDITOR")
        text = replaced(text, {'["fra", "sin"]': f"[{listed}]", '"none"': '"local"'})
        return replaced(text, changes or {})


@contextlib.contextmanager
def collectors_of(lab: Lab) -> Iterator[Collectors]:
    """Inside of it each region of `COLLECTED` has a collector that serves, and lets in nobody else."""
    nats = documented_server(
        lab.folder / "collect", more_regions=("nrt",), address="198.18.0.1", inside=lab.inside
    )
    with nats.server:
        close_doors(lab)
        collectors = Collectors(lab, nats)
        try:
            collectors.serve(*COLLECTED)
            yield collectors
        finally:
            collectors.kill(*list(collectors.running))
