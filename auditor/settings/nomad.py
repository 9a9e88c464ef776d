"""Settings of Nomad, which is asked only where nodes are drained by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import SecretStr, field_validator

from auditor.settings.base import Contradiction, Seconds, Settings, UserPath, one_of
from auditor.settings.secret import secret_in_file, undressed

NOMAD_TOKEN_VARIABLE = "NOMAD_TOKEN"  # noqa: S105  (the variable's name, not a token)


class NomadSettings(Settings):
    """Nomad's HTTP API, and the token for it."""

    url: str = "http://127.0.0.1:4646"
    """A Nomad server or agent: http:// or https://."""
    token: SecretStr | None = None
    """ACL token; token_file is better. Else $NOMAD_TOKEN."""
    token_file: UserPath | None = None
    """File that holds the ACL token and nothing else."""
    timeout: Seconds = 10.0
    """Seconds for one call."""
    ca_file: UserPath | None = None
    """PEM file of the CA that signed the server's certificate."""
    cert_file: UserPath | None = None
    """PEM file of the client certificate; together with key_file."""
    key_file: UserPath | None = None
    """PEM file of the client certificate's key."""

    @field_validator("url")
    @classmethod
    def _url(cls, url: str) -> str:
        scheme, separator, rest = url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest:
            raise ValueError("must start with http:// or https://")
        if "@" in rest or "?" in rest or "#" in rest:
            raise ValueError("must be a server's address alone; a token goes into token_file")
        return url.rstrip("/")

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Faults: two tokens, half a client certificate."""
        yield from one_of(table, "token", "token_file", required=False)
        if ("cert_file" in table) != ("key_file" in table):
            yield Contradiction((), "cert_file and key_file go together")

    def resolved_token(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The token to send; None where there is none. Raises `ConfigError`."""
        if self.token is not None:
            return SecretStr(undressed(self.token.get_secret_value(), "nomad.token"))
        if self.token_file is not None:
            return secret_in_file(self.token_file, "nomad.token_file", "the token")
        from_environment = environment.get(NOMAD_TOKEN_VARIABLE, "").strip()
        return SecretStr(undressed(from_environment, NOMAD_TOKEN_VARIABLE)) if from_environment else None
