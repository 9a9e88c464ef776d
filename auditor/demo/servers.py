"""Servers of the demo: one in-process SSH server a node on loopback, each with its own host key and state.

A session runs the very command that the client sent, by `/bin/sh`, with stand-ins for `wg` and `ip`
first in PATH over the node's state. So the real way is walked, probe script and all. The script that
changes a node runs too, in a root of its own: see `node_programs`. A connection into the mesh meets the NATS
server of the node that the routes lead to: see `answering_nodes`.
Because it runs any command, it binds loopback only and lets in nothing but the run's own keys.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncssh

from auditor.demo.answering_nodes import AnsweringNodes
from auditor.demo.demo_fleet import DemoFleet, DemoNode
from auditor.demo.node_programs import link_tools, rooted, unrooted, write, write_programs, write_states
from auditor.nodes.change.repair_script import VERSION as CHANGES
from auditor.nodes.probe.probe import read_follow_request

LOOPBACK = "127.0.0.1"
KEY_TYPE = "ssh-ed25519"
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class ServedFleet:
    """Addresses of a running fleet, and the files that a client needs to reach it."""

    ssh_hosts: Mapping[str, str]
    """`host:port` of each node, by its name; the unreachable node's port refuses."""
    known_hosts: Path
    client_key: Path
    """Private key (OpenSSH, no passphrase, mode 0600), the only one that the nodes let in."""
    region_keys: Mapping[str, Path] = field(default_factory=dict)
    """Such a key of each region whose nodes let in none but that."""


@asynccontextmanager
async def serve(
    fleet: DemoFleet, folder: Path, *, sessions: int, closed: Collection[str] = ()
) -> AsyncIterator[ServedFleet]:
    """Run the fleet's SSH servers; at most `sessions` commands at a time, over all nodes, and beside them those that
    follow a node.

    closed: regions whose nodes, by their registrations, let in a key of the region's own and no other. `folder` is a
    private, empty folder that the caller makes and removes. On leaving, also by cancellation, every connection is
    closed and every command ended, whatever it was doing. Raises OSError if sockets or files cannot be had.
    """
    client_key = asyncssh.generate_private_key(KEY_TYPE, comment="wgaudit demo")
    region_keys = {
        region: asyncssh.generate_private_key(KEY_TYPE, comment=f"wgaudit demo {region}") for region in closed
    }
    programs = write_programs(folder / "bin")
    state = write_states(fleet, folder / "nodes")
    mesh = AnsweringNodes(fleet, state)
    servers = _Servers(programs, link_tools(folder / "tools"), sessions, mesh)
    try:
        known_hosts = []
        ssh_hosts = {}
        for node in fleet.nodes:
            host_key = asyncssh.generate_private_key(KEY_TYPE)
            lets_in = region_keys.get(node.registered_region, client_key)
            port = (
                await servers.listen(host_key, lets_in, node, state[node.name])
                if node.reachable
                else servers.refuse()
            )
            ssh_hosts[node.name] = f"{LOOPBACK}:{port}"
            known_hosts.append(b"[%s]:%d %s" % (LOOPBACK.encode(), port, host_key.export_public_key()))
        yield ServedFleet(
            ssh_hosts=ssh_hosts,
            known_hosts=write(folder / "known_hosts", b"".join(known_hosts)),
            client_key=write(folder / "id_ed25519", client_key.export_private_key()),
            region_keys={
                region: write(folder / f"id_ed25519-{region}", key.export_private_key())
                for region, key in region_keys.items()
            },
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

    def __init__(self, programs: Path, tools: Path, sessions: int, mesh: AnsweringNodes) -> None:
        self._path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._changing_path = f"{programs}{os.pathsep}{tools}"
        self._mesh = mesh
        self._room = asyncio.Semaphore(sessions)
        self._acceptors: list[asyncssh.SSHAcceptor] = []
        self._refusing: list[socket.socket] = []
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._sessions: set[asyncio.Task[None]] = set()

    async def listen(
        self, host_key: asyncssh.SSHKey, lets_in: asyncssh.SSHKey, node: DemoNode, state: Path
    ) -> int:
        """Start one node's server; return its port. lets_in: the key that may log in."""
        acceptor = await asyncssh.listen(
            LOOPBACK,
            0,
            config=None,
            server_factory=partial(_Visitors, self._connections, self._mesh, node),
            server_host_keys=[host_key],
            authorized_client_keys=asyncssh.import_authorized_keys(lets_in.export_public_key().decode()),
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
        if read_follow_request(command) is not None:
            # It goes on as long as its client does, and would hold a place that others wait for.
            await self._run(command, state, process)
            return
        async with self._room:
            if not process.is_closing():  # else its client went away while it waited
                await self._run(command, state, process)

    async def _run(self, command: str, state: Path, process: asyncssh.SSHServerProcess[bytes]) -> None:
        changes = f" {CHANGES} " in command
        path = self._changing_path if changes else self._path
        child = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=state,
            env={"PATH": path, "HOME": str(state), "LC_ALL": "C", "WGAUDIT_DEMO_NODE": str(state)},
            # A group of its own: all that the command started ends with it, and a Ctrl-C in the
            # terminal reaches the audit alone.
            start_new_session=True,
        )
        conversation = _changed(child, process) if changes else _converse(child, process)
        answered = asyncio.ensure_future(conversation)
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
    """Set of the open connections, so that they can be closed at the end; the way from one into the mesh."""

    def __init__(
        self, connections: set[asyncssh.SSHServerConnection], mesh: AnsweringNodes, node: DemoNode
    ) -> None:
        self._connections = connections
        self._mesh = mesh
        self._node = node
        self._own: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._own = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncssh's signature)
        if self._own is not None:
            self._connections.discard(self._own)

    def connection_requested(
        self,
        dest_host: str,
        dest_port: int,
        orig_host: str,  # noqa: ARG002  (asyncssh's signature)
        orig_port: int,  # noqa: ARG002
    ) -> Awaitable[asyncssh.SSHTCPSession[bytes]]:
        return self._mesh.connect(self._node, dest_host, dest_port)


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


async def _changed(child: asyncio.subprocess.Process, process: asyncssh.SSHServerProcess[bytes]) -> int:
    """Run a script that changes a node, in the node's own root; return its exit status."""
    script = await process.stdin.read()
    output, errors = await child.communicate(rooted(script))
    process.stdout.write(unrooted(output))
    process.stderr.write(errors)
    await process.stdout.drain()
    return child.returncode if child.returncode is not None else 1


async def _feed(source: asyncssh.SSHReader[bytes], target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
    target.close()


async def _carry(source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
    while chunk := await source.read(_CHUNK):
        target.write(chunk)
        await target.drain()
