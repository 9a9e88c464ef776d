"""Environment of Consul's own command, as far as a configuration can begin with it; `wgaudit init` alone asks here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from auditor.settings.consul import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, UNIX

ADDRESS_VARIABLE = "CONSUL_HTTP_ADDR"
_KEYS = {
    "CONSUL_CACERT": "ca_file",
    "CONSUL_CLIENT_CERT": "cert_file",
    "CONSUL_CLIENT_KEY": "key_file",
    "CONSUL_TLS_SERVER_NAME": "tls_server_name",
    TOKEN_FILE_VARIABLE: "token_file",
}
_UNUSED = {
    "CONSUL_NAMESPACE": "wgaudit reads the default namespace only",
    "CONSUL_PARTITION": "wgaudit reads the agent's own partition",
    "CONSUL_HTTP_AUTH": "wgaudit sends no user and password to Consul; use a token",
    "CONSUL_CAPATH": "name one file in CONSUL_CACERT or consul.ca_file",
}


@dataclass(frozen=True, slots=True)
class ConsulEnvironment:
    """Values of `[consul]` that the environment gives."""

    values: Mapping[str, str]
    """By key. No token is among them."""
    variables: Mapping[str, str]
    """Variable that gives each of them, by key."""
    token: bool
    """True: a token stands in the environment itself."""
    unused: tuple[tuple[str, str], ...]
    """Variables that are set and lead nowhere here, each with the reason."""


def consul_environment(environment: Mapping[str, str]) -> ConsulEnvironment:
    """Read Consul's variables. The token itself is not looked at."""
    values: dict[str, str] = {}
    variables: dict[str, str] = {}
    secure = environment.get("CONSUL_HTTP_SSL", "").strip().lower() in ("1", "true", "t")
    if address := environment.get(ADDRESS_VARIABLE, "").strip():
        values["url"], variables["url"] = _url(address, secure=secure), ADDRESS_VARIABLE
    for variable, key in _KEYS.items():
        if value := environment.get(variable, "").strip():
            values[key], variables[key] = value, variable
    unused = [(name, why) for name, why in _UNUSED.items() if environment.get(name, "").strip()]
    if environment.get("CONSUL_HTTP_SSL_VERIFY", "").strip().lower() in ("0", "false", "f"):
        unused.append(("CONSUL_HTTP_SSL_VERIFY", "certificates are always checked; set consul.ca_file"))
    return ConsulEnvironment(
        values, variables, bool(environment.get(TOKEN_VARIABLE, "").strip()), tuple(unused)
    )


def _url(address: str, *, secure: bool) -> str:
    """Return the URL of an address as Consul's command takes it: host and port alone, too."""
    if "://" not in address:
        return f"{'https' if secure else 'http'}://{address.rstrip('/')}"
    if secure and address.startswith("http://"):
        return f"https://{address.removeprefix('http://')}"
    return address if address.startswith(UNIX) else address.rstrip("/")
