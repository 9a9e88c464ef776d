"""Notifiers, and settings of alerts: links, blindness, heartbeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr, Strict, StrictBool, StrictInt

from auditor.errors import ConfigError
from auditor.settings.base import Contradiction, Seconds, Settings, UserPath, one_of
from auditor.settings.secret import given, places, resolved_secret, web_address
from auditor.values.models import Severity


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


class SlackSettings(SecretUrl):
    """A Slack incoming webhook."""

    type: Literal["slack"]
    max_per_message: StrictInt = Field(default=10, ge=1, le=40)


class AlertmanagerSettings(SecretUrl):
    """An Alertmanager, by its base URL. Each sweep sends incidents again, or it would resolve them."""

    type: Literal["alertmanager"]
    max_per_message: StrictInt = Field(default=100, ge=1, le=500)


class WebhookSettings(SecretUrl):
    """Any HTTP endpoint; the body is signed if there is a signing secret."""

    type: Literal["webhook"]
    secret: SecretStr | None = None
    secret_file: UserPath | None = None
    secret_env: str | None = None

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """The URL in no place or in several, or the signing secret in several."""
        yield from super().contradictions(table)
        yield from one_of(table, *places("secret"), required=False)

    def resolved_secret(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The signing secret, if there is one. Raises `ConfigError`."""
        return self._secret("secret", environment) if given(self, "secret") else None


class PagerDutySettings(NotifierSettings):
    """A PagerDuty service, by the routing key of its Events API v2 integration."""

    type: Literal["pagerduty"]
    routing_key: SecretStr | None = None
    routing_key_file: UserPath | None = None
    routing_key_env: str | None = None
    api: str = Field(default="https://events.pagerduty.com", pattern=r"^https?://[^\s/]+$")
    """The EU service region has https://events.eu.pagerduty.com."""

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
