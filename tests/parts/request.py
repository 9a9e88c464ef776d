"""One plain HTTP request, made from this process or, run as a script, from inside a network namespace.

As a script it takes one JSON line on stdin and prints one on stdout; bodies travel as base64. It
imports nothing of this repository, so that it starts fast and needs no working folder.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """What to ask. Proxies, netrc and the environment have no say in it."""

    url: str
    method: str = "GET"
    body: str = ""
    """base64"""
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
        connection.request(request.method, path, base64.b64decode(request.body), dict(request.headers))
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error).encode())
    finally:
        connection.close()


def ask_from(command_prefix: Sequence[str], request: Request) -> Answer:
    """Asks from wherever `command_prefix` (`ip netns exec NS` …) leads; from here if it is empty."""
    if not command_prefix:
        return ask(request)
    done = subprocess.run(
        [*command_prefix, sys.executable, "-I", str(Path(__file__).resolve())],
        input=json.dumps(asdict(request)).encode(),
        capture_output=True,
        check=False,
        timeout=request.timeout + 20,
    )
    if done.returncode:
        return Answer(0, done.stderr[-300:])
    document = json.loads(done.stdout)
    return Answer(document["status"], base64.b64decode(document["body"]))


if __name__ == "__main__":
    answer = ask(Request(**json.load(sys.stdin)))
    json.dump({"status": answer.status, "body": base64.b64encode(answer.body).decode()}, sys.stdout)
