"""Connections to Consul that can be abandoned: a call ends when its time is over, whatever the other side does.

`requests` bounds each wait for bytes, not the call: a header of one byte a second, `100 Continue` without end, trailers
that drip and a resolver that hangs would hold a program for ever. So a call runs in a thread of its own; when its time
is over, its sockets are shut and it is left behind.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def bounded(call: Callable[[Callable[[], None]], T], *, first: float, whole: float) -> T:
    """Run a call in a thread of its own, and wait for it no longer than this.

    call: gets a function to call as soon as the answer begins. first: seconds until then; whole: seconds for all of it.
    Raises `TimeoutError` where it is left behind, and whatever the call raises.
    """
    future: Future[T] = Future()
    begun = threading.Event()

    def work() -> None:
        try:
            future.set_result(call(begun.set))
        except BaseException as error:  # noqa: BLE001  (the future's reader gets it)
            future.set_exception(error)
        finally:
            begun.set()

    deadline = time.monotonic() + whole
    threading.Thread(target=work, daemon=True, name="wgaudit-consul").start()
    if not begun.wait(min(first, whole)):
        raise TimeoutError
    return future.result(max(0.0, deadline - time.monotonic()))


class Line:
    """Session with one server, and the sockets that it holds; `cut` ends all calls on them."""

    def __init__(self, socket_path: str = "", server_name: str = "") -> None:
        """Open no connection yet.

        socket_path: a Unix socket to connect to, whatever the URL says. server_name: for TLS, in place of the URL's.
        """
        self._sockets: set[socket.socket] = set()
        self._cut = False
        self._lock = threading.Lock()
        self.session = _Session()
        self.session.trust_env = False  # no proxy, netrc or CA bundle from the environment
        adapter = _Adapter(self, socket_path, server_name)
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, adapter)

    def hold(self, connected: socket.socket) -> None:
        """Remember a socket; shut it at once where the line was cut meanwhile."""
        with self._lock:
            self._sockets.add(connected)
            late = self._cut
        if late:
            _shut(connected)

    def cut(self) -> None:
        """Shut all sockets, so that a thread that reads from one ends."""
        with self._lock:
            self._cut = True
            held = tuple(self._sockets)
        for one in held:
            _shut(one)
        self.session.close()


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow nothing: `requests` would read a redirect's body whole, however large it is."""


class _Adapter(HTTPAdapter):
    """Adapter whose connections the line can cut."""

    def __init__(self, line: Line, socket_path: str, server_name: str) -> None:
        self._line = line
        self._socket_path = socket_path
        self._server_name = server_name
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        """Make the pool of connections, as the base class does."""
        if self._server_name:
            more["server_hostname"] = self._server_name
        super().init_poolmanager(connections, maxsize, block, **more)
        self.poolmanager.pool_classes_by_scheme = _pools(self._line, self._socket_path)


def _pools(line: Line, socket_path: str) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return self._unix_socket() if socket_path else super()._new_conn()

        def _unix_socket(self) -> socket.socket:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                made.settimeout(self.timeout)
                made.connect(socket_path)
            except OSError as error:
                made.close()
                raise NewConnectionError(self, "no connection to the socket") from error
            return made

        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                line.hold(self.sock)

    class Encrypted(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            if self.sock is not None:
                line.hold(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _shut(connected: socket.socket) -> None:
    try:
        # Not the method of an SSL socket: that one forgets its encryption while another thread still reads.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself
