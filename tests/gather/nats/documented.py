"""The NATS server, collectors and auditor as docs/collectors.md sets them up: its text is what is run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from auditor.settings.collectors import NATS_PORT
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
    host: str
    ca_file: Path
    keys: Mapping[str, Nkey]

    @property
    def url(self) -> str:
        """Its URL, by the name that its certificate has."""
        return f"tls://{self.host}:{self.server.port}"

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


def documented_server(
    folder: Path,
    *,
    more_regions: Sequence[str] = (),
    address: str = "",
    inside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> DocumentedServer:
    """Make the documented server, with new keys and a certificate.

    more_regions: each a block of permissions and a line, as the document says. address: where it is, at NATS' own port;
    without one at a free port of loopback. inside: see `NatsServer`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    host = address or HOST
    cert, key = self_signed(folder, host)
    text = documented("server")
    for region in more_regions:
        text = _with_region(text, region)
    users = (*USERS, *(f"U{region.upper()}" for region in more_regions))
    keys = {user: new_nkey(folder, user) for user in users}
    text = replaced(
        text,
        {
            'server_name: collect\nlisten: "0.0.0.0:4222"\n': "",
            "/etc/nats/collect.crt": str(cert),
            "/etc/nats/collect.key": str(key),
            **{f'"{user}"': f'"{found.public}"' for user, found in keys.items()},
        },
    )
    server = NatsServer(
        folder,
        name="collect",
        lines=text.splitlines(),
        monitoring=False,
        address=address or "127.0.0.1",
        port=NATS_PORT if address else 0,
        inside=inside,
    )
    return DocumentedServer(server, host, cert, keys)


def _with_region(text: str, region: str) -> str:
    """The text with what it says of fra said of one more region, too."""
    said = re.findall(r"^FRA: \{\n(?:  .*\n)*\}\n|^.*\$FRA .*\n", text, re.MULTILINE)
    assert len(said) == 2, said
    for one in said:
        text = text.replace(one, one + one.replace("FRA", region.upper()).replace("fra", region))
    return text


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these replaced; each must be there."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
