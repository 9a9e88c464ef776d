"""Notifiers, and settings of alerts: links, blindness, heartbeat."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, SecretStr, Strict, StrictBool, StrictInt, field_validator

from auditor.errors import ConfigError
from auditor.settings.base import Contradiction, Seconds, Settings, UserPath, one_of
from auditor.settings.secret import given, places, resolved_secret, web_address
from auditor.values.models import Severity


def _accepted_answer(value: object) -> int | str:
    """A status, or a part of a body. Raises `ValueError` for anything else."""
    if (isinstance(value, str) and value) or (type(value) is int and 100 <= value <= 599):
        return value
    raise ValueError("must be a status (100 to 599) or a part of a body in quotes")


AcceptedAnswer = Annotated[int | str, PlainValidator(_accepted_answer)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
ValueName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
_OWN_HEADERS = frozenset({"content-length", "content-type", "host", "transfer-encoding", "connection"})


class NotifierSettings(Settings):
    """Keys of every `[[notifiers]]` entry."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$")
    min_severity: Severity = Severity.WARNING
    checks: tuple[str, ...] = ()
    """Idents of checks. Empty: all of them."""
    regions: tuple[str, ...] = ()
    """Empty: all of them."""
    send_resolved: StrictBool = True
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
    url_file: UserPath | None = None
    url_env: str | None = None
    max_per_message: StrictInt = Field(default=20, ge=1, le=500)

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
    headers: dict[HeaderName, SecretStr] = Field(default_factory=dict)
    header_files: dict[HeaderName, UserPath] = Field(default_factory=dict)
    """Files that hold the values of further headers; each is read anew for each call."""
    ca_file: UserPath | None = None
    cert_file: UserPath | None = None
    key_file: UserPath | None = None

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


class AlertmanagerSettings(AuthorizedCalls):
    """An Alertmanager, by its base URL. Each sweep sends incidents again, or it would resolve them."""

    type: Literal["alertmanager"]
    max_per_message: StrictInt = Field(default=100, ge=1, le=500)


class WebhookSettings(AuthorizedCalls):
    """Any HTTP endpoint; the body is signed if there is a signing secret, and made by a template if there is one."""

    type: Literal["webhook"]
    secret: SecretStr | None = None
    secret_file: UserPath | None = None
    secret_env: str | None = None
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
    routing_key_file: UserPath | None = None
    routing_key_env: str | None = None
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


class AlertSettings(Settings):
    """Settings of all alerts: links to the documentation, blindness, heartbeat."""

    docs_url: str = Field(default="", pattern=r"^(https?://[^\s#]+)?$")
    """Where docs/findings.md can be read by a browser; pages and alerts then link to the finding's section."""
    blind_after: StrictInt = Field(default=2, ge=1, le=100)
    """Sweeps in a row that could not see enough, or not see a node, before that is an incident."""
    blind_below: float = Field(default=0.9, ge=0, le=1, strict=True)
    """Share of nodes seen under which the audit itself is called blind. Above it, nodes not seen are one warning."""
    heartbeat_url: SecretStr | None = None
    """Called at each sweep's start (`/start`), success and failure (`/fail`), as healthchecks.io wants it."""
    heartbeat_url_file: UserPath | None = None
    heartbeat_url_env: str | None = None
    heartbeat_method: Literal["POST", "GET"] = "POST"
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
