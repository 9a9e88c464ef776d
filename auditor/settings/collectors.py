"""Settings of collectors elsewhere: the NATS server between them and the auditor, and whose regions they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Strict, StrictBool, field_validator

from auditor.settings.base import Contradiction, Settings, UserPath

NATS_PORT = 4222
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_TLS_KEYS = ("ca_file", "cert_file", "key_file")


class NatsAddress(NamedTuple):
    """Address of a NATS server."""

    host: str
    """Without brackets."""
    port: int
    tls: bool
    """Whether nothing is said to it but through TLS."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


def read_nats_url(text: str) -> NatsAddress:
    """Read `collectors.nats`. Raises `ValueError` with the reason, never with the text."""
    scheme, separator, rest = text.partition("://")
    if scheme not in ("tls", "nats") or not separator or not rest:
        raise ValueError("must start with tls:// or nats://")
    if "@" in rest:
        raise ValueError("must not carry a user, password or token; use nkey_file")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("must be tls://HOST:PORT, with a port of at most 65535") from None
    if parts.path not in ("", "/") or parts.query or parts.fragment or not _HOST.fullmatch(host) or port == 0:
        raise ValueError("must be tls://HOST:PORT of one server, or of a name that all of a cluster have")
    return NatsAddress(host, port or NATS_PORT, scheme == "tls")


def region_name(text: str) -> str:
    """Check a region's name, which stands in subjects of NATS. Raises `ValueError` with the reason."""
    if _REGION.fullmatch(text) is None:
        raise ValueError(
            "must be a region's name: 1 to 32 letters, digits, _ and -, with a letter or digit first"
        )
    return text


class CollectorSettings(Settings):
    """Settings of collectors elsewhere, for those who ask them and for the collectors themselves."""

    nats: str = ""
    """The NATS server, tls://HOST:PORT; nats:// is unencrypted. Empty: nodes are looked at from here alone."""
    regions: tuple[Annotated[str, AfterValidator(region_name)], ...] = Field(default=(), max_length=1000)
    """Regions whose nodes collectors look at. Empty: none, as in a collector's own configuration."""
    fallback: Literal["none", "local"] = "none"
    """How nodes are looked at whose region is not listed or has no collector; local: from here; none: a gap each."""
    timeout: Annotated[float, Strict(), Field(ge=5, le=86_400)] = 300.0
    """Seconds for the looks of all collectors together."""
    ca_file: UserPath | None = None
    """PEM file of the CA that signed the server's certificate. Default: those that the system trusts."""
    cert_file: UserPath | None = None
    """PEM file of the client certificate; together with key_file."""
    key_file: UserPath | None = None
    """PEM file of the client certificate's key, without a passphrase."""
    nkey_file: UserPath | None = None
    """File that holds the seed of the user's nkey and nothing else; readable by its owner alone."""
    over_mesh: StrictBool = False
    """true: the server may be reached by an address inside mesh.pools."""

    @field_validator("nats")
    @classmethod
    def _url(cls, text: str) -> str:
        if text:
            read_nats_url(text)
        return text

    @field_validator("regions")
    @classmethod
    def _each_once(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(regions)) < len(regions):
            raise ValueError("names a region twice")
        return regions

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Faults: no server, half a client certificate, a certificate for a server that is spoken to in the clear."""
        nats = table.get("nats")
        if not nats and any(table.get(key) for key in ("regions", "nkey_file", *_TLS_KEYS)):
            yield Contradiction((), "nats is missing: the server that collectors are asked through")
        if ("cert_file" in table) != ("key_file" in table):
            yield Contradiction((), "cert_file and key_file go together")
        clear = next((key for key in _TLS_KEYS if key in table), None)
        if isinstance(nats, str) and nats.startswith("nats://") and clear is not None:
            yield Contradiction((clear,), "is of use with a tls:// server alone; write nats = tls://…")

    @property
    def server(self) -> NatsAddress | None:
        """The NATS server; None where none is configured."""
        return read_nats_url(self.nats) if self.nats else None
