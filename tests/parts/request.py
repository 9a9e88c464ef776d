"""One plain HTTP request."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """What to ask. Proxies, netrc and the environment have no say in it."""

    url: str
    method: str = "GET"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""
    cert: str = ""
    key: str = ""
    timeout: float = 5.0


@dataclass(frozen=True)
class Answer:
    """What came back. `status` 0: nothing did, and `body` says why."""

    status: int
    body: bytes


def ask(request: Request) -> Answer:
    """Asks from this process. Never raises for a server that is not there."""
    parts = urlsplit(request.url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=request.ca or None)
        if request.cert:
            context.load_cert_chain(request.cert, request.key)
        connection = http.client.HTTPSConnection(host, port, timeout=request.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=request.timeout)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    try:
        connection.request(request.method, path, request.body, dict(request.headers))
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error).encode())
    finally:
        connection.close()
