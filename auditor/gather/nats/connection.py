"""Connection to the NATS server: checked before a word is said to it, and made anew for as long as it is held."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client, Server
from nats.errors import AuthorizationError, Error, SlowConsumerError, UnexpectedEOF

from auditor.errors import ConfigError, NatsAway
from auditor.gather.nats.nats_login import NatsLogin
from auditor.values.text import for_detail

log = logging.getLogger(__name__)


def _of_a_closing(record: logging.LogRecord) -> bool:
    """Leave out what asyncio says of each server that closes a connection with TLS, for the library's way of it."""
    return not record.getMessage().startswith("returning true from eof_received")


logging.getLogger("asyncio").addFilter(_of_a_closing)

CONNECT_WITHIN = 10.0
"""Seconds within which a first connection is there, or it is said why not."""
CLOSED_WITHIN = 0.5
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
"""Seconds before a lost connection is made anew: twice as many each time, up to the longest, each with jitter."""
PING_EACH, MOST_PINGS = 10, 2
"""Seconds between two pings of the server, and pings without an answer after which the connection is lost."""
LOST_FOR = 30.0
"""Seconds after which a lost connection is given up, and the next one begins from nothing."""
HELD = 4 * 1024 * 1024
"""Bytes that are held while the server is away; more are refused."""

SLOW_SAID_EACH = 60.0
"""Seconds between two lines that say that messages were lost: whoever sends too many decides how many those are."""

_MOST_SAID = 300
_NO_RESPONDERS = b"NATS/1.0 503\r\n\r\n"

# Whatever the library lets out for what a server or a network does.
EXPECTED = (OSError, Error, TimeoutError, ValueError)


class _NotConnected(Exception):
    """The first connection failed; its cause says how."""


class _UnsafeServer(Error):
    """The server wants to be spoken to without TLS, or stands at an address of the mesh."""


class GuardedClient(Client):
    """Client that checks each server it is connected to, the first time and each further one, before it says a word.

    The library takes TLS as the server's offer: to one that does not ask for it, `tls://` is spoken in the clear.
    """

    def __init__(self, login: NatsLogin) -> None:
        super().__init__()
        self._login = login

    def _connect_command(self) -> bytes:
        writer = getattr(self._transport, "_io_writer", None)
        if self._login.tls is not None and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise _UnsafeServer(f"{self._login.server} speaks no TLS; a server of tls:// must ask for it")
        peer = writer.get_extra_info("peername") if writer is not None else None
        if isinstance(peer, tuple) and self._login.in_mesh(str(peer[0])):
            raise _UnsafeServer(self._login.mesh_words(str(peer[0])))
        return super()._connect_command()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Take in a message, of its headers only the server's word that nobody is there.

        Others publish the names and headers of messages. Where the library cannot read one, it prints a traceback, or
        one line each, and ends its reading for good: of everybody, in silence.
        """
        try:
            subject.decode(), reply.decode()
        except UnicodeDecodeError:
            log.debug("NATS: a message with a name that is no text is left out")
            return
        status = _NO_RESPONDERS if headers and headers.startswith(_NO_RESPONDERS[:12]) else b""
        await super()._process_msg(sid, subject, reply, data, status)

    async def _process_pong(self) -> None:
        """Take in a pong. Where its flush was given up meanwhile, the library ends its reading for good."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    @property
    def asks_for_login(self) -> bool:
        """Tell whether the server lets nobody in without a login."""
        return bool(self._server_info.get("auth_required", False))


class NatsConnection:
    """Open connection. After a loss it is made anew, unless the server said something that ends it: see `closed`."""

    def __init__(self, login: NatsLogin, complain: Callable[[str], None]) -> None:
        self.login = login
        self.client = GuardedClient(login)
        self.closed = asyncio.Event()
        """Set when it will not be made anew: open another one."""
        self.connected = asyncio.Event()
        """Set while the server is there."""
        self.refusals: list[str] = []
        """What the server did not permit, in its words."""
        self._complain = complain
        self._begun = False
        self._first = True
        self._lost_at: float | None = None
        self._slow_said_at = -SLOW_SAID_EACH
        self._given_up: asyncio.TimerHandle | None = None

    async def open(self, inbox: str) -> None:
        """Connect. Raises `ConfigError` for a server in the mesh, and `NatsAway`.

        inbox: prefix of the inboxes of this side.
        """
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await self._check_name()
                await self._connect(inbox)
        except TimeoutError:
            await self.close()
            raise NatsAway(f"{self.login.server}: no answer within {CONNECT_WITHIN:.0f} s") from None
        except _NotConnected as refused:
            await self.close()
            cause = refused.__cause__
            raise NatsAway(f"{self.login.server}: {_words(cause, self.login)}") from None
        except BaseException:
            await self.close()
            raise
        self._first = False
        self.connected.set()

    async def _check_name(self) -> None:
        """Look the server's name up, and refuse one that leads into the mesh."""
        server = self.login.server
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                server.host, server.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            raise _NotConnected from error
        for *_, address in found:
            if self.login.in_mesh(str(address[0])):
                raise ConfigError(f"{self.login.mesh_words(str(address[0]))} ({server.host} resolves to it)")

    async def _connect(self, inbox: str) -> None:
        self._begun = True
        options: dict[str, Any] = {}
        if self.login.seed is not None:
            options["nkeys_seed_str"] = self.login.seed.get_secret_value()
        if self.login.tls is not None:
            options["tls"] = self.login.tls
            options["tls_hostname"] = self.login.server.host
        try:
            await self.client.connect(
                str(self.login.server),
                name="wgaudit",
                inbox_prefix=inbox,
                error_cb=self._error,
                disconnected_cb=self._disconnected,
                reconnected_cb=self._reconnected,
                closed_cb=self._closed,
                connect_timeout=round(CONNECT_WITHIN) or 1,  # whole seconds
                max_reconnect_attempts=-1,
                reconnect_to_server_handler=self._again,
                ping_interval=PING_EACH,
                max_outstanding_pings=MOST_PINGS,
                pending_size=HELD,
                flush_timeout=CONNECT_WITHIN,
                **options,
            )
        except EXPECTED as error:
            raise _NotConnected from error

    async def close(self) -> None:
        """Close it, without waiting for a server that does not answer."""
        self._first = False
        self._no_timer()
        if not self._begun:
            return
        # A handshake of TLS that failed is waited for without end, and the library swallows a cancel on its way.
        closing = asyncio.create_task(self.client.close())
        closing.add_done_callback(_looked_at)
        await asyncio.wait({closing}, timeout=CLOSED_WITHIN)
        closing.cancel()
        self.closed.set()

    @property
    def max_payload(self) -> int:
        """Bytes that the server takes in one message."""
        return self.client.max_payload

    async def settle(self) -> None:
        """Wait until the server has taken all that was said so far, and what it did not permit is in `refusals`.

        Raises what `EXPECTED` names.
        """
        # The library's ping overtakes what waits to be written; that is gone when the first one was answered.
        await self.client.flush()
        await self.client.flush()

    def _no_timer(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None

    # -- what the library tells

    async def _error(self, error: Exception) -> None:
        if self._first:
            # Ends the library's tries: it would go on for ever, whatever the reason.
            raise _NotConnected from error
        words = _words(error, self.login)
        if "ermissions violation" in str(error):
            self.refusals.append(words)
        elif isinstance(error, SlowConsumerError):
            now = asyncio.get_running_loop().time()
            if now - self._slow_said_at < SLOW_SAID_EACH:
                return
            self._slow_said_at = now
            words = "messages were lost: they came faster than they could be taken"
        elif self._lost_at is not None or isinstance(error, OSError | UnexpectedEOF):
            log.debug("NATS: %s", words)  # it is said once that the connection is lost, and not for each try
            return
        self._complain(f"NATS {self.login.server}: {words}")

    async def _disconnected(self) -> None:
        self.connected.clear()
        if self._lost_at is None and not self.client.is_closed:
            loop = asyncio.get_running_loop()
            self._lost_at = loop.time()
            # Whatever ends the library's tries: some faults of a server end them without a word.
            self._given_up = loop.call_later(LOST_FOR, self.closed.set)
            self._complain(f"NATS {self.login.server}: connection lost; trying again")

    async def _reconnected(self) -> None:
        self.connected.set()
        if self._lost_at is not None:
            seconds = asyncio.get_running_loop().time() - self._lost_at
            self._lost_at = None
            self._no_timer()
            self._complain(f"NATS {self.login.server}: back after {seconds:.1f} s")

    async def _closed(self) -> None:
        self.closed.set()

    def _again(self, servers: list[Server], said: dict[str, Any]) -> tuple[Server | None, float]:  # noqa: ARG002
        """Choose the server to connect to after a loss, and the pause before: the configured one, and none that another
        server named.
        """
        named = self.login.server
        chosen = next(
            (
                server
                for server in servers
                if (server.uri.hostname, server.uri.port) == (named.host.lower(), named.port)
            ),
            None,
        )
        tries = chosen.reconnects if chosen is not None else 0
        pause = min(FIRST_PAUSE * 2.0 ** min(tries, 10), LONGEST_PAUSE)
        return chosen, pause * random.uniform(0.5, 1.0)  # noqa: S311  (spreads the load, keeps no secret)


def _looked_at(closing: asyncio.Task[None]) -> None:
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.debug("closing the connection to NATS: %s", type(error).__name__)


@asynccontextmanager
async def open_nats(
    login: NatsLogin, inbox: str, complain: Callable[[str], None]
) -> AsyncIterator[NatsConnection]:
    """Open a connection, and close it in the end. inbox: prefix of this side's inboxes.

    complain: receives one line for what happens to it later. Raises `ConfigError` and `NatsAway`.
    """
    connection = NatsConnection(login, complain)
    await connection.open(inbox)
    try:
        yield connection
    finally:
        await connection.close()


def _words(error: BaseException | None, login: NatsLogin) -> str:
    """Word what went wrong, and what to do, in one line without secrets."""
    if isinstance(error, ssl.SSLError):
        return _tls_words(error)
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_WITHIN:.0f} s"
    if isinstance(error, OSError):
        # A refused certificate comes as TLS's own word, or as the end of the connection, whichever is read first.
        ended = error.strerror is None or isinstance(error, ConnectionError)
        hint = "; perhaps it wants a client certificate that it knows: see collectors.cert_file and collectors.key_file"
        refused = ended and not isinstance(error, ConnectionRefusedError) and login.tls is not None
        return f"{error.strerror or 'it hung up'}{hint if refused else ''}"
    said = for_detail(str(error))[:_MOST_SAID].removeprefix("nats: ")
    if isinstance(error, AuthorizationError) or "uthorization" in said:
        if not login.user:
            return "it wants a login; set collectors.nkey_file"
        return f"it does not let the user {login.user} in; enter that nkey in its configuration"
    if isinstance(error, ValueError) or "INFO" in said:
        return "what answers there is no NATS server"
    return said or type(error).__name__


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not accepted: {error.verify_message}; check collectors.ca_file and its name"
        )
    if any(words in str(error.reason) for words in ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE")):
        return "it wants a client certificate that it knows; see collectors.cert_file and collectors.key_file"
    return f"TLS failed: {for_detail(str(error.reason or error))[:_MOST_SAID]}"
