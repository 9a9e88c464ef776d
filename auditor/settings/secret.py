"""Secrets of the configuration, each given in one of three places: `key`, `key_file` or `key_env`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from auditor.errors import ConfigError
from auditor.settings.base import Settings


def given(settings: Settings, field: str) -> list[str]:
    """The keys of the three that are set."""
    return [name for name in (field, f"{field}_file", f"{field}_env") if getattr(settings, name) is not None]


def exactly_one(settings: Settings, field: str) -> None:
    """Raise `ValueError` unless one of the three is set."""
    if len(given(settings, field)) != 1:
        raise ValueError(f"give exactly one of {field}, {field}_file and {field}_env")


def web_address(secret: SecretStr, what: str) -> SecretStr:
    """The secret, if it is a URL. Raises `ConfigError` that names `what`, never the URL."""
    if re.fullmatch(r"https?://[^\s/?#]+[^\s]*", secret.get_secret_value()) is None:
        raise ConfigError(f"{what} is not an http or https URL")
    return secret


def _shown(path: Path) -> str:
    """The path, unless it looks as if the secret itself had been put in its place."""
    text = str(path)
    secret = re.match(r"https?:/", text) or re.fullmatch(r"[A-Za-z0-9_+=-]{20,}", text)
    return "the file that it names" if secret else text


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
            raise ConfigError(f"{owner}.{key}: cannot read {_shown(value)}: {reason}") from None
    else:
        text = environment.get(value, "")
    if not text.strip():
        raise ConfigError(f"{owner}.{key}: nothing stands there; put the secret into it")
    return SecretStr(text.strip())
