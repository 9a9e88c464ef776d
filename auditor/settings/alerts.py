"""Notifiers, and settings of alerts: links, blindness, heartbeat."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    Strict,
    StrictBool,
    StrictInt,
    field_validator,
)

from auditor.errors import ConfigError
from auditor.settings.base import Contradiction, Seconds, Settings, UserPath, one_of
from auditor.settings.secret import given, places, resolved_secret, web_address
from auditor.values.findings import Severity
from auditor.values.guide import PROGRAM
from auditor.values.names import MESH_NAME
from auditor.values.text import harmless


def _accepted_answer(value: object) -> int | str:
    """A status, or a part of a body. Raises `ValueError` for anything else."""
    if (isinstance(value, str) and value) or (type(value) is int and 100 <= value <= 599):
        return value
    raise ValueError("must be a status (100 to 599) or a part of a body in quotes")


AcceptedAnswer = Annotated[int | str, PlainValidator(_accepted_answer, json_schema_input_type=int | str)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
ValueName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
_OWN_HEADERS = frozenset({"content-length", "content-type", "host", "transfer-encoding", "connection"})


class NotifierSettings(Settings):
    """Keys of every `[[notifiers]]` entry."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$")
    """A name of your choice; what was sent is remembered by it."""
    min_severity: Severity = Severity.WARNING
    """Incidents below it are not sent here."""
    checks: tuple[str, ...] = ()
    """Idents of checks. Empty: all of them."""
    regions: tuple[str, ...] = ()
    """Empty: all of them."""
    send_resolved: StrictBool = True
    """Whether to send when an incident is resolved."""
    timeout: Seconds = 10.0
    """Seconds for one call, whole."""
    accept: tuple[AcceptedAnswer, ...] = ()
    """Statuses, and parts of the body of a 2xx answer, that mean yes whatever else is said."""
    repeat_interval: Annotated[float, Strict(), Field(ge=60, le=31 * 86_400)] | None = None
    """Seconds after which a firing incident is sent again. Not set: never."""

    def _secret(self, field: str, environment: Mapping[str, str]) -> SecretStr:
        return resolved_secret(self, field, environment, f"notifiers.{self.name}")


class SecretUrl(NotifierSettings):
    """A notifier whose URL is a secret: given as it is, in a file, or in an environment variable."""

    url: SecretStr | None = None
    """The URL, a secret; one of url, url_file and url_env is given."""
    url_file: UserPath | None = None
    """File that holds the URL and nothing else."""
    url_env: str | None = None
    """Environment variable that holds the URL."""
    max_per_message: StrictInt = Field(default=20, ge=1, le=500)
    """Incidents in one call."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """The URL in no place, or in several."""
        yield from one_of(table, *places("url"), required=True)

    def resolved_url(self, environment: Mapping[str, str]) -> SecretStr:
        """The URL. Raises `ConfigError` that names the notifier and the place, never the URL."""
        return web_address(self._secret("url", environment), f"notifiers.{self.name}: its url")


class AuthorizedCalls(SecretUrl):
    """A notifier whose calls may carry headers and show a client certificate."""

    bearer_token_file: UserPath | None = None
    """File with the token of `Authorization: Bearer`, read anew for each call."""
    headers: dict[HeaderName, SecretStr] = Field(default_factory=dict)
    """Further headers of each call; their values are secrets."""
    header_files: dict[HeaderName, UserPath] = Field(default_factory=dict)
    """Files that hold the values of further headers; each is read anew for each call."""
    ca_file: UserPath | None = None
    """PEM file of the CA that signed the server's certificate."""
    cert_file: UserPath | None = None
    """PEM file of the client certificate; together with key_file."""
    key_file: UserPath | None = None
    """PEM file of the client certificate's key."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """One header from two places, a header that is not for the settings to say, or half a certificate."""
        yield from super().contradictions(table)
        if ("cert_file" in table) != ("key_file" in table):
            yield Contradiction((), "cert_file and key_file go together")
        tables = [(key, table.get(key)) for key in ("headers", "header_files")]
        named = [(key, name) for key, found in tables if isinstance(found, dict) for name in found]
        taken = {"authorization"} if "bearer_token_file" in table else set()
        for key, name in named:
            lower = str(name).lower()
            if lower in _OWN_HEADERS:
                yield Contradiction(
                    (key,), "Content-Type, Content-Length, Host and the like are set by wgaudit"
                )
            elif lower in taken:
                yield Contradiction((key,), "gives one header twice")
            taken.add(lower)

    @field_validator("headers")
    @classmethod
    def _one_line(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if not all(
            one.get_secret_value().isascii() and one.get_secret_value().isprintable()
            for one in headers.values()
        ):
            raise ValueError("the value of a header is one line of ASCII text")
        return headers


class SlackSettings(SecretUrl):
    """A Slack incoming webhook."""

    type: Literal["slack"]
    max_per_message: StrictInt = Field(default=10, ge=1, le=40)
    """Incidents that one message tells in full; where there are more, it names and counts the others."""


class AlertmanagerSettings(AuthorizedCalls):
    """An Alertmanager, by its base URL. Each sweep sends incidents again, or it would resolve them."""

    type: Literal["alertmanager"]
    max_per_message: StrictInt = Field(default=100, ge=1, le=500)
    """Alerts in one call."""


class WebhookSettings(AuthorizedCalls):
    """Any HTTP endpoint; the body is signed if there is a signing secret, and made by a template if there is one."""

    type: Literal["webhook"]
    secret: SecretStr | None = None
    """Secret that signs each call; not set: calls are not signed."""
    secret_file: UserPath | None = None
    """File that holds the signing secret."""
    secret_env: str | None = None
    """Environment variable that holds the signing secret."""
    template: str | None = Field(default=None, min_length=1)
    """The name of a template that wgaudit brings along, or the path of one's own."""
    template_values: dict[ValueName, SecretStr] = Field(default_factory=dict)
    """What the template finds under `values`."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """The URL in no place or in several, or the signing secret in several."""
        yield from super().contradictions(table)
        yield from one_of(table, *places("secret"), required=False)

    def resolved_secret(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The signing secret, if there is one. Raises `ConfigError`."""
        if not given(self, "secret"):
            return None
        secret = self._secret("secret", environment)
        prefix, marked, encoded = secret.get_secret_value().partition("whsec_")
        if marked and not prefix:
            try:
                base64.b64decode(encoded, validate=True)
            except ValueError:
                raise ConfigError(
                    f"notifiers.{self.name}: a secret that begins with whsec_ goes on in base64; this does not"
                ) from None
        return secret


class PagerDutySettings(NotifierSettings):
    """A PagerDuty service, by the routing key of its Events API v2 integration."""

    type: Literal["pagerduty"]
    routing_key: SecretStr | None = None
    """Integration key of an Events API v2 integration, a secret; here, in a file or in the environment."""
    routing_key_file: UserPath | None = None
    """File that holds the key and nothing else."""
    routing_key_env: str | None = None
    """Environment variable that holds the key."""
    api: str = Field(default="https://events.pagerduty.com", pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$")
    """Base URL of the Events API, with a path where a gateway has one. The EU service region has https://events.eu.pagerduty.com."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """The routing key in no place, or in several."""
        yield from one_of(table, *places("routing_key"), required=True)

    def resolved_key(self, environment: Mapping[str, str]) -> SecretStr:
        """The routing key. Raises `ConfigError` that names the notifier and the place, never the key."""
        secret = self._secret("routing_key", environment)
        if re.fullmatch(r"[A-Za-z0-9]{32}", secret.get_secret_value()) is None:
            raise ConfigError(f"notifiers.{self.name}: a routing key has 32 letters and digits; this has not")
        return secret


AnyNotifier = Annotated[
    SlackSettings | PagerDutySettings | AlertmanagerSettings | WebhookSettings, Field(discriminator="type")
]


def _command_words(value: object) -> object:
    """The words of a command, from a list or from a text that a shell would split. Raises `ValueError`."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"cannot be split into words: {error}") from None
    if not isinstance(value, list | tuple) or not all(
        isinstance(word, str) and word and harmless(word) for word in value
    ):
        raise ValueError("must be a command in quotes, or a list of its words")
    return tuple(value)


CommandWords = Annotated[
    tuple[str, ...],
    BeforeValidator(_command_words, json_schema_input_type=str | list[str]),
    Field(min_length=1, max_length=50),
]


class AlertSettings(Settings):
    """Settings of all alerts: how their readers go on, the mesh's name, blindness, heartbeat."""

    command: CommandWords = PROGRAM
    """The words that run wgaudit where the reader is: each proposed command begins so."""
    mesh: str = Field(default="", pattern=MESH_NAME)
    """Name of this mesh. It stands in every report and alert, and if it is set it is part of every fingerprint."""

    docs_url: str = Field(default="", pattern=r"^(https?://[^\s#]+)?$")
    """Where docs/findings.md can be read by a browser; pages and alerts then link to the finding's section."""
    blind_after: StrictInt = Field(default=2, ge=1, le=100)
    """Sweeps in a row that could not see enough, or not see a node, before that is an incident."""
    blind_below: float = Field(default=0.9, ge=0, le=1, strict=True)
    """Share of nodes seen under which the audit itself is called blind. Above it, nodes not seen are one warning."""
    heartbeat_url: SecretStr | None = None
    """Called at each sweep's start (`/start`), success and failure (`/fail`), as healthchecks.io wants it."""
    heartbeat_url_file: UserPath | None = None
    """File that holds the URL and nothing else."""
    heartbeat_url_env: str | None = None
    """Environment variable that holds the URL."""
    heartbeat_method: Literal["POST", "GET"] = "POST"
    """How it is called."""
    heartbeat_start: StrictBool = True
    """Whether `/start` is called too."""
    heartbeat_fail: StrictBool = True
    """Whether `/fail` is called where the work was not done; if not, nothing is."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """The heartbeat's URL in several places."""
        yield from one_of(table, *places("heartbeat_url"), required=False)

    def resolved_heartbeat(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The heartbeat URL, if there is one. Raises `ConfigError`, never with the URL."""
        if not given(self, "heartbeat_url"):
            return None
        return web_address(
            resolved_secret(self, "heartbeat_url", environment, "alerts"), "alerts: its heartbeat_url"
        )
