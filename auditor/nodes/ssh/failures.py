"""Failures of connecting and logging in, each as a `ProbeError` with advice."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable

import asyncssh

from auditor.errors import GapReason, NotReached, ProbeError
from auditor.nodes.accounts import account_advice
from auditor.nodes.framing import cleaned
from auditor.nodes.ssh.dial import Approach

_ERRNO = re.compile(r"\[Errno (\d+)\]")
_MOST_WORDS = 2048
"""Characters kept of what a server says while logging in."""
_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_LOST = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)

# Any of these may come out of the SSH library for what a server or a network does.
EXPECTED = (OSError, asyncssh.Error, asyncssh.KeyImportError, ValueError)


Trusts = Callable[[asyncssh.SSHKey], bool]
"""Of the key that was shown."""


class Watch(asyncssh.SSHClient):
    """Watcher of a connection's progress and of the host key shown; trusts nothing by itself."""

    def __init__(self, trusts: Trusts) -> None:
        self._trusts = trusts
        self._connection: asyncssh.SSHClientConnection | None = None
        self.shown: asyncssh.SSHKey | None = None
        self.authority: asyncssh.SSHKey | None = None
        self._banner = ""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002  (the library's words)
        self._banner += msg[: _MOST_WORDS - len(self._banner)]

    @property
    def banner(self) -> bool:
        """Tell whether the server sent a text while logging in."""
        return bool(self._banner)

    def said(self) -> str:
        """Text that the server sent, before its version or while logging in."""
        early = bytes(getattr(self._connection, "said_before_version", b""))
        return " ".join((early.decode("utf-8", "replace") + " " + self._banner).split())

    @property
    def connected(self) -> bool:
        """Tell whether there was a connection at all."""
        return self._connection is not None

    @property
    def greeted(self) -> bool:
        """Tell whether an SSH server sent its version."""
        return self._connection is not None and bool(self._connection.get_extra_info("server_version"))

    def ended_before_host_key(self, error: Exception) -> bool:
        """Tell whether an SSH server answered and then hung up before it had shown a key."""
        return (
            isinstance(error, (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionResetError))
            and self._connection is not None
            and self._connection.get_extra_info("server_version") is not None
            and self._connection.get_server_host_key() is None
        )

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002  (the library's words)
        self.shown = key
        return self._trusts(key)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002  (the library's words)
        self.authority = key
        return False


def host_key_detail(error: Exception, watch: Watch, known: int, where: str, file: str) -> str:
    """Word a refused host key (unknown, changed, not signed): the key shown, the file that decided, what to do."""
    if watch.authority is not None:
        shown = f"a certificate by authority {watch.authority.get_fingerprint()}"
        return f"{where} shows {shown}, which {file} does not list as @cert-authority for it"
    if watch.shown is None:
        # Revoked, expired, for another name, or of a kind that the known key is not.
        return f"{where}: {cleaned(str(error))} ({file})"
    shown = f"{watch.shown.get_algorithm()} {watch.shown.get_fingerprint()}"
    if "revoked" in str(error):
        return f"{where} shows {shown}, which {file} revokes"
    if known:
        return f"{where} shows {shown}, but {file} holds another key for it: reinstalled, or not that server"
    return f"{where} shows {shown}, and {file} has no key for it: verify it there, then add it (ssh-keyscan)"


_THROTTLED = re.compile(r"exceeded maxstartups|not allowed at this time", re.IGNORECASE)
"""A server's words when it takes no more connections, from anybody or from this address, for a while."""


def timed_out(watch: Watch, way: Approach) -> str:
    """Word the progress of a connection that timed out."""
    said = cleaned(watch.said() or way.said())
    if watch.connected:
        state = "connected, but the login did not end"
    else:
        faults = [f"{address}: {_os_text(error)}" for address, error in way.faults]
        state = "; ".join(
            [f"no answer from {' and '.join(way.silent)}" if way.silent else "no answer", *faults]
        )
    return f"{state}; it says: {said};" if said else state


def from_connecting(
    error: Exception, where: str, *, said: str = "", banner: bool = False, agent: str = ""
) -> ProbeError:
    """Map an exception of connecting and logging in, host keys apart: those are worded by `host_key_detail`.

    `said`: the server's last words, or its proxy command's. `banner`: some of them came while logging in. `agent`:
    what is wrong with the ssh agent.
    """
    words = cleaned(said)
    if _THROTTLED.search(said):
        return ProbeError(GapReason.THROTTLED, f"{where}: takes no more connections for now: {words}")
    found = _from_connecting(error, where)
    if words:
        advice = account_advice(said)
        if banner and found.reason is GapReason.CONNECTION_LOST:
            # PAM's word against an account, such as that of /etc/nologin, comes so, and then the server hangs up.
            advice = advice or "see /etc/nologin and PAM's rules for accounts there"
            found = ProbeError(GapReason.AUTH, found.detail)
        hint = f"; {advice}" if advice and found.reason is GapReason.AUTH else ""
        found = ProbeError(found.reason, f"{found.detail}; it says: {words}{hint}")
    if agent and found.reason is GapReason.AUTH:
        found = ProbeError(found.reason, f"{found.detail}; {agent}")
    return found


def _from_connecting(error: Exception, where: str) -> ProbeError:
    said = cleaned(str(error))
    match error:
        case socket.gaierror():
            return ProbeError(GapReason.RESOLVE, f"{where}: {error.strerror or said}")
        case TimeoutError():
            return ProbeError(GapReason.CONNECT_TIMEOUT, f"{where}: no answer in time")
        case asyncssh.PermissionDenied():
            return ProbeError(GapReason.AUTH, f"{where}: {said}")
        case asyncssh.ConnectionLost():
            return ProbeError(GapReason.CONNECTION_LOST, f"{where}: connection lost during login: {said}")
        case asyncssh.ChannelOpenError():
            return _from_jump(said, where)
        case asyncssh.DisconnectError() if "authentication failures" in error.reason:
            return ProbeError(GapReason.AUTH, f"{where}: {said}; name the key in ssh.identity_files")
        case asyncssh.Error():
            return ProbeError(GapReason.SSH_PROTOCOL, f"{where}: {said}")
        case NotReached():
            return _from_addresses(error, where)
        case OSError():
            return _from_os(error, where)
    return ProbeError(GapReason.SSH_PROTOCOL, f"{where}: {said}")


def _from_addresses(error: NotReached, where: str) -> ProbeError:
    """Map the failures of all addresses of a name: silence outweighs a refusal, for it may pass."""
    found = [(address, _from_os(fault, address)) for address, fault in error.faults]
    reasons = [one.reason for _, one in found]
    reason = next((one for one in _HEAVIEST if one in reasons), reasons[0])
    return ProbeError(reason, f"{where}: {'; '.join(one.detail for _, one in found)}")


_HEAVIEST = (
    GapReason.INTERNAL,
    GapReason.CONNECT_TIMEOUT,
    GapReason.CONNECTION_LOST,
    GapReason.CONNECT_REFUSED,
)


def _os_text(error: OSError) -> str:
    # The event loop puts its own words, with the whole address, in the place of the system's.
    return cleaned(os.strerror(error.errno).lower() if error.errno else str(error))


def _from_os(error: OSError, where: str) -> ProbeError:
    # Some errors have all their causes in one text, and no number.
    numbers = {error.errno} if error.errno else {int(number) for number in _ERRNO.findall(str(error))}
    text = _os_text(error)
    if numbers.intersection(_OUT_OF_FILES):
        return ProbeError(
            GapReason.INTERNAL, f"{where}: {text} here; lower ssh.concurrency or raise `ulimit -n`"
        )
    if errno.ECONNREFUSED in numbers:
        return ProbeError(GapReason.CONNECT_REFUSED, f"{where}: connection refused")
    if errno.ETIMEDOUT in numbers:
        return ProbeError(GapReason.CONNECT_TIMEOUT, f"{where}: no answer in time")
    if numbers.intersection(_LOST):
        return ProbeError(GapReason.CONNECTION_LOST, f"{where}: {text}")
    return ProbeError(GapReason.UNREACHABLE, f"{where}: {text}")


def _from_jump(said: str, where: str) -> ProbeError:
    """Map a jump host's refusal to connect on; it says why in the words of its own resolver and kernel."""
    lowered = said.lower()
    reason = GapReason.UNREACHABLE
    if "refused" in lowered:
        reason = GapReason.CONNECT_REFUSED
    elif "timed out" in lowered:
        reason = GapReason.CONNECT_TIMEOUT
    elif "name or service" in lowered or "name resolution" in lowered or "unknown host" in lowered:
        reason = GapReason.RESOLVE
    elif "prohibited" in lowered:
        reason = GapReason.SSH_PROTOCOL
    return ProbeError(reason, f"{where}: the jump host says: {said}")
