"""Secrets of the configuration, each given in one of three places: `key`, `key_file` or `key_env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from auditor.errors import ConfigError
from auditor.settings.base import Settings


def places(field: str) -> tuple[str, str, str]:
    """The three keys under which a secret may be given."""
    return field, f"{field}_file", f"{field}_env"


def given(settings: Settings, field: str) -> tuple[str, ...]:
    """The keys of the three that are set."""
    return tuple(key for key in places(field) if getattr(settings, key) is not None)


def web_address(secret: SecretStr, what: str) -> SecretStr:
    """The secret, if it is a URL. Raises `ConfigError` that names `what`, never the URL."""
    if re.fullmatch(r"https?://[^\s/?#]+[^\s]*", secret.get_secret_value()) is None:
        raise ConfigError(f"{what} is not an http or https URL")
    return secret


def may_be_secret(text: str) -> bool:
    """Whether a name looks as if the secret itself had been put in its place."""
    return re.match(r"https?:/|[A-Za-z0-9+=-]{20,}$|[A-Za-z0-9_+=-]{40,}$", text) is not None


def resolved_secret(settings: Settings, field: str, environment: Mapping[str, str], owner: str) -> SecretStr:
    """Read the secret of `field` from where it was given, without blanks around it.

    `owner`: dotted path of the table, for the message. Raises `ConfigError` with the place, never the secret.
    """
    (key,) = given(settings, field)
    value = getattr(settings, key)
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
    elif isinstance(value, Path):
        try:
            text = value.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            shown = "the file that it names" if may_be_secret(str(value)) else value
            raise ConfigError(f"{owner}.{key}: cannot read {shown}: {reason}") from None
    else:
        text = environment.get(value, "")
    if not text.strip():
        raise ConfigError(f"{owner}.{key}: nothing stands there; put the secret into it")
    return SecretStr(text.strip())
