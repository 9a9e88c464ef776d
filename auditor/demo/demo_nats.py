"""NATS server of the demo's collectors: a real nats-server on loopback, with a user for each side and what it may do.

The permissions are those of docs/collectors.md. TLS there is none: nothing leaves this machine.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from auditor.demo.node_programs import write
from auditor.demo.started import started

LOOPBACK = "127.0.0.1"
SBIN = ("/usr/sbin", "/usr/local/sbin", "/sbin")
"""Where Debian's package puts it, which is not on every user's path."""
_LISTENS = re.compile(r"Listening for client connections on \S+:([0-9]+)$")
_READY = re.compile("Server is ready")

_AUDITOR = """\
AUDITOR: {
  publish: { allow: ["wgaudit.collect.*", "wgaudit.job.*.*", "$SRV.STATS.wgaudit-collector"] }
  subscribe: { allow: ["wgaudit.seen.*.*", "_INBOX_auditor.>"] }
}
"""
_COLLECTOR = """\
{name}: {{
  publish: {{ allow: ["wgaudit.seen.{region}.*"] }}
  subscribe: {{ allow: ["wgaudit.collect.{region}", "wgaudit.job.{region}.*", "$SRV.>"] }}
  allow_responses: {{ max: 1, expires: "1m" }}
}}
"""


def nats_program(path: str) -> str | None:
    """Find nats-server; None: there is none. path: as the environment has it."""
    return shutil.which("nats-server", path=os.pathsep.join([path, *SBIN]))


def server_configuration(auditor: str, collectors: Mapping[str, str]) -> str:
    """Return the server's configuration. auditor, collectors: public nkeys, of collectors by region."""
    users = [(auditor, "AUDITOR"), *((key, region.upper()) for region, key in collectors.items())]
    permitted = [_COLLECTOR.format(name=region.upper(), region=region) for region in collectors]
    return "\n".join(
        [
            f'server_name: demo\nlisten: "{LOOPBACK}:-1"\n',
            _AUDITOR,
            *permitted,
            "authorization {\n  users: [",
            *(f'    {{ nkey: "{key}", permissions: ${name} }}' for key, name in users),
            "  ]\n}\n",
        ]
    )


@asynccontextmanager
async def serve_nats(program: str, folder: Path, configuration: str) -> AsyncIterator[str]:
    """Run the server while the block runs; yield its URL. Raises `UsageError` where it does not start."""
    file = write(folder / "nats.conf", configuration.encode())
    words = [program, "-c", str(file)]
    async with started(words, folder, {"PATH": os.defpath}, name="nats-server") as server:
        listens, _ = await server.ready(_LISTENS, _READY)
        yield f"nats://{LOOPBACK}:{listens[1]}"
