"""Secrets of the configuration, each given in one of three places: `key`, `key_file` or `key_env`."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from auditor.errors import ConfigError
from auditor.settings.base import Settings

_QUOTES = "\"'`"


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
    """Tell whether a name looks as if the secret itself had been put in its place."""
    return re.match(r"[a-z][a-z0-9+]*:/|[A-Za-z0-9+=-]{20,}$|[A-Za-z0-9_+=-]{40,}$", text) is not None


def undressed(text: str, place: str) -> str:
    """Give back a secret that stands there bare. Raises `ConfigError` with the place, never the secret.

    What other formats put around a value would be sent along, and refused by the other side in words that do not help.
    """
    if text.startswith("\ufeff"):
        raise ConfigError(f"{place}: begins with a byte order mark; save it as UTF-8 without one")
    if re.match(r"(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*=\s*[^\s=]", text):
        raise ConfigError(f"{place}: has NAME= before the secret; write the secret alone, without a name")
    if text and (text[0] in _QUOTES or text[-1] in _QUOTES):
        raise ConfigError(f"{place}: has quotes around the secret; leave them out")
    if re.search(r"\s", text.strip()):
        raise ConfigError(f"{place}: has blanks or line ends in it; it must hold the secret and nothing else")
    return text


def secret_in_file(path: Path, place: str, what: str) -> SecretStr:
    """Read the secret that a file holds, bare but for blanks around it. Raises `ConfigError`, never with the secret.

    place: the key or variable that names the file; what: the secret, for the message.
    """
    text = _text_of(path, place)
    if not text:
        raise ConfigError(f"{place}: {_path_text(path)} is empty; write {what} into it")
    return SecretStr(undressed(text, f"{place}: {_path_text(path)}"))


def _text_of(path: Path, place: str) -> str:
    """Read a file, without blanks around its text. Raises `ConfigError` with the place."""
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ConfigError(
                f"{place}: {_path_text(path)} begins with UTF-16's byte order mark; save it as UTF-8"
            )
        return content.decode().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{place}: cannot read {_path_text(path)}: {reason}") from None


def _path_text(path: Path) -> str:
    return "the file that it names" if may_be_secret(str(path)) else str(path)


def resolved_secret(settings: Settings, field: str, environment: Mapping[str, str], owner: str) -> SecretStr:
    """Read the secret of `field` from where it was given, without blanks around it.

    `owner`: dotted path of the table, for the message. Raises `ConfigError` with the place, never the secret.
    """
    (key,) = given(settings, field)
    value = getattr(settings, key)
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
    elif isinstance(value, Path):
        text = _text_of(value, f"{owner}.{key}")
    else:
        text = environment.get(value, "")
    if not text.strip():
        raise ConfigError(f"{owner}.{key}: nothing stands there; put the secret into it")
    return SecretStr(text.strip())
