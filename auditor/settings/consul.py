"""Settings of the registry: Consul, or a file exported from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import SecretStr, field_validator

from auditor.settings.base import Contradiction, Seconds, Settings, UserPath, one_of
from auditor.settings.secret import secret_in_file, undressed

TOKEN_VARIABLE = "CONSUL_HTTP_TOKEN"  # noqa: S105  (the variable's name, not a token)
TOKEN_FILE_VARIABLE = "CONSUL_HTTP_TOKEN_FILE"  # noqa: S105
UNIX = "unix://"
"""How the URL of a Unix socket begins."""
EVERY = "*"
"""Stands for every datacenter that Consul knows."""
NOT = "!"
"""Before a datacenter's name: leaves it out of `EVERY`."""


class ConsulFields(Settings):
    """Dotted path of each value inside a KV record, a KV key's last part, or a catalog node's meta key."""

    public_key: str = "public_key"
    """Of the WireGuard public key."""
    address: str = "ip"
    """Of the mesh address; several in a list, or with commas."""
    region: str = "region"
    """Of the region."""
    endpoint: str = "endpoint"
    """Of the outer `host:port` of the device."""
    ssh_host: str = "ssh_host"
    """Of the host, or `host:port`, to reach by SSH."""
    state: str = "state"
    """Of the node's state; see `retired`."""


class ConsulSettings(Settings):
    """Source and layout of registrations."""

    url: str = "http://127.0.0.1:8500"
    """The Consul agent: http://, https:// or unix:///PATH."""
    layout: Literal["kv-json", "kv-fields", "catalog"] = "kv-json"
    """One JSON value a node; one key a field (`<prefix><node>/<field>`); or the catalog's node meta."""
    prefix: str = "wireguard/nodes/"
    """Where the registrations are in KV; ends with a slash."""
    datacenters: tuple[str, ...] = ()
    """Empty: the agent's own. `["*"]`: every one that Consul knows; `["*", "!lab"]`: but for lab."""
    token: SecretStr | None = None
    """ACL token; token_file is better. Else $CONSUL_HTTP_TOKEN_FILE, $CONSUL_HTTP_TOKEN."""
    token_file: UserPath | None = None
    """File that holds the ACL token and nothing else."""
    timeout: Seconds = 10.0
    """Seconds for one read, all tries together."""
    ca_file: UserPath | None = None
    """PEM file of the CA that signed the agent's certificate."""
    cert_file: UserPath | None = None
    """PEM file of the client certificate; together with key_file."""
    key_file: UserPath | None = None
    """PEM file of the client certificate's key."""
    tls_server_name: str = ""
    """The name that the server's certificate must carry, and that is asked for; empty: the host in `url`."""
    file: UserPath | None = None
    """A file written by `consul kv export`, read in place of a server."""
    ignore: tuple[str, ...] = ()
    """Patterns, as of a shell, over keys without the prefix: these are no registrations."""
    retired: tuple[str, ...] = ()
    """Values of the field `state` that mean: not in the mesh any more."""
    fields: ConsulFields = ConsulFields()
    """Where each value stands in a registration."""

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        if url.startswith(UNIX):
            if not url.startswith(f"{UNIX}/"):
                raise ValueError("must name the socket by its whole path: unix:///run/consul.sock")
            return url
        scheme, separator, rest = url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest:
            raise ValueError("must start with http://, https:// or unix://")
        if "@" in rest:
            raise ValueError("must not carry a password; use token or token_file")
        return url

    @field_validator("tls_server_name")
    @classmethod
    def _host_name(cls, name: str) -> str:
        if name and re.fullmatch(r"[A-Za-z0-9_.:-]{1,253}", name) is None:
            raise ValueError("must be a host's name, as in the server's certificate")
        return name

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Faults: two tokens, half a client certificate, a prefix that Consul would match too widely."""
        yield from one_of(table, "token", "token_file", required=False)
        yield from _left_out_of_nothing(table.get("datacenters"))
        url = table.get("url", cls.model_fields["url"].default)
        if table.get("tls_server_name") and isinstance(url, str) and not url.startswith("https://"):
            yield Contradiction(("tls_server_name",), "is of use with an https:// url alone")
        if ("cert_file" in table) != ("key_file" in table):
            yield Contradiction((), "cert_file and key_file go together")
        prefix = table.get("prefix", cls.model_fields["prefix"].default)
        if table.get("layout") != "catalog" and isinstance(prefix, str) and not prefix.endswith("/"):
            # Consul's prefix match is greedy: "wireguard/node" would also match "wireguard/nodes-old/…".
            yield Contradiction(("prefix",), "must end with /")

    @property
    def every_datacenter(self) -> bool:
        """Tell whether all that Consul knows are read, but for those left out."""
        return EVERY in self.datacenters

    @property
    def named_datacenters(self) -> tuple[str, ...]:
        """Those that are read by their name, each once."""
        return tuple(
            dict.fromkeys(name for name in self.datacenters if name != EVERY and not name.startswith(NOT))
        )

    @property
    def left_out(self) -> frozenset[str]:
        """Those that are not read although Consul knows them."""
        return frozenset(name.removeprefix(NOT) for name in self.datacenters if name.startswith(NOT))

    def resolved_token(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The token to send; None where there is none. Raises `ConfigError`.

        The configuration wins over the environment; there the file wins, as for Consul's own command.
        """
        if self.token is not None:
            return SecretStr(undressed(self.token.get_secret_value(), "consul.token"))
        if self.token_file is not None:
            return secret_in_file(self.token_file, "consul.token_file", "the token")
        if file := environment.get(TOKEN_FILE_VARIABLE, ""):
            return secret_in_file(Path(file), TOKEN_FILE_VARIABLE, "the token")
        from_environment = environment.get(TOKEN_VARIABLE, "").strip()
        return SecretStr(undressed(from_environment, TOKEN_VARIABLE)) if from_environment else None


def _left_out_of_nothing(datacenters: object) -> Iterator[Contradiction]:
    """Find `!name` where every other one is not asked for, so that it would mean nothing."""
    if not isinstance(datacenters, list | tuple):
        return
    names = [name for name in datacenters if isinstance(name, str) and name.startswith(NOT)]
    if any(name in (NOT, f"{NOT}{EVERY}") for name in names):
        yield Contradiction(("datacenters",), 'after "!" there must be the name of a datacenter')
    elif names and EVERY not in datacenters:
        yield Contradiction(
            ("datacenters",), '"!" leaves a datacenter out of "*", which is not there; add "*"'
        )
    elif any(name.removeprefix(NOT) in datacenters for name in names):
        yield Contradiction(("datacenters",), "one is named and left out at once")
