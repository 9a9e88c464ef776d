"""What happens to servers and cables of a running mesh: a device that is set up, a reboot, a network that is cut."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.lab import files
from tests.lab.mesh import Lab

_HERE = Path(__file__).resolve().parent


def set_up_device(lab: Lab, label: str, address: str) -> None:
    """Sets up the device of a node that has none, with this address, and writes it into the device's own file."""
    environment = lab.node_folder(label) / files.ENVIRONMENT
    kept = [line for line in environment.read_text().splitlines() if not line.startswith("address=")]
    lab.write(f"{environment.parent.name}/{environment.name}", "\n".join([*kept, f"address={address}", ""]))
    lab.write(f"{environment.parent.name}/{files.WG_QUICK}/wg0.conf", f"[Interface]\nAddress = {address}\n")
    _run(lab, label, "device.sh")


@contextlib.contextmanager
def rebooting(lab: Lab, label: str) -> Iterator[None]:
    """Inside of it the node is down: nothing runs on it, and its connections are gone. Then it is up again."""
    had_agent = lab.end_agent(label)
    _run(lab, label, "down.sh")
    try:
        yield
    finally:
        _run(lab, label, "device.sh")
        _run(lab, label, "sshd.sh")
        if had_agent:
            lab.start_agent(label)


@contextlib.contextmanager
def network_cut(lab: Lab) -> Iterator[None]:
    """Inside of it no packet passes between the nodes, or between them and who audits them; nobody is told."""
    cables = [f"node{index}" for index in range(len(lab.topology.nodes))]

    def put(state: str) -> None:
        script = "".join(f"ip link set {cable} {state}\n" for cable in cables)
        subprocess.run([*lab.prefix, "sh", "-ec", script], check=True, stdin=subprocess.DEVNULL)

    put("down")
    try:
        yield
    finally:
        put("up")


def _run(lab: Lab, label: str, script: str) -> None:
    lab.on(label, "sh", str(_HERE / script), str(lab.node_folder(label)))


def logins(lab: Lab) -> int:
    """How many connections all nodes together have let in since they came up."""
    logs = [lab.node_folder(node.label) / "sshd.log" for node in lab.topology.nodes]
    return sum(log.read_text(errors="replace").count("Accepted publickey") for log in logs)
