"""Settings: read once from TOML, frozen, unknown keys refused; their parts are passed on as values."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from auditor.addresses import InvalidValue, Prefix, parse_prefix
from auditor.errors import ConfigError
from auditor.models import AuditPolicy

APP = "wgaudit"
FILE_NAME = "wgaudit.toml"
CONFIG_VARIABLE = "WGAUDIT_CONFIG"
TOKEN_VARIABLE = "CONSUL_HTTP_TOKEN"  # noqa: S105  (the variable's name, not a token)


def _prefix(value: object) -> Prefix:
    if not isinstance(value, str):
        raise ValueError("must be an address prefix in quotes")
    try:
        return parse_prefix(value)
    except InvalidValue as error:
        raise ValueError(str(error)) from None


def _expanded(path: Path) -> Path:
    return path.expanduser()


def _regular_expression(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if pattern and "region" not in compiled.groupindex:
        raise ValueError("needs a group named region: (?P<region>…)")
    return pattern


Pool = Annotated[Prefix, BeforeValidator(_prefix)]
UserPath = Annotated[Path, AfterValidator(_expanded)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseModel):
    """Base of each table of the configuration: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ConsulFields(Settings):
    """Dotted path of each value inside a KV record, a KV key's last part, or a catalog node's meta key."""

    public_key: str = "public_key"
    address: str = "ip"
    region: str = "region"
    endpoint: str = "endpoint"
    ssh_host: str = "ssh_host"


class ConsulSettings(Settings):
    """Where registrations are read, and how."""

    url: str = "http://127.0.0.1:8500"
    layout: Literal["kv-json", "kv-fields", "catalog"] = "kv-json"
    """One JSON value a node; one key a field (`<prefix><node>/<field>`); or the catalog's node meta."""
    prefix: str = "wireguard/nodes/"
    datacenters: tuple[str, ...] = ()
    """Empty: the agent's own. `["*"]`: every one that Consul knows."""
    token: SecretStr | None = None
    token_file: UserPath | None = None
    timeout: Seconds = 10.0
    ca_file: UserPath | None = None
    cert_file: UserPath | None = None
    key_file: UserPath | None = None
    file: UserPath | None = None
    """A file written by `consul kv export`, read in place of a server."""
    fields: ConsulFields = ConsulFields()

    @model_validator(mode="after")
    def _check(self) -> ConsulSettings:
        scheme, separator, rest = self.url.partition("://")
        if scheme not in ("http", "https") or not separator or not rest:
            raise ValueError("url must start with http:// or https://")
        if "@" in rest:
            raise ValueError("url must not carry a password; use token or token_file")
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file exclude each other")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        if self.layout != "catalog" and (not self.prefix or not self.prefix.endswith("/")):
            # Consul's prefix match is greedy: "wireguard/node" would also match "wireguard/nodes-old/…".
            raise ValueError("prefix must end with /")
        return self

    def resolved_token(self, environment: Mapping[str, str]) -> SecretStr | None:
        """The token to send: config, then token_file, then CONSUL_HTTP_TOKEN. Raises `ConfigError`."""
        if self.token is not None:
            return self.token
        if self.token_file is not None:
            try:
                text = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not a text file"
                raise ConfigError(f"consul.token_file: cannot read {self.token_file}: {reason}") from None
            if not text:
                raise ConfigError(f"consul.token_file: {self.token_file} is empty; write the token into it")
            return SecretStr(text)
        from_environment = environment.get(TOKEN_VARIABLE, "").strip()
        return SecretStr(from_environment) if from_environment else None


class SshSettings(Settings):
    """The way to nodes."""

    host: str = ""
    """Template over the registration (`{node}`, `{ssh_host}`, `{region}` …). Empty: ssh_host, else the
    endpoint's host."""
    user: str = "root"
    port: int = Field(default=22, ge=1, le=65_535)
    identity_files: tuple[UserPath, ...] = ()
    """Empty: the agent's keys and ssh's default identities. A `-cert.pub` beside one is used with it."""
    agent: bool = True
    known_hosts: UserPath = Field(default=Path("~/.ssh/known_hosts"), validate_default=True)
    config_file: UserPath | None = Field(default=Path("~/.ssh/config"), validate_default=True)
    proxy_jump: str = ""
    """`[user@]host[:port]`, comma-separated, as ssh's ProxyJump. Empty: what config_file says."""
    concurrency: int = Field(default=100, ge=1, le=10_000)
    connect_timeout: Seconds = 10.0
    command_timeout: Seconds = 20.0
    sudo: bool = False
    probe: Literal["inline", "installed"] = "inline"
    """inline: the script travels along. installed: authorized_keys forces it (`wgaudit probe-script`)."""
    endpoints: bool = False
    """Also ask each node for its peers' endpoints: N×N lines, but it shows where a ghost lives."""
    max_output: int = Field(default=64 * 1024 * 1024, ge=4096, le=1024 * 1024 * 1024)
    """Bytes that one node may answer with."""


class MeshSettings(Settings):
    """What is being audited."""

    device: str = Field(default="wg0", pattern=r"^[A-Za-z0-9_=+.\-]{1,15}$")
    pools: tuple[Pool, ...] = (Prefix("10.0.0.0/8"),)
    topology: Literal["full", "partial"] = "full"
    """partial: a registered peer that is not there is no finding."""


class RegionSettings(Settings):
    """How a node's region is known, beside what its registration says."""

    name_pattern: Annotated[str, AfterValidator(_regular_expression)] = ""
    """Regular expression over the node's name with a group named region."""
    command: str = ""
    """Run on each node by sh; prints its region."""
    pools: dict[str, Pool] = {}
    """The address plan: region = prefix."""


class CoverageSettings(Settings):
    """How much must be seen before a sweep may say clean."""

    minimum: float = Field(default=1.0, ge=0.0, le=1.0)


class SweepSettings(Settings):
    """Bounds and pauses of one sweep."""

    deadline: Seconds | None = None
    """The sweep reports what it has after so many seconds. None: no limit."""
    confirm_after: Annotated[float, Field(ge=0, le=3600)] = 3.0
    """Seconds before suspects are looked at once more."""


def _default_state_path() -> Path:
    return platformdirs.user_state_path(APP) / "wgaudit.db"


class StateSettings(Settings):
    """Where wgaudit keeps what it must remember."""

    path: UserPath = Field(default_factory=_default_state_path)


class Config(Settings):
    """The whole configuration file."""

    consul: ConsulSettings = ConsulSettings()
    ssh: SshSettings = SshSettings()
    mesh: MeshSettings = MeshSettings()
    regions: RegionSettings = RegionSettings()
    coverage: CoverageSettings = CoverageSettings()
    sweep: SweepSettings = SweepSettings()
    state: StateSettings = Field(default_factory=StateSettings)

    def policy(self) -> AuditPolicy:
        """The part that decides verdicts, as the value that snapshots record."""
        return AuditPolicy(
            device=self.mesh.device,
            pools=self.mesh.pools,
            topology=self.mesh.topology,
            name_pattern=self.regions.name_pattern or None,
            region_pools=dict(self.regions.pools),
            minimum_coverage=self.coverage.minimum,
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
        if not named.is_file():
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
    return next((path for path in candidates if path.is_file()), None)


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
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{origin}: unknown key {place}{_nearest(first['loc'])}") from None
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{origin}: {place or 'document'}: {message}") from None


def _nearest(location: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Config
    for part in location[:-1]:
        annotation = model.model_fields[str(part)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        model = annotation
    known = list(model.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(sorted(known))}"


def config_keys() -> tuple[str, ...]:
    """Every key that a configuration may hold, dotted, for the documentation's test and `init`."""

    def walk(model: type[BaseModel], path: str) -> list[str]:
        keys = []
        for name, info in model.model_fields.items():
            annotation = info.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                keys += walk(annotation, f"{path}{name}.")
            else:
                keys.append(f"{path}{name}")
        return keys

    return tuple(walk(Config, ""))
