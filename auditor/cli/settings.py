"""From the command line's options to settings, a registry and a node source: the parts that commands share."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.values.text import for_log

if TYPE_CHECKING:  # `--help` needs none of these, and pydantic takes as long as all the rest
    from auditor.gather.collector import Collector
    from auditor.nodes.interface import NodeSource
    from auditor.registry.interface import Registry
    from auditor.settings.file import Config

log = logging.getLogger(__name__)


class Seconds(click.FloatRange):
    """A number of seconds: finite, which `nan` and `inf` are not although they pass a range."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads the number. Fails as a usage error."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return number


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Configuration file. Default: $WGAUDIT_CONFIG, ./wgaudit.toml, the user's and the system's config folder.",
)
replay_option = click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="Judge a recorded snapshot instead of looking at the fleet. It brings its own policy along.",
)


def read_config(explicit: Path | None, *, warn: bool = True) -> tuple[Config, Path | None]:
    """The settings and the file they came from; the defaults where there is no file. Raises `ConfigError`.

    `warn`: one line on stderr for each file with a secret in it that others may read.
    """
    from auditor.cli.exposure import exposed
    from auditor.settings.file import Config, find_config, load_config

    path = find_config(explicit, os.environ, Path.cwd())
    if path is None:
        log.info("no configuration file; using the defaults")
        return Config(), None
    log.info("configuration: %s", path)
    config = load_config(path)
    for line in exposed(config, path) if warn else ():
        click.echo(f"wgaudit: {for_log(line)}", err=True)
    return config, path


def refuse(error: object, code: int) -> int:
    """One line on stderr, and the exit code."""
    click.echo(f"wgaudit: {for_log(str(error))}", err=True)
    return code


def build_registry(config: Config) -> Registry:
    """The registry that the settings name. Raises `ConfigError`."""
    if config.consul.file is not None:
        from auditor.registry.file import FileRegistry

        return FileRegistry(config.consul.file, config.consul)
    from auditor.registry.consul import ConsulRegistry

    return ConsulRegistry(config.consul, config.consul.resolved_token(os.environ))


def build_nodes(config: Config, *, endpoints: bool = False) -> NodeSource:
    """The way to nodes that the settings name. Raises `ConfigError`."""
    from auditor.nodes.ssh import SshAccess, SshNodes

    ssh = config.ssh.model_copy(update={"endpoints": True}) if endpoints else config.ssh
    return SshNodes(SshAccess(ssh), config.mesh.device, config.regions.command)


def build_collector(
    config: Config, *, endpoints: bool = False, room: Callable[[int], int] | None = None
) -> Collector:
    """Build the collector of one sweep. `room`: how many of so many nodes may be under way. Raises `ConfigError`."""
    from auditor.gather.local import LocalCollector

    return LocalCollector(build_nodes(config, endpoints=endpoints), config.ssh.concurrency, room)
