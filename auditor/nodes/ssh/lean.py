"""Connection of the SSH library with fewer packets, fewer writes and fewer round trips.

The cost of a node in a sweep is mostly the handshake, and much of that is the kernel's work for each small
write and the event loop's for each answer. Left out, against the library's own connection:

- options built anew in a thread for each connection: they are copied;
- an empty message before each encrypted one. It guards ciphers in CBC mode and stays there;
- a write for each message: what belongs together goes out together;
- the `none` login that only asks which ways there are, and the question whether a key would do: a key that
  needs nobody's consent is shown with its signature right away. `none` is tried when all else has failed;
- texts for a log that is off.

Not all overridden methods are documented. So it is used with the releases whose insides were looked at. With any
other the library's own connection is used, which the log says at INFO.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate

from auditor.nodes.patterns import lowered, matches
from auditor.nodes.ssh.host_keys import Lookup
from auditor.nodes.ssh.login import Destination

log = logging.getLogger(__name__)

LOOKED_AT = "2.24."
"""Releases of the library that this was written against."""
IN_USE = asyncssh.__version__.startswith(LOOKED_AT)

_MSG_IGNORE = 2
_MSG_CHANNEL_CLOSE = 97
_QUESTION, _SIGNED = b"\0", b"\1"
_MOST_WORDS = 2048
"""Bytes kept of what a server says before its version."""
_HELD = 0.2
"""Seconds that the end of a channel waits for something to go with: the next channel, or the good-bye."""


async def connect(
    destination: Destination,
    *,
    tunnel: asyncssh.SSHClientConnection | None,
    sock: socket.socket | None,
    keys: Sequence[asyncssh.SSHKeyPair],
    known_hosts: Lookup,
    algorithms: str,
    client_factory: Callable[[], asyncssh.SSHClient],
) -> asyncssh.SSHClientConnection:
    """Connect as `asyncssh.connect` does: over the tunnel, or the socket, which is taken over. Raises the same.

    `algorithms` of host keys: empty for those of the known keys.
    """
    options, host, port = destination.options, destination.host, destination.port
    if not IN_USE:
        _log_off(f"asyncssh {asyncssh.__version__} is in use")
        return await asyncssh.connect(
            host,
            port,
            options=options,
            config=None,
            tunnel=tunnel,
            sock=sock,
            username=destination.user,
            host_key_alias=destination.alias or None,
            client_keys=list(keys) or None,
            known_hosts=known_hosts,
            server_host_key_algs=algorithms or (),
            client_factory=client_factory,
        )
    from asyncssh.connection import _connect
    from asyncssh.saslprep import saslprep

    mine = copy.copy(options)
    mine.orig_host = host
    mine.host = host
    mine.port = port
    mine.tunnel = tunnel
    mine.username = saslprep(destination.user)
    mine.host_key_alias = destination.alias or None
    mine.known_hosts = cast(Any, known_hosts)  # its type there is one of its forms
    mine.server_host_key_algs = algorithms or ()
    mine.protocol_factory = client_factory
    mine.client_keys = list(keys)
    loop = asyncio.get_running_loop()
    return await _connect(
        mine,
        None,
        loop,
        0,
        sock,
        lambda: _LeanConnection(loop, mine, wait="auth"),
        "Opening SSH connection to",
    )


@lru_cache
def _log_off(why: str) -> None:
    """Log once that connections cost more than they need to."""
    log.info("lean SSH connections are off: %s; each login costs more time", why)


class _LeanConnection(asyncssh.SSHClientConnection):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._logger = _quiet
        self._unsent: list[bytes] = []
        self._due = self._held = False
        self._auth_methods = [b"publickey"]
        self._asked_for_none = False
        self._key_in_turn: asyncssh.SSHKeyPair | None = None
        self.said_before_version = bytearray()
        """Lines before the version, and what else came where none did."""

    # --- what goes out ---

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype == _MSG_IGNORE and b"-cbc" not in self._enc_alg_cs:
            return
        self._held = pkttype == _MSG_CHANNEL_CLOSE
        super().send_packet(pkttype, *args, handler=handler)

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None:
            return
        self._unsent.append(data)
        if self._due:
            return
        if self._held:
            self._loop.call_later(_HELD, self._flush, transport)
        else:
            # Before whatever closes the transport, which the library leaves to a later turn of the loop too.
            self._due = True
            self._loop.call_soon(self._flush, transport)

    def _flush(self, transport: asyncio.Transport) -> None:
        self._due = False
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            try:
                transport.write(data)
            except ConnectionError:
                # A tunnel that is gone. As for any lost connection, its end comes by `connection_lost`.
                return

    # --- what comes in before the version ---

    def _recv_version(self) -> bool:
        line, end, _ = self._inpbuf.partition(b"\n")
        if end and not line.startswith(b"SSH-"):
            self.said_before_version += (line + end)[: _MOST_WORDS - len(self.said_before_version)]
        return super()._recv_version()

    def connection_lost(self, exc: Exception | None = None) -> None:
        if not self._server_version:
            self.said_before_version += self._inpbuf[: _MOST_WORDS - len(self.said_before_version)]
        super().connection_lost(exc)

    # --- trust ---

    def _validate_openssh_host_certificate(
        self, host: str, addr: str, port: int, cert: SSHOpenSSHCertificate
    ) -> asyncssh.SSHKey:
        """Trust a certificate as ssh does: names may be patterns, and a plain key counts where it does not."""
        revoked = self._revoked_host_keys
        if cert.signing_key in revoked or cert.key in revoked:
            raise ValueError("Host key is revoked")
        try:
            principals = cert.principals
            if principals and not any(matches(lowered(host), name) for name in principals):
                raise ValueError("Host certificate is for another name")
            super()._validate_openssh_host_certificate(
                principals[0] if principals else host, addr, port, cert
            )
        except ValueError:
            keys = self._trusted_host_keys
            if keys is None or self._owner is None:
                raise
            if cert.key not in keys and not self._owner.validate_host_public_key(host, addr, port, cert.key):
                raise
        return cert.key

    # --- logging in ---

    def try_next_auth(self, *, next_method: bool = False) -> None:
        if not self._asked_for_none and not self._auth_methods[next_method:]:
            self._asked_for_none = True
            self._auth_methods.append(b"none")
        super().try_next_auth(next_method=next_method)

    async def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
        self._key_in_turn = await super().public_key_auth_requested()
        return self._key_in_turn

    async def send_userauth_request(
        self, method: bytes, *args: bytes, key: Any = None, trivial: bool = True
    ) -> None:
        shown = self._key_in_turn
        # An agent or a token may ask its owner to confirm a signature: only for a key that is welcome.
        if method == b"publickey" and args[0] == _QUESTION and shown is not None and _signs_at_once(shown):
            args, key, trivial = (_SIGNED, *args[1:]), shown, False
        await super().send_userauth_request(method, *args, key=key, trivial=trivial)

    # --- texts for a log that is off ---

    def log_sent_packet(self, *_: Any) -> None:
        return

    def log_received_packet(self, *_: Any) -> None:
        return


def _signs_at_once(key: asyncssh.SSHKeyPair) -> bool:
    return not (hasattr(key, "sign_async") or key.use_executor)


class _Quiet(type(asyncssh.logging.logger)):  # type: ignore[misc]
    """Logger of the library, without texts for levels that `access.py` has switched off."""

    def info(self, *_: Any, **__: Any) -> None:
        return

    debug = debug1 = debug2 = info

    def get_child(self, *_: Any, **__: Any) -> _Quiet:
        return self


_quiet = _Quiet()
