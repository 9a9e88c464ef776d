"""The NATS server, collectors and auditor as docs/collectors.md sets them up: its text is what is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.gather.nats.servers import HOST, Nkey, new_nkey
from tests.parts.certificates import self_signed
from tests.parts.nats import NatsServer

DOCUMENT = Path(__file__).parents[3] / "docs" / "collectors.md"
USERS = ("UAUDITOR", "UFRA", "USIN")
URL = "tls://collect.example.net:4222"


def documented(name: str) -> str:
    """The block of the document that has this mark."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (found,) = re.findall(rf"<!-- test: {name} -->\n```\w+\n(.*?)```\n", text, re.DOTALL)
    return str(found)


class DocumentedServer(NamedTuple):
    """The documented server, with keys of each of its users."""

    server: NatsServer
    ca_file: Path
    keys: Mapping[str, Nkey]

    @property
    def url(self) -> str:
        """Its URL, by the name that its certificate has."""
        return f"tls://{HOST}:{self.server.port}"

    def configuration(self, name: str, user: str) -> str:
        """A documented configuration, with this server and the key of a user."""
        return replaced(
            documented(name),
            {
                URL: self.url,
                "/etc/wgaudit/nats-ca.pem": str(self.ca_file),
                "/etc/wgaudit/wgaudit.nk": str(self.keys[user].file),
            },
        )


def documented_server(folder: Path) -> DocumentedServer:
    """Make the documented server, with new keys and a certificate, at a free port of loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = self_signed(folder, HOST)
    keys = {user: new_nkey(folder, user) for user in USERS}
    text = replaced(
        documented("server"),
        {
            'server_name: collect\nlisten: "0.0.0.0:4222"\n': "",
            "/etc/nats/collect.crt": str(cert),
            "/etc/nats/collect.key": str(key),
            **{f'"{user}"': f'"{found.public}"' for user, found in keys.items()},
        },
    )
    return DocumentedServer(
        NatsServer(folder, name="collect", lines=text.splitlines(), monitoring=False), cert, keys
    )


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these replaced; each must be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
