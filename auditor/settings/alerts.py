"""The part of the configuration that says whom to tell, when, and what need not be told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    StrictBool,
    StrictInt,
    model_validator,
)

from auditor.errors import ConfigError
from auditor.values.addresses import InvalidValue, Prefix, parse_prefix
from auditor.values.models import Severity, SharedAddress


def prefix_value(value: object) -> Prefix:
    """A prefix in the configuration. Raises `ValueError` with the reason."""
    if not isinstance(value, str):
        raise ValueError("must be an address prefix in quotes")
    try:
        return parse_prefix(value)
    except InvalidValue as error:
        raise ValueError(str(error)) from None


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and a user whose home folder is not known") from None


def _moment(value: object) -> datetime:
    # A date alone means the whole day in UTC: from that day on it is a finding again.
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if isinstance(moment, date) and not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise ValueError("must be a date, such as 2027-06-30")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Pool = Annotated[Prefix, BeforeValidator(prefix_value)]
UserPath = Annotated[Path, AfterValidator(_expanded)]
Seconds = Annotated[float, Strict(), Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """Base of each table of the configuration: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class NotifierSettings(Settings):
    """What every `[[notifiers]]` entry may say."""

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
    """Seconds after which a standing incident is told again. Not set: never."""


class SecretUrl(NotifierSettings):
    """A notifier whose URL is a secret: given as it is, in a file, or in an environment variable."""

    url: SecretStr | None = None
    url_file: UserPath | None = None
    url_env: str | None = None
    max_per_message: StrictInt = Field(default=20, ge=1, le=500)

    @model_validator(mode="after")
    def _one_url(self) -> SecretUrl:
        _exactly_one(self, "url")
        return self

    def resolved_url(self, environment: Mapping[str, str]) -> SecretStr:
        """The URL. Raises `ConfigError` that names the notifier and the place, never the URL."""
        return _web_address(_resolved(self, "url", environment), f"notifiers.{self.name}: its url")


class SlackSettings(SecretUrl):
    """A Slack incoming webhook."""

    type: Literal["slack"]
    max_per_message: StrictInt = Field(default=10, ge=1, le=20)


class AlertmanagerSettings(SecretUrl):
    """An Alertmanager, by its base URL. Told again with every sweep, or it would take incidents for over."""

    type: Literal["alertmanager"]
    max_per_message: StrictInt = Field(default=100, ge=1, le=500)


class WebhookSettings(SecretUrl):
    """Any HTTP endpoint; the body is signed if there is a signing secret."""

    type: Literal["webhook"]
    secret: SecretStr | None = None
    secret_file: UserPath | None = None
    secret_env: str | None = None

    @model_validator(mode="after")
    def _at_most_one_secret(self) -> WebhookSettings:
        if _given(self, "secret"):
            _exactly_one(self, "secret")
        return self

    def resolved_secret(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The signing secret, if there is one. Raises `ConfigError`."""
        return _resolved(self, "secret", environment) if _given(self, "secret") else None


class PagerDutySettings(NotifierSettings):
    """A PagerDuty service, by the routing key of its Events API v2 integration."""

    type: Literal["pagerduty"]
    routing_key: SecretStr | None = None
    routing_key_file: UserPath | None = None
    routing_key_env: str | None = None
    api: str = Field(default="https://events.pagerduty.com", pattern=r"^https?://[^\s/]+$")
    """The EU service region has https://events.eu.pagerduty.com."""

    @model_validator(mode="after")
    def _one_key(self) -> PagerDutySettings:
        _exactly_one(self, "routing_key")
        return self

    def resolved_key(self, environment: Mapping[str, str]) -> SecretStr:
        """The routing key. Raises `ConfigError` that names the notifier and the place, never the key."""
        secret = _resolved(self, "routing_key", environment)
        if re.fullmatch(r"[A-Za-z0-9]{32}", secret.get_secret_value()) is None:
            raise ConfigError(f"notifiers.{self.name}: a routing key has 32 letters and digits; this has not")
        return secret


AnyNotifier = Annotated[
    SlackSettings | PagerDutySettings | AlertmanagerSettings | WebhookSettings, Field(discriminator="type")
]


class SharedSettings(Settings):
    """An address that is meant to be shared, as agreed: by whom, why, until when."""

    address: Pool
    nodes: tuple[str, ...]
    reason: str = Field(min_length=1, max_length=500)
    until: Annotated[datetime, BeforeValidator(_moment)]

    @model_validator(mode="after")
    def _several(self) -> SharedSettings:
        if len(set(self.nodes)) < 2:
            raise ValueError("nodes must name at least two different nodes")
        return self

    def agreement(self) -> SharedAddress:
        """As the value that judges."""
        return SharedAddress(self.address, frozenset(self.nodes), self.reason, self.until)


class AlertSettings(Settings):
    """When blindness is told, and who is told that the audit itself still runs."""

    docs_url: str = Field(default="", pattern=r"^(https?://[^\s#]+)?$")
    """Where docs/findings.md can be read by a browser; pages and alerts then link to the finding's section."""
    blind_after: StrictInt = Field(default=2, ge=1, le=100)
    """Sweeps in a row that could not see enough, before that is an incident."""
    heartbeat_url: SecretStr | None = None
    """Called at each sweep's start (`/start`), success and failure (`/fail`), as healthchecks.io wants it."""
    heartbeat_url_file: UserPath | None = None
    heartbeat_url_env: str | None = None

    @model_validator(mode="after")
    def _at_most_one_url(self) -> AlertSettings:
        if _given(self, "heartbeat_url"):
            _exactly_one(self, "heartbeat_url")
        return self

    def resolved_heartbeat(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The heartbeat URL, if there is one. Raises `ConfigError`, never with the URL."""
        if not _given(self, "heartbeat_url"):
            return None
        return _web_address(_resolved(self, "heartbeat_url", environment), "alerts: its heartbeat_url")


def _given(settings: Settings, field: str) -> list[str]:
    return [name for name in (field, f"{field}_file", f"{field}_env") if getattr(settings, name) is not None]


def _exactly_one(settings: Settings, field: str) -> None:
    given = _given(settings, field)
    if len(given) != 1:
        raise ValueError(f"give exactly one of {field}, {field}_file and {field}_env")


def _web_address(secret: SecretStr, what: str) -> SecretStr:
    if re.fullmatch(r"https?://[^\s/?#]+[^\s]*", secret.get_secret_value()) is None:
        raise ConfigError(f"{what} is not an http or https URL")
    return secret


def _shown(path: Path) -> str:
    """The path, unless it looks as if the secret itself had been put in its place."""
    text = str(path)
    secret = re.match(r"https?:/", text) or re.fullmatch(r"[A-Za-z0-9_+=-]{20,}", text)
    return "the file that it names" if secret else text


def _resolved(settings: Settings, field: str, environment: Mapping[str, str]) -> SecretStr:
    (given,) = _given(settings, field)
    owner = f"notifiers.{settings.name}" if isinstance(settings, NotifierSettings) else "alerts"
    value = getattr(settings, given)
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
    elif isinstance(value, Path):
        try:
            text = value.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise ConfigError(f"{owner}.{given}: cannot read {_shown(value)}: {reason}") from None
    else:
        text = environment.get(value, "")
    if not text.strip():
        raise ConfigError(f"{owner}.{given}: nothing stands there; put the secret into it")
    return SecretStr(text.strip())
