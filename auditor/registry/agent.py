"""Consul agent of the configuration: its address, the token and the TLS files, checked before anything is asked."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from auditor.errors import ConfigError, GapReason, RegistryError
from auditor.settings.consul import UNIX
from auditor.values.text import for_detail

if TYPE_CHECKING:
    from pydantic import SecretStr

    from auditor.settings.consul import ConsulSettings

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of one answer: some 500,000 registrations. More is a gap."""
MAX_REFUSAL = 64 * 1024
"""Bytes of a refusal that are read: a refused transaction names each of its 64 operations."""
_LONGEST_SOCKET_PATH = 107


def check_settings(settings: ConsulSettings, token: SecretStr | None) -> None:
    """Check URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it."""
    agent_address(settings)
    _check_token(token)
    _check_tls(settings)


def too_large(asked: str) -> RegistryError:
    """Make the error for an answer that is larger than any that is read."""
    detail = f"{asked}: an answer larger than {MAX_ANSWER} bytes; is consul.prefix too short?"
    return RegistryError(GapReason.CONSUL_UNREADABLE, detail)


def without(token: SecretStr | None, text: str) -> str:
    """Take the token out of a text: an answer may echo its request."""
    return text.replace(token.get_secret_value(), "[token]") if token is not None else text


@dataclass(frozen=True, slots=True)
class AgentAddress:
    """Address of Consul's HTTP API."""

    base: str
    """URL that the paths of the API are put behind."""
    shown: str
    """URL for messages."""
    socket_path: str = ""
    """A Unix socket to connect to; empty: host and port of the base."""


def agent_address(settings: ConsulSettings) -> AgentAddress:
    """Read the agent's address. Raises `ConfigError` for one that cannot be used."""
    if settings.layout != "catalog" and settings.prefix.startswith("/"):
        raise ConfigError("consul.prefix: a key does not begin with /; leave it out")
    url = settings.url
    if url.startswith(UNIX):
        path = url.removeprefix(UNIX)
        if not path.startswith("/") or not path.isprintable() or len(path.encode()) > _LONGEST_SOCKET_PATH:
            raise ConfigError(
                "consul.url: not a usable socket; write it as unix:///PATH, of at most "
                f"{_LONGEST_SOCKET_PATH} bytes"
            )
        return AgentAddress("http://localhost", f"{url}:", path)
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if (
        not usable
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or not url.isprintable()
        or " " in url
    ):
        raise ConfigError("consul.url: not a usable URL; write it as http://HOST:PORT or https://HOST:PORT")
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return AgentAddress(base, base)


def url_hint(url: str) -> str:
    """Suggest a URL in place of one that names a page of Consul, or a part of its API; "" for any other."""
    found = re.fullmatch(r"(https?://[^/]+(?:/[^/]+)*?)/+(ui|v1)(/.*)?", url)
    if found is None:
        return ""
    return f"consul.url goes on with /{found[2]}, which does not belong there: write {for_detail(found[1])}"


def _check_token(token: SecretStr | None) -> None:
    text = token.get_secret_value() if token is not None else "none"
    if not text or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ConfigError(
            "the Consul token is empty or has characters that no HTTP header can carry (a line end, a blank "
            "around it); check consul.token, consul.token_file or CONSUL_HTTP_TOKEN"
        )


def _check_tls(settings: ConsulSettings) -> None:
    """Read the TLS files once, so that a wrong path is a clear line now and no gap later. Raises `ConfigError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    place = "consul.ca_file"
    try:
        if settings.ca_file is not None:
            context.load_verify_locations(str(settings.ca_file))
        place = "consul.cert_file, consul.key_file"
        if settings.cert_file is not None and settings.key_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=no_password)
    except ssl.SSLError as error:
        raise ConfigError(f"{place}: not usable PEM files, or they do not fit: {error.reason}") from None
    except OSError as error:
        raise ConfigError(f"{place}: cannot read: {error.strerror}") from None


def no_password() -> str:
    """Refuse an encrypted key. Raises `ConfigError`."""
    # Without this, OpenSSL would ask the terminal, and a cron job would hang.
    raise ConfigError(
        "consul.key_file: is encrypted; give a key without a passphrase, readable by wgaudit alone"
    )
