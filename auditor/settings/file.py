"""The configuration file: found, read once, and checked; an unknown key is an error."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import platformdirs
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from auditor.errors import ConfigError
from auditor.settings.alerts import AlertSettings, AnyNotifier
from auditor.settings.base import Settings
from auditor.settings.consul import ConsulSettings
from auditor.settings.mesh import CoverageSettings, MeshSettings, RegionSettings, SharedSettings
from auditor.settings.repair import RepairSettings
from auditor.settings.ssh import SshSettings
from auditor.settings.state import StateSettings
from auditor.settings.sweep import SweepSettings
from auditor.values.models import AuditPolicy

APP = "wgaudit"
FILE_NAME = "wgaudit.toml"
CONFIG_VARIABLE = "WGAUDIT_CONFIG"


class Config(Settings):
    """The whole configuration file."""

    consul: ConsulSettings = ConsulSettings()
    ssh: SshSettings = SshSettings()
    mesh: MeshSettings = MeshSettings()
    regions: RegionSettings = RegionSettings()
    coverage: CoverageSettings = CoverageSettings()
    sweep: SweepSettings = SweepSettings()
    state: StateSettings = Field(default_factory=StateSettings)
    alerts: AlertSettings = AlertSettings()
    repair: RepairSettings = RepairSettings()
    notifiers: tuple[AnyNotifier, ...] = ()
    shared: tuple[SharedSettings, ...] = ()

    @model_validator(mode="after")
    def _names(self) -> Config:
        names = [notifier.name for notifier in self.notifiers]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"notifiers: two are called {', '.join(sorted(twice))}")
        return self

    def policy(self) -> AuditPolicy:
        """Convert to the policy used by the judge, which snapshots record."""
        return AuditPolicy(
            device=self.mesh.device,
            pools=self.mesh.pools,
            topology=self.mesh.topology,
            name_pattern=self.regions.name_pattern or None,
            region_pools=dict(self.regions.pools),
            minimum_coverage=self.coverage.minimum,
            shared=tuple(item.policy() for item in self.shared),
        )


def find_config(explicit: Path | None, environment: Mapping[str, str], folder: Path) -> Path | None:
    """The configuration file to read, or None where there is none.

    Order: `explicit`, `$WGAUDIT_CONFIG`, `./wgaudit.toml`, the user's and then the system's config folder.
    One that was named must exist (`ConfigError`); the others are taken if they do.
    """
    origin, named = "--config", explicit
    if named is None and environment.get(CONFIG_VARIABLE):
        origin, named = f"${CONFIG_VARIABLE}", Path(environment[CONFIG_VARIABLE]).expanduser()
    if named is not None:
        if not _is_file(named):
            if named.is_dir():
                raise ConfigError(f"{origin}: {named} is a directory; name the file in it")
            raise ConfigError(f"{origin}: no file at {named}; `wgaudit init` writes one")
        return named
    candidates = (
        folder / FILE_NAME,
        platformdirs.user_config_path(APP) / FILE_NAME,
        *(
            Path(base) / APP / FILE_NAME
            for base in platformdirs.site_config_dir("", multipath=True).split(os.pathsep)
        ),
        Path("/etc") / APP / FILE_NAME,
    )
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        # Passing it over would let another file, or the defaults, stand in for it.
        raise ConfigError(
            f"{path}: cannot look for it: {error.strerror}; name the file with --config"
        ) from None


def load_config(path: Path) -> Config:
    """Reads one configuration file. Raises `ConfigError` naming file, key and what to do."""
    try:
        with path.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return parse_config(document, str(path))


def parse_config(document: Mapping[str, object], origin: str) -> Config:
    """Validates a configuration document. Values never appear in the error: they may be secrets."""
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False, include_context=False)
        # A misspelt key also leaves the right one missing; the misspelling is what to tell.
        first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
        place, table = _place(first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"{origin}: unknown key {place}{_nearest(str(first['loc'][-1]), table)}"
            ) from None
        raise ConfigError(f"{origin}: {f'{place}: ' if place else ''}{_message(first)}") from None


_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "path_type": "must be a path in quotes",
    "string_too_short": "must not be empty",
    "string_type": "must be text in quotes",
}
"""What pydantic's kinds of errors mean to who writes TOML; its own words are Python's."""
_FORMS = {
    "api": "must be an http or https URL without a path",
    "device": "must be a device's name: 1 to 15 letters, digits and any of _ = + . -",
    "docs_url": "must be an http or https URL without a #",
    "name": "must begin with a letter or digit, and have at most 63 letters, digits and any of _ . -",
    "workload_field": "must be the name of a value: a letter or _, then letters, digits, _ and -, 64 at most",
}
"""By key: what its pattern asks for."""


def _message(error: ErrorDetails) -> str:
    """What is wrong, in the file's words and without the value that stands there."""
    match error["type"]:
        case "union_tag_not_found" | "union_tag_invalid":
            kinds = ", ".join(str(_kind(table)) for table in _tables_in(Config, "notifiers"))
            return f"its type must be one of {kinds}"
        case "missing":
            return "is missing"
        case "tuple_type" if error["loc"][-1] in ("notifiers", "shared"):
            return f"must be a list: write [[{error['loc'][-1]}]] above each entry"
        case "tuple_type":
            return "must be a list in [ ]"
        case "string_pattern_mismatch":
            return _FORMS.get(str(error["loc"][-1]), "is not in the form that docs/configuration.md gives")
        case kind if kind in _WORDS:
            return _WORDS[kind]
    return error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def _place(location: tuple[int | str, ...]) -> tuple[str, type[BaseModel] | None]:
    """The key's dotted path as the file has it, and the table that it stands in."""
    tables: list[type[BaseModel]] = [Config]
    place = ""
    for part in location:
        if isinstance(part, int):
            place += f"[{part + 1}]"  # people count entries from one
            continue
        kinds = [table for table in tables if _kind(table) == part]
        if kinds and len(tables) > 1:
            tables = kinds  # pydantic names the variant of a notifier; the file does not
            continue
        place += f".{part}" if place else part
        inner = [found for table in tables for found in _tables_in(table, part)]
        tables = inner or tables
    return place, tables[0] if len(tables) == 1 else None


def _kind(table: type[BaseModel]) -> str | None:
    field = table.model_fields.get("type")
    return get_args(field.annotation)[0] if field is not None else None


def _tables_in(table: type[BaseModel], key: str) -> list[type[BaseModel]]:
    """The tables that may stand under a key: one, the variants of a list's entries, or none."""
    field = table.model_fields.get(key)
    found: list[type[BaseModel]] = []
    pending: list[Any] = [field.annotation] if field is not None else []
    while pending:
        annotation = pending.pop(0)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        else:
            pending += get_args(annotation)
    return found


def _nearest(key: str, table: type[BaseModel] | None) -> str:
    if table is None:
        return ""
    close = difflib.get_close_matches(key, list(table.model_fields), n=1)
    return (
        f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(sorted(table.model_fields))}"
    )


def config_keys() -> tuple[str, ...]:
    """Every key that a configuration may hold, dotted, for the documentation's test and `init`."""

    def walk(table: type[BaseModel], path: str) -> list[str]:
        keys: list[str] = []
        for name in table.model_fields:
            inner = _tables_in(table, name)
            keys += (
                [key for found in inner for key in walk(found, f"{path}{name}.")]
                if inner
                else [f"{path}{name}"]
            )
        return keys

    return tuple(dict.fromkeys(walk(Config, "")))
