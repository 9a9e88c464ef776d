"""Origin of each value of a configuration: a line of the file, an environment variable, or the default."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import Enum

from pydantic import BaseModel, SecretStr

from auditor.settings.consul import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from auditor.settings.faults import dotted
from auditor.settings.file import Config
from auditor.settings.lines import Path as KeyPath
from auditor.settings.lines import key_lines
from auditor.settings.nomad import NOMAD_TOKEN_VARIABLE
from auditor.settings.secret import may_be_secret, places
from auditor.values.setting_origins import MASK, Origin, OriginKind, ShownSetting
from auditor.values.text import masked, without_login

_STATE_VARIABLE = "XDG_STATE_HOME"
_LED_BY_SSH = frozenset({("ssh", "user"), ("ssh", "port"), ("ssh", "known_hosts"), ("ssh", "proxy_jump")})
"""Keys in whose place ssh's own configuration is followed where they are not set."""


def shown_settings(
    config: Config, document: Mapping[str, object], text: str, file: str, environment: Mapping[str, str]
) -> tuple[ShownSetting, ...]:
    """List every value of a configuration with its origin, in the order of the settings' types.

    Args:
        config: The configuration that was read.
        document: The file's content, as a TOML reader gives it; empty where there is no file.
        text: What the document was read from, for the lines.
        file: Name of the file.
        environment: The process's variables. No value of a secret one is looked at.
    """
    leaves = list(_leaves(config, ()))
    given = [path for path, _, _ in leaves if _stands_in(document, path)]
    lines = key_lines(text, given) if given else {}
    written = {path: Origin(OriginKind.FILE, file, lines.get(path)) for path in given}
    return tuple(_setting(path, value, owner, written, environment) for path, value, owner in leaves)


def _leaves(table: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, object, BaseModel]]:
    """Yield each key's path, its value, and the table that holds it."""
    for name in type(table).model_fields:
        value = getattr(table, name)
        here = (*path, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, here)
        elif isinstance(value, tuple) and value and all(isinstance(entry, BaseModel) for entry in value):
            for number, entry in enumerate(value):
                yield from _leaves(entry, (*here, number))
        elif isinstance(value, dict) and value:
            for key, entry in value.items():
                yield (*here, str(key)), entry, table
        else:
            yield here, value, table


def _stands_in(document: object, path: KeyPath) -> bool:
    for part in path:
        if isinstance(document, Mapping) and part in document:
            document = document[part]
        elif isinstance(document, list) and isinstance(part, int):
            document = document[part]  # as many entries as were read from it
        else:
            return False
    return True


def _setting(
    path: KeyPath,
    value: object,
    owner: BaseModel,
    written: Mapping[KeyPath, Origin],
    environment: Mapping[str, str],
) -> ShownSetting:
    table, key = dotted(path[:-1]), dotted(path[-1:])
    origin = written.get(path, Origin(OriginKind.DEFAULT))
    if isinstance(value, SecretStr):
        return ShownSetting(table, key, MASK, True, origin)
    if path == ("consul", "token_file") and _token_variable(owner, environment) == TOKEN_FILE_VARIABLE:
        named = json.dumps(_name(environment[TOKEN_FILE_VARIABLE]), ensure_ascii=False)
        return ShownSetting(table, key, named, False, Origin(OriginKind.ENVIRONMENT, TOKEN_FILE_VARIABLE))
    if value is None and (elsewhere := _secret_elsewhere(path, owner, environment)) is not None:
        masked_value = None if elsewhere.note else MASK
        return elsewhere._replace(table=table, key=key, value=masked_value)
    if path == ("state", "path") and path not in written and environment.get(_STATE_VARIABLE, "").strip():
        origin = Origin(OriginKind.ENVIRONMENT, _STATE_VARIABLE)
    led = path in _LED_BY_SSH and path not in written
    note = "not set: ssh.config_file may name another" if led else ""
    if value is not None and key.endswith(("_file", "_env")):
        shown: str | None = json.dumps(_name(str(value)), ensure_ascii=False)
    else:
        shown = _toml(value)
    return ShownSetting(table, key, shown, False, origin, note)


def _token_variable(consul: BaseModel, environment: Mapping[str, str]) -> str | None:
    """Name the variable that gives the Consul token; None where the configuration does, or nothing."""
    if getattr(consul, "token", None) is not None or getattr(consul, "token_file", None) is not None:
        return None
    return next((name for name in (TOKEN_FILE_VARIABLE, TOKEN_VARIABLE) if environment.get(name)), None)


def _secret_elsewhere(path: KeyPath, owner: BaseModel, environment: Mapping[str, str]) -> ShownSetting | None:
    """Find a secret that is not written at its own key: in the file or the variable that its other keys name."""
    name = str(path[-1])
    known = type(owner).model_fields
    _, file_key, variable_key = places(name)
    found: Origin | None = None
    note = ""
    if path == ("consul", "token"):
        variable = _token_variable(owner, environment)
        if variable == TOKEN_VARIABLE:
            found = Origin(OriginKind.ENVIRONMENT, variable)
        elif variable == TOKEN_FILE_VARIABLE:
            found = Origin(OriginKind.FILE, _name(environment[variable]))
    elif path == ("nomad", "token") and getattr(owner, "token_file", None) is None:
        if environment.get(NOMAD_TOKEN_VARIABLE):
            found = Origin(OriginKind.ENVIRONMENT, NOMAD_TOKEN_VARIABLE)
    elif variable_key in known and (variable := getattr(owner, variable_key)) is not None:
        found = Origin(OriginKind.ENVIRONMENT, _name(variable))
        note = "" if environment.get(variable, "").strip() else "the variable is not set"
    if file_key in known and (file := getattr(owner, file_key)) is not None:
        found = Origin(OriginKind.FILE, _name(str(file)))
    if found is None:
        return None
    return ShownSetting("", "", None, True, found, note)


# -- values in TOML


def _toml(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return _text(str(value.value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_toml(entry) or '' for entry in value)}]"
    if isinstance(value, dict):
        return "{}"
    return _text(str(value))


def _text(text: str) -> str:
    """Write a text in quotes; a URL stays readable, a password in it and a key in any text do not."""
    shown = without_login(text) if text.startswith(("http://", "https://")) else masked(text)
    return json.dumps(shown, ensure_ascii=False)


def _name(text: str) -> str:
    """Return the name of a file or variable, masked where the secret itself seems to have been put in its place."""
    return MASK if may_be_secret(text) else text
