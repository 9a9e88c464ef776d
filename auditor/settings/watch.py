"""Settings of the watch: where its page listens, and how often nodes look at themselves."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, Strict, field_validator

from auditor.settings.base import Contradiction, Seconds, Settings, UserPath

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_GUARDS = ("password_file", "cert_file", "key_file")


@dataclass(frozen=True, slots=True)
class PageAddress:
    """Address at which the page listens: a host and port, or a socket file."""

    host: str = ""
    port: int = 0
    """0: any that is free."""
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Tell whether only this machine reaches it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def everywhere(self) -> bool:
        """Tell whether it listens on each address of this machine."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104  (refused without password and TLS)


def read_listen(text: str) -> PageAddress | None:
    """Read `watch.listen`; None for "". Raises `ValueError` with the reason."""
    if not text:
        return None
    if text.startswith("unix://"):
        path = Path(text.removeprefix("unix://"))
        if not path.is_absolute() or "\0" in text:
            raise ValueError(
                "a socket file is named with its whole path, such as unix:///run/wgaudit/page.sock"
            )
        return PageAddress(path=path)
    if "://" in text:
        raise ValueError("must be HOST:PORT or unix:///PATH, and no URL")
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:9586 or [::1]:9586, or unix:///PATH")
    if host.startswith("[") and host.endswith("]"):
        try:
            return PageAddress(str(ipaddress.IPv6Address(host[1:-1])), int(port))
        except ValueError:
            raise ValueError("what stands in brackets must be an IPv6 address") from None
    if not _HOST.fullmatch(host):
        raise ValueError("its host must be a name, an IPv4 address, or an IPv6 address in brackets")
    return PageAddress(host.lower(), int(port))


class WatchSettings(Settings):
    """Settings of `wgaudit watch`."""

    listen: str = "127.0.0.1:9586"
    """Where its page listens: HOST:PORT of loopback, `unix:///PATH`, or "" for no page. Any other host needs
    `password_file`, `cert_file` and `key_file`."""
    follow_interval: Annotated[float, Strict(), Field(ge=1, le=30)] = 5.0
    """Seconds between two looks of a node at its own device, in whole ones; at most those between two of its beats."""
    round_interval: Annotated[float, Strict(), Field(ge=5, le=3600)] = 60.0
    """Seconds between two rounds, which resolve, count blindness and write history."""
    password_file: UserPath | None = None
    """File that holds the password of the page; the user's name is `wgaudit`."""
    cert_file: UserPath | None = None
    """Certificate of the page, PEM."""
    key_file: UserPath | None = None
    """Key of the certificate, PEM, without a passphrase."""
    stop_within: Seconds = 5.0
    """Seconds in which a watch that is told to stop has ended."""

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        read_listen(value)
        return value

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """A page that others can reach without a password, or in the clear."""
        listen = table.get("listen", cls.model_fields["listen"].default)
        try:
            address = read_listen(listen) if isinstance(listen, str) else None
        except ValueError:
            return  # which is told as a fault of its own
        missing = [key for key in _GUARDS if table.get(key) is None]
        if address is not None and not address.local and missing:
            yield Contradiction(
                ("listen",),
                f"only loopback or a socket file goes without {', '.join(missing)}, for the page names nodes and "
                "addresses; listen on 127.0.0.1 and come by `ssh -L`, or give a password and a certificate",
            )
        elif (table.get("cert_file") is None) != (table.get("key_file") is None):
            given = "cert_file" if table.get("key_file") is None else "key_file"
            yield Contradiction(
                (given,), "a certificate and its key go together; give cert_file and key_file"
            )

    @property
    def address(self) -> PageAddress | None:
        """Address at which the page listens; None: there is no page."""
        return read_listen(self.listen)
