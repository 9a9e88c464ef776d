"""Connections on from a node, over the SSH connection to it (direct-tcpip): its sshd connects, nothing runs there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncssh

from auditor.errors import GapReason, ProbeError
from auditor.nodes.framing import cleaned
from auditor.nodes.known_hosts import KeyText
from auditor.nodes.ssh.failures import EXPECTED

_WINDOW = 16 * 1024
"""Bytes that the other side may send before any of them is read: a flood is held back where it begins."""
_COUNTING = (9, 8)
"""OpenSSH since which a server counts connections that end before a login (PerSourcePenalties)."""
_OPENSSH = re.compile(r"OpenSSH_([0-9]{1,4})\.([0-9]{1,4})")


class OnwardConnection:
    """TCP connection from a node to somewhere else."""

    def __init__(
        self, reader: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes], where: str
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._where = where

    async def read(self, most: int) -> bytes:
        """Read what has come, `most` bytes at most; b"" at its end. Raises `ProbeError`."""
        try:
            return await self._reader.read(most)
        except EXPECTED as error:
            raise _lost(error, self._where) from None

    def write(self, data: bytes) -> None:
        """Send data. Raises `ProbeError`."""
        try:
            self._writer.write(data)
        except EXPECTED as error:
            raise _lost(error, self._where) from None


@dataclass(frozen=True, slots=True)
class ShownHostKey:
    """Host key that an SSH server showed, with the version that it named before."""

    key: KeyText
    fingerprint: str
    """`SHA256:…`."""
    version: str


@asynccontextmanager
async def onward(
    connection: asyncssh.SSHClientConnection, host: str, port: int
) -> AsyncIterator[OnwardConnection]:
    """Connect on from the node. Raises `ProbeError`; unbounded in time, which is the caller's to bound."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        reader, writer = await connection.open_connection(host, port, window=_WINDOW)
    except EXPECTED as error:
        raise refused(error, where) from None
    try:
        yield OnwardConnection(reader, writer, where)
    finally:
        # Nobody waits for the other side's word: it may never come.
        writer.channel.abort()


async def shown_host_key(connection: asyncssh.SSHClientConnection, host: str, port: int) -> ShownHostKey:
    """Have an SSH server show its key, and hang up before any login. Raises `ProbeError`; unbounded in time."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    watch = _KeyWatch()
    try:
        opened = await asyncssh.connect(
            host,
            port,
            tunnel=connection,
            config=None,
            username="nobody",
            client_keys=None,
            agent_path=None,
            known_hosts=([], [], []),
            client_factory=lambda: watch,
        )
    except asyncssh.HostKeyNotVerifiable:
        pass  # as it was meant to end: the key was shown, and nobody trusts it here
    except EXPECTED as error:
        if counts_failed_logins(watch.version):
            raise logins_counted(where, watch.version) from None
        raise _no_key(error, where, watch) from None
    else:
        opened.abort()
        raise ProbeError(GapReason.UNREADABLE_ANSWER, f"{where}: let us in without a key of its own")
    if counts_failed_logins(watch.version):
        raise logins_counted(where, watch.version)
    if watch.key is None:
        raise ProbeError(GapReason.UNREADABLE_ANSWER, f"{where}: showed no host key that can be read")
    key = KeyText(watch.key.get_algorithm(), watch.key.public_data)
    return ShownHostKey(key, watch.key.get_fingerprint(), watch.version)


def counts_failed_logins(version: str) -> bool:
    """Tell by its version whether an SSH server counts connections that end before a login."""
    found = _OPENSSH.search(version)
    return found is not None and (int(found[1]), int(found[2])) >= _COUNTING


def logins_counted(where: str, version: str) -> ProbeError:
    """Word why a server is not asked for its host key."""
    return ProbeError(
        GapReason.LOGINS_COUNTED,
        f"{where}: {cleaned(version)} counts connections without a login against the node that asks",
    )


class _KeyWatch(asyncssh.SSHClient):
    def __init__(self) -> None:
        self._connection: asyncssh.SSHClientConnection | None = None
        self.key: asyncssh.SSHKey | None = None

    @property
    def version(self) -> str:
        found = self._connection.get_extra_info("server_version") if self._connection is not None else None
        return str(found or "")

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002  (the library's words)
        self.key = key
        return False


_PROHIBITED = (
    "the node's sshd does not connect on for this key: its line in authorized_keys needs port-forwarding, and "
    "permitopen for this port"
)


def refused(error: Exception, where: str) -> ProbeError:
    """Map an exception of connecting on from a node."""
    said = cleaned(str(error))
    if isinstance(error, asyncssh.ChannelOpenError):
        # 2 is a connection that failed, in the words of the node's kernel; all else, that there was not even a try.
        if error.code != asyncssh.OPEN_CONNECT_FAILED:
            return ProbeError(GapReason.FORWARDING_REFUSED, f"{where}: {_PROHIBITED} ({said})")
        late = "timed out" in said.lower()
        return ProbeError(GapReason.NO_ANSWER if late else GapReason.ANSWER_REFUSED, f"{where}: {said}")
    return _lost(error, where)


def _lost(error: Exception, where: str) -> ProbeError:
    return ProbeError(GapReason.CONNECTION_LOST, f"{where}: {cleaned(str(error)) or type(error).__name__}")


def _no_key(error: Exception, where: str, watch: _KeyWatch) -> ProbeError:
    if isinstance(error, asyncssh.ChannelOpenError):
        return refused(error, where)
    if watch.version or isinstance(error, asyncssh.Error):
        return ProbeError(GapReason.UNREADABLE_ANSWER, f"{where}: {cleaned(str(error))}")
    return _lost(error, where)
