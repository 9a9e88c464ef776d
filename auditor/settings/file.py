"""The configuration file: found, read once, and checked; an unknown key is an error."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import platformdirs
from pydantic import Field, ValidationError

from auditor.disk.ownership import others_hand
from auditor.errors import ConfigError, ConfigFault
from auditor.settings.alerts import AlertSettings, AnyNotifier
from auditor.settings.base import Contradiction, Settings
from auditor.settings.collectors import CollectorSettings
from auditor.settings.consul import ConsulSettings
from auditor.settings.faults import faults_of, known_keys, syntax_fault
from auditor.settings.mesh import (
    CoverageSettings,
    MeshSettings,
    RegionSettings,
    RoamingSettings,
    SharedSettings,
)
from auditor.settings.nomad import NomadSettings
from auditor.settings.repair import RepairSettings
from auditor.settings.ssh import SshSettings
from auditor.settings.state import StateSettings
from auditor.settings.sweep import SweepSettings
from auditor.settings.watch import WatchSettings
from auditor.settings.witnesses import WitnessSettings
from auditor.values.models import AuditPolicy

APP = "wgaudit"
FILE_NAME = "wgaudit.toml"
SCHEMA_FILE = "wgaudit.schema.json"
"""Name of the schema beside a configuration, which its first line gives to editors."""
CONFIG_VARIABLE = "WGAUDIT_CONFIG"


class Config(Settings):
    """The whole configuration file."""

    consul: ConsulSettings = Field(default_factory=ConsulSettings)
    ssh: SshSettings = Field(default_factory=SshSettings)
    mesh: MeshSettings = Field(default_factory=MeshSettings)
    regions: RegionSettings = Field(default_factory=RegionSettings)
    coverage: CoverageSettings = Field(default_factory=CoverageSettings)
    sweep: SweepSettings = Field(default_factory=SweepSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    alerts: AlertSettings = Field(default_factory=AlertSettings)
    repair: RepairSettings = Field(default_factory=RepairSettings)
    nomad: NomadSettings = Field(default_factory=NomadSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    collectors: CollectorSettings = Field(default_factory=CollectorSettings)
    notifiers: tuple[AnyNotifier, ...] = ()
    shared: tuple[SharedSettings, ...] = ()
    roaming: tuple[RoamingSettings, ...] = ()
    witnesses: tuple[WitnessSettings, ...] = ()

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Two notifiers of one name: what was sent is remembered under it. Two witnesses of one type."""
        yield from _twice(table, "notifiers", "name", "an earlier notifier has this name")
        yield from _twice(table, "witnesses", "type", "an earlier witness has this type")

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
            roaming=tuple(item.policy() for item in self.roaming),
            mesh=self.alerts.mesh,
        )


def _twice(table: Mapping[str, object], list_key: str, key: str, reason: str) -> Iterator[Contradiction]:
    """Find entries of a list of tables that repeat a value which tells its entries apart."""
    entries = table.get(list_key)
    seen: set[str] = set()
    for number, entry in enumerate(entries if isinstance(entries, list | tuple) else ()):
        value = entry.get(key) if isinstance(entry, Mapping) else getattr(entry, key, None)
        if isinstance(value, str) and value in seen:
            yield Contradiction((list_key, number, key), reason)
        elif isinstance(value, str):
            seen.add(value)


def find_config(explicit: Path | None, environment: Mapping[str, str], folder: Path) -> Path | None:
    """The configuration file to read, or None where there is none.

    Order: `explicit`, `$WGAUDIT_CONFIG`, `./wgaudit.toml`, the user's and then the system's config folder.
    One that was named must exist (`ConfigError`); the others are taken if they do. The one in the working folder,
    which nobody named, is refused (`ConfigError`) where others can write it: it says what runs here and where
    secrets go.
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
        *_system_files(),
    )
    found = next((path for path in candidates if _is_file(path)), None)
    if found == candidates[0]:
        _refuse_others_hand(found, f"--config ./{FILE_NAME} reads it all the same")
    return found


def _system_files() -> tuple[Path, ...]:
    folders = platformdirs.site_config_dir("", multipath=True).split(os.pathsep)
    return (*(Path(base) / APP / FILE_NAME for base in folders), Path("/etc") / APP / FILE_NAME)


def found_by_everybody(path: Path) -> bool:
    """Tell whether the file lies where each user's calls find it without its being named: in a folder of the system."""
    return path in _system_files()


def read_found(
    explicit: Path | None, environment: Mapping[str, str], folder: Path
) -> tuple[Config, Path | None]:
    """Find the configuration file as `find_config` does and read it; the defaults where there is none.

    The ssh configuration that an unnamed file of the working folder names is held to the same rule as that file.
    Raises `ConfigError`.
    """
    path = find_config(explicit, environment, folder)
    if path is None:
        return Config(), None
    config = load_config(path)
    unnamed = explicit is None and not environment.get(CONFIG_VARIABLE) and path == folder / FILE_NAME
    named_there = config.ssh.config_file if "config_file" in config.ssh.model_fields_set else None
    if unnamed and named_there is not None and _is_file(named_there):
        _refuse_others_hand(
            named_there, f"it stands in {path} as ssh.config_file; --config ./{FILE_NAME} reads both"
        )
    return config, path


def _refuse_others_hand(path: Path, advice: str) -> None:
    try:
        reason = others_hand(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot look whose it is: {error.strerror}") from None
    if reason:
        raise ConfigError(f"{path}: not read unasked: {reason}; {advice}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        # Passing it over would let another file, or the defaults, stand in for it.
        raise ConfigError(
            f"{path}: cannot look for it: {error.strerror}; name the file with --config"
        ) from None


def load_config(path: Path) -> Config:
    """Read one configuration file. Raises `ConfigError` with all faults: file, line, key, what to do."""
    return parse_toml(config_text(path), str(path))


def config_text(path: Path) -> str:
    """Read the text of a configuration file. Raises `ConfigError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read: {error.strerror}") from None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError((ConfigFault(str(path), "", "not valid TOML: not UTF-8 text", line),)) from None


def parse_toml(text: str, origin: str) -> Config:
    """Read a configuration from text. Raises as `load_config` does, with `origin` as the file."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((syntax_fault(error, text, origin),)) from None
    except ValueError:
        raise ConfigError((ConfigFault(origin, "", "not valid TOML: a number that is too long"),)) from None
    except RecursionError:
        raise ConfigError((ConfigFault(origin, "", "not valid TOML: nested too deeply"),)) from None
    return parse_config(document, origin, text)


def parse_config(document: Mapping[str, object], origin: str, text: str = "") -> Config:
    """Validate a configuration document. Raises `ConfigError` with all faults; values are not in it.

    `text`: what the document was read from, for the faults' lines.
    """
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(faults_of(error, Config, origin, text)) from None


def config_keys() -> tuple[str, ...]:
    """Every key that a configuration may hold, dotted, for the documentation's test."""
    return known_keys(Config)
