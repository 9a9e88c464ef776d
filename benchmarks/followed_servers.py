"""SSH servers of a fleet that answer wgaudit's probe, one process of them: for thousands of nodes on one machine.

`python -m benchmarks.followed_servers FOLDER NODES SHARE KIND` is the process of that number. Each node is an
address of 127.0.0.0/8 behind the process's own port. SSH is asyncssh's; what a node says is of `SimulatedFleet`, byte
for byte what its probe would print, without a shell. It goes on looking where it is asked to, at its own times, and
`move NODE ADDRESS` on the control socket changes its device's address.
"""

from __future__ import annotations

import asyncio
import logging
import random
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import asyncssh

from auditor.nodes.probe.probe import BEAT, FRAMING, read_follow_request, read_request
from auditor.values.addresses import Prefix
from benchmarks.simulated import SimulatedFleet, SimulatedNodes

PORT = 2200
"""Port of the first process; each has the next one."""
REFUSES = 1
"""Port of a node that cannot be reached."""
SERVERS = 4
"""Processes, unless it is said otherwise."""
HOLDS = 1.0
"""Seconds after a changed state until a node confirms it."""
_KEX = "curve25519-sha256"
"""The same key exchange as `benchmarks.sshd`: what OpenSSH 9 prefers is dearer to both sides."""


def address(number: int) -> str:
    """Return the address of a node, by its place in the fleet."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def fleet_hosts(fleet: SimulatedFleet, processes: int = SERVERS) -> dict[str, str]:
    """Return `host:port` of each node by name."""
    return {
        name: f"{address(number)}:{PORT + number % processes if fleet.nodes[name].reachable else REFUSES}"
        for number, name in enumerate(sorted(fleet.nodes))
    }


@contextmanager
def served(folder: Path, nodes: int, kind: str = "peace", processes: int = SERVERS) -> Iterator[None]:
    """Serve a fleet by processes of its own, with the keys of `write_keys`."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.followed_servers", folder, str(nodes), str(share), kind],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        for share in range(processes)
    ]
    try:
        for one in started:
            if one.stdout is None or one.stdout.readline() != b"ready\n":
                raise RuntimeError("the SSH servers did not start")
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()
            if one.stdout is not None:
                one.stdout.close()


def write_keys(folder: Path, hosts: Mapping[str, str]) -> None:
    """Make the client's key `id`, the servers' `host_key`, and the `known_hosts` of all `host:port`."""
    for name in ("id", "host_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    kind, key = (folder / "host_key.pub").read_text().split()[:2]
    lines = [
        f"[{host}]:{port} {kind} {key}\n" for host, _, port in (one.partition(":") for one in hosts.values())
    ]
    (folder / "known_hosts").write_text("".join(lines))


def control(folder: Path, share: int) -> Path:
    """Return the control socket of a process."""
    return folder / f"control.{share}"


class _Node:
    """One node: when it looks at itself, and who waits for that."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.moved = asyncio.Event()
        self.phase = random.random()  # noqa: S311  (no secret)


class _Servers:
    def __init__(self, fleet: SimulatedFleet) -> None:
        self._fleet = fleet
        self._answers = SimulatedNodes(fleet)
        self._names = sorted(fleet.nodes)
        self._nodes: dict[str, _Node] = {}

    def node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node(name))

    def name_at(self, host: str) -> str:
        """Name the node of a local address: see `address`."""
        _, _, third, fourth = host.split(".")
        return self._names[int(third) * 250 + int(fourth) - 1]

    async def session(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        name = self.name_at(process.get_extra_info("sockname")[0])
        command = process.command or ""
        following = read_follow_request(command)
        if following is None:
            mode, _ = read_request(command)
            process.stdout.write(
                self._answers.printed(mode, self._fleet.nodes[name], command.split(" base")[-1].split())
            )
            process.exit(0)
            return
        await self._follow(self.node(name), following[0], process)

    async def _follow(self, node: _Node, interval: int, process: asyncssh.SSHServerProcess[bytes]) -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(process.wait_closed())
        moved: asyncio.Task[bool] | None = None
        try:
            wait, changed = 0.0, True
            while not process.is_closing():
                if changed:
                    answer = self._answers.printed("digest", self._fleet.nodes[node.name])
                    process.stdout.write(answer)
                    wait, changed = HOLDS, False
                else:
                    process.stdout.write(FRAMING.word("beat"))
                    wait = BEAT
                moved = moved or asyncio.ensure_future(node.moved.wait())
                await asyncio.wait({gone, moved}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if moved.done():
                    moved = None
                    node.moved.clear()
                    # It sees that when it looks next.
                    await asyncio.sleep(interval - (loop.time() - node.phase * interval) % interval)
                    changed = True
        finally:
            gone.cancel()
            if moved is not None:
                moved.cancel()

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry out `move NODE ADDRESS`, line by line."""
        while line := await reader.readline():
            _, name, text = line.decode().split()
            self._fleet.move(name, Prefix(f"{text}/32"))
            self.node(name).moved.set()
            writer.write(b"moved\n")
            await writer.drain()
        writer.close()


async def serve(folder: Path, nodes: int, share: int, kind: str) -> None:
    """Serve until the process is ended."""
    servers = _Servers(SimulatedFleet(nodes, kind))
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("0.0.0.0", PORT + share))  # noqa: S104  (in a network of its own, with loopback alone)
    listening.listen(4096)
    await asyncssh.listen(
        sock=listening,
        config=None,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        kex_algs=[_KEX],
        process_factory=servers.session,
        encoding=None,
        allow_pty=False,
        line_editor=False,
        login_timeout=600,
        keepalive_interval=0,
    )
    await asyncio.start_unix_server(servers.control, control(folder, share))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Serve one share of a fleet."""
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder, nodes, share = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    asyncio.run(serve(folder, nodes, share, sys.argv[4]))


if __name__ == "__main__":
    main()
