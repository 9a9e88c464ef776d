"""Files with secrets that other users of this machine may read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, SecretStr

from auditor.disk.ownership import other_readers
from auditor.settings.file import Config


def exposed(config: Config, path: Path | None) -> tuple[str, ...]:
    """Word one line for each such file, with the command that closes it. Reads modes alone, never contents.

    `path` is the configuration file: it counts only where a secret stands in it. A file that is read by way
    of its group, because it belongs to somebody else, is as it must be; so is one in a closed folder.
    """
    holders: dict[Path, list[str]] = {}
    for key, file in _secrets(config, ""):
        holder = file or path
        if holder is not None:
            holders.setdefault(holder, []).append(key)
    return tuple(
        f"{holder}: {who}, and it holds {', '.join(keys)}; chmod 600 it"
        for holder, keys in holders.items()
        if (who := other_readers(holder))
    )


def _secrets(settings: BaseModel, place: str) -> Iterator[tuple[str, Path | None]]:
    """Yield the dotted key of each secret, and the file that holds it; None: the configuration file itself."""
    for field, value in settings:
        key = f"{place}{field}"
        if isinstance(value, SecretStr):
            yield key, None
        elif isinstance(value, Path) and _holds_a_secret(settings, field):
            yield key, value
        elif isinstance(value, dict):
            yield from _secret_entries(value, key)
        elif isinstance(value, BaseModel):
            yield from _secrets(value, f"{key}.")
        elif isinstance(value, tuple):
            for entry in value:
                if isinstance(entry, BaseModel):
                    named = getattr(entry, "name", None)
                    yield from _secrets(entry, f"{key}.{named}." if named else f"{key}.")


def _secret_entries(table: Mapping[object, object], key: str) -> Iterator[tuple[str, Path | None]]:
    """Yield the secrets of a table with keys of the user's choice, such as headers."""
    for name, value in table.items():
        if isinstance(value, SecretStr):
            yield f"{key}.{name}", None
        elif isinstance(value, Path):
            yield f"{key}.{name}", value


def _holds_a_secret(settings: BaseModel, field: str) -> bool:
    secret = field.removesuffix("_file")
    known = type(settings).model_fields
    # A key that may also be given as text is a secret; TLS's private key, a bearer's token and the page's password are
    # only ever files.
    return field in ("key_file", "bearer_token_file", "password_file") or (
        secret != field and secret in known
    )
