"""Question to the page of a watch on this machine, as its settings say that it listens."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from pathlib import Path

from auditor.settings.secret import secret_in_file
from auditor.settings.watch import PageAddress, WatchSettings
from auditor.values.text import one_line

USER = "wgaudit"
_WITHIN = 5.0  # seconds
_WITHIN_IN_ALL = 30.0
_LONGEST_ANSWER = 200
_CHUNK = 256 * 1024
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (names of any address, and what reaches it)


class _SocketFile(http.client.HTTPConnection):
    """Connection over a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask_page(settings: WatchSettings, address: PageAddress, path: str) -> tuple[int, str]:
    """Ask for a path; return status and the answer's first words. Raises `OSError`, `ConfigError` for the password."""
    status, raw = page_answer(settings, address, path, _LONGEST_ANSWER)
    return status, one_line(raw.decode(errors="replace"), most=_LONGEST_ANSWER)


def page_answer(settings: WatchSettings, address: PageAddress, path: str, most: int) -> tuple[int, bytes]:
    """Ask for a path; return status and at most so many bytes of the answer, read within seconds.

    Raises `OSError`, and `ConfigError` for the password.
    """
    headers = {}
    if settings.password_file is not None:
        secret = secret_in_file(settings.password_file, "watch.password_file", "the page's password")
        login = base64.b64encode(f"{USER}:{secret.get_secret_value()}".encode()).decode()
        headers["Authorization"] = f"Basic {login}"
    connection, deadline = _connection(settings, address), time.monotonic() + _WITHIN_IN_ALL
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = bytearray()
        # read1 returns what has come: an answer that drips then does not hold us for long.
        while len(body) < most and (chunk := answer.read1(min(_CHUNK, most - len(body)))):
            body += chunk
            if time.monotonic() > deadline:
                raise TimeoutError("its answer takes too long")
        return answer.status, bytes(body)
    except http.client.HTTPException as error:
        raise OSError(f"what answers there speaks no HTTP: {type(error).__name__}") from None
    finally:
        connection.close()


def _connection(settings: WatchSettings, address: PageAddress) -> http.client.HTTPConnection:
    if address.path is not None:
        return _SocketFile(address.path)
    host = _EVERYWHERE.get(address.host, address.host)
    if settings.cert_file is None:
        return http.client.HTTPConnection(host, address.port, timeout=_WITHIN)
    # The page's own certificate, and nobody else's; its name is what browsers use, not what is asked here.
    context = ssl.create_default_context(cafile=str(settings.cert_file))
    context.check_hostname = False
    return http.client.HTTPSConnection(host, address.port, timeout=_WITHIN, context=context)
