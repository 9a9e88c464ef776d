"""Servers of the demo: one in-process SSH server a node on loopback, each with its own host key and state.

A session runs the very command that the client sent, by `/bin/sh`, with stand-ins for `wg` and `ip`
first in PATH that print the node's state. So the audit's real way is walked, probe script and all.
Because it runs any command, it binds loopback only and lets in nothing but the run's own key.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh

from auditor.demo.demo_fleet import DEVICE, DemoFleet, DemoNode
from auditor.values.addresses import format_prefix

LOOPBACK = "127.0.0.1"
KEY_TYPE = "ssh-ed25519"
_CHUNK = 64 * 1024

# What a stand-in is asked for and does not know is an error, as with the real one; `dump` and
# `showconf` would print private keys, so that they are never asked for is worth an error of its own.
_WG = """#!/bin/sh
# Stands in for wg(8): prints the state of the demo node in $WGAUDIT_DEMO_NODE.
case "$1 $2 $3" in
    "show {device} public-key" | "show {device} allowed-ips" | "show {device} endpoints")
        [ "$#" -eq 3 ] && exec cat "$WGAUDIT_DEMO_NODE/$3" ;;
    "show {device} "* | "show all "* | showconf*) ;;
    "show "*)
        echo "Unable to access interface: No such device" >&2
        exit 1 ;;
esac
echo "wg: the demo's node does not answer: wg $*" >&2
exit 1
"""

_IP = """#!/bin/sh
# Stands in for ip(8): prints the device's addresses of the demo node in $WGAUDIT_DEMO_NODE.
json=
while :; do
    case "$1" in
        -j | -json) json=.json ;;
        -o | -oneline) ;;
        *) break ;;
    esac
    shift
done
case "$*" in
    "addr show dev {device}" | "address show dev {device}") exec cat "$WGAUDIT_DEMO_NODE/addresses$json" ;;
    "addr show dev "* | "address show dev "*)
        echo "Device \\"$4\\" does not exist." >&2
        exit 1 ;;
esac
echo "ip: the demo's node does not answer: ip $*" >&2
exit 255
"""


@dataclass(frozen=True, slots=True)
class ServedFleet:
    """Addresses of a running fleet, and the files that a client needs to reach it."""

    ssh_hosts: Mapping[str, str]
    """`host:port` of each node, by its name; the unreachable node's port refuses."""
    known_hosts: Path
    client_key: Path
    """Private key (OpenSSH, no passphrase, mode 0600), the only one that the nodes let in."""


@asynccontextmanager
async def serve(fleet: DemoFleet, folder: Path, *, sessions: int) -> AsyncIterator[ServedFleet]:
    """Run the fleet's SSH servers; at most `sessions` commands at a time, over all nodes.

    `folder` is a private, empty folder that the caller makes and removes. On leaving, also by
    cancellation, every connection is closed and every command ended, whatever it was doing. Raises
    OSError if sockets or files cannot be had.
    """
    client_key = asyncssh.generate_private_key(KEY_TYPE, comment="wgaudit demo")
    programs = _write_programs(folder / "bin")
    state = _write_states(fleet, folder / "nodes")
    servers = _Servers(client_key, programs, sessions)
    try:
        known_hosts = []
        ssh_hosts = {}
        for node in fleet.nodes:
            host_key = asyncssh.generate_private_key(KEY_TYPE)
            port = await servers.listen(host_key, state[node.name]) if node.reachable else servers.refuse()
            ssh_hosts[node.name] = f"{LOOPBACK}:{port}"
            known_hosts.append(b"[%s]:%d %s" % (LOOPBACK.encode(), port, host_key.export_public_key()))
        yield ServedFleet(
            ssh_hosts=ssh_hosts,
            known_hosts=_write(folder / "known_hosts", b"".join(known_hosts)),
            client_key=_write(folder / "id_ed25519", client_key.export_private_key()),
        )
    finally:
        await _to_the_end(servers.close())


async def _to_the_end(work: Coroutine[object, object, None]) -> None:
    """Await the work whole; a cancellation takes effect after it, so that nothing is left half closed."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


class _Servers:
    """Listeners, connections and running commands of the whole fleet."""

    def __init__(self, client_key: asyncssh.SSHKey, programs: Path, sessions: int) -> None:
        public_key = client_key.export_public_key().decode()
        self._authorized = asyncssh.import_authorized_keys(public_key)
        self._path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._room = asyncio.Semaphore(sessions)
        self._acceptors: list[asyncssh.SSHAcceptor] = []
        self._refusing: list[socket.socket] = []
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._sessions: set[asyncio.Task[None]] = set()

    async def listen(self, host_key: asyncssh.SSHKey, state: Path) -> int:
        """Start one node's server; return its port."""
        acceptor = await asyncssh.listen(
            LOOPBACK,
            0,
            config=None,
            server_factory=partial(_Visitors, self._connections),
            server_host_keys=[host_key],
            authorized_client_keys=self._authorized,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            process_factory=partial(self._session, state),
            encoding=None,
            allow_pty=False,
            line_editor=False,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
        )
        self._acceptors.append(acceptor)
        return acceptor.get_port()

    def refuse(self) -> int:
        """Take a port that refuses: bound, so that nobody else gets it, but nobody listens."""
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._refusing.append(held)
        held.bind((LOOPBACK, 0))
        port: int = held.getsockname()[1]
        return port

    async def close(self) -> None:
        for held in self._refusing:
            held.close()
        for acceptor in self._acceptors:
            acceptor.close()
        connections = list(self._connections)
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        # Without a client, each session ends its command by itself; nobody cancels it on its way.
        if self._sessions:
            await asyncio.wait(self._sessions)
        await asyncio.gather(*(acceptor.wait_closed() for acceptor in self._acceptors))

    async def _session(self, state: Path, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command; end it when the client goes away."""
        if process.command is None:
            process.stderr.write(b"the demo's nodes run commands; they have no login shell\n")
            process.exit(1)
            return
        # A task of ours: asyncssh cancels its own with the connection, and a start of a process that is
        # cancelled half-way leaves its pipes open.
        session = asyncio.ensure_future(self._serve(process.command, state, process))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)
        await asyncio.shield(session)

    async def _serve(self, command: str, state: Path, process: asyncssh.SSHServerProcess[bytes]) -> None:
        async with self._room:
            if not process.is_closing():  # else its client went away while it waited
                await self._run(command, state, process)

    async def _run(self, command: str, state: Path, process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=state,
            env={"PATH": self._path, "HOME": str(state), "LC_ALL": "C", "WGAUDIT_DEMO_NODE": str(state)},
            # A group of its own: all that the command started ends with it, and a Ctrl-C in the
            # terminal reaches the audit alone.
            start_new_session=True,
        )
        answered = asyncio.ensure_future(_converse(child, process))
        gone = asyncio.ensure_future(process.wait_closed())
        try:
            await asyncio.wait({answered, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                code = answered.result()
                process.exit(code if code >= 0 else 128 - code)
        finally:
            ended = answered.done()
            for task in (answered, gone):
                task.cancel()
            await asyncio.gather(answered, gone, return_exceptions=True)
            if not ended:
                with suppress(ProcessLookupError):  # it ended just now
                    os.killpg(child.pid, signal.SIGKILL)
            # To the end of its output, or its pipes would stay open behind it.
            await child.communicate()


class _Visitors(asyncssh.SSHServer):
    """Set of the open connections, so that they can be closed at the end."""

    def __init__(self, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections
        self._own: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._own = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncssh's signature)
        if self._own is not None:
            self._connections.discard(self._own)


async def _converse(child: asyncio.subprocess.Process, process: asyncssh.SSHServerProcess[bytes]) -> int:
    """Carry input and output between client and command; return the command's exit status."""
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None  # noqa: S101, PT018
    feeding = asyncio.ensure_future(_feed(process.stdin, child.stdin))
    try:
        await asyncio.gather(
            _carry(child.stdout, process.stdout),
            _carry(child.stderr, process.stderr),
        )
        return await child.wait()
    finally:
        # A command may end without having read all of its input.
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def _feed(source: asyncssh.SSHReader[bytes], target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
    target.close()


async def _carry(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()


def _write_programs(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    for name, text in (("wg", _WG), ("ip", _IP)):
        program = _write(folder / name, text.replace("{device}", DEVICE).encode())
        program.chmod(0o700)
    return folder


def _write_states(fleet: DemoFleet, folder: Path) -> dict[str, Path]:
    """Write the output of each node's `wg` and `ip`; return each node's folder."""
    folder.mkdir(mode=0o700)
    states = {}
    for node in fleet.nodes:
        if not node.reachable:
            continue
        states[node.name] = state = folder / node.name
        state.mkdir(mode=0o700)
        table = fleet.peer_table(node)
        for name, text in (
            ("public-key", f"{node.public_key}\n"),
            ("allowed-ips", table.allowed_ips()),
            ("endpoints", fleet.endpoints(table)),
            ("addresses", _ip_oneline(node)),
            ("addresses.json", _ip_json(node)),
            ("region", f"{node.region}\n"),
        ):
            _write(state / name, text.encode())
    return states


def _ip_oneline(node: DemoNode) -> str:
    return (
        f"4: {DEVICE}    inet {format_prefix(node.device_address)}/8 scope global {DEVICE}\\"
        "       valid_lft forever preferred_lft forever\n"
    )


def _ip_json(node: DemoNode) -> str:
    return (
        f'[{{"ifindex":4,"ifname":"{DEVICE}","addr_info":[{{"family":"inet",'
        f'"local":"{format_prefix(node.device_address)}","prefixlen":8,"scope":"global","label":"{DEVICE}"}}]}}]\n'
    )


def _write(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
