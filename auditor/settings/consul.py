"""Settings of the registry: Consul, or a file exported from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import SecretStr, field_validator

from auditor.errors import ConfigError
from auditor.settings.base import Contradiction, Seconds, Settings, UserPath, one_of

TOKEN_VARIABLE = "CONSUL_HTTP_TOKEN"  # noqa: S105  (the variable's name, not a token)


class ConsulFields(Settings):
    """Dotted path of each value inside a KV record, a KV key's last part, or a catalog node's meta key."""

    public_key: str = "public_key"
    address: str = "ip"
    region: str = "region"
    endpoint: str = "endpoint"
    ssh_host: str = "ssh_host"


class ConsulSettings(Settings):
    """Source and layout of registrations."""

    url: str = "http://127.0.0.1:8500"
    layout: Literal["kv-json", "kv-fields", "catalog"] = "kv-json"
    """One JSON value a node; one key a field (`<prefix><node>/<field>`); or the catalog's node meta."""
    prefix: str = "wireguard/nodes/"
    datacenters: tuple[str, ...] = ()
    """Empty: the agent's own. `["*"]`: every one that Consul knows."""
    token: SecretStr | None = None
    token_file: UserPath | None = None
    timeout: Seconds = 10.0
    ca_file: UserPath | None = None
    cert_file: UserPath | None = None
    key_file: UserPath | None = None
    file: UserPath | None = None
    """A file written by `consul kv export`, read in place of a server."""
    fields: ConsulFields = ConsulFields()

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest:
            raise ValueError("must start with http:// or https://")
        if "@" in rest:
            raise ValueError("must not carry a password; use token or token_file")
        return url

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Faults: two tokens, half a client certificate, a prefix that Consul would match too widely."""
        yield from one_of(table, "token", "token_file", required=False)
        if ("cert_file" in table) != ("key_file" in table):
            yield Contradiction((), "cert_file and key_file go together")
        prefix = table.get("prefix", cls.model_fields["prefix"].default)
        if table.get("layout") != "catalog" and isinstance(prefix, str) and not prefix.endswith("/"):
            # Consul's prefix match is greedy: "wireguard/node" would also match "wireguard/nodes-old/…".
            yield Contradiction(("prefix",), "must end with /")

    def resolved_token(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The token to send: config, then token_file, then CONSUL_HTTP_TOKEN. Raises `ConfigError`."""
        if self.token is not None:
            return self.token
        if self.token_file is not None:
            try:
                text = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not a text file"
                raise ConfigError(f"consul.token_file: cannot read {self.token_file}: {reason}") from None
            if not text:
                raise ConfigError(f"consul.token_file: {self.token_file} is empty; write the token into it")
            return SecretStr(text)
        from_environment = environment.get(TOKEN_VARIABLE, "").strip()
        return SecretStr(from_environment) if from_environment else None
