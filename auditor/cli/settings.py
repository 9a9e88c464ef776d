"""From the command line's options to settings, a registry and a node source: the parts that commands share."""

from __future__ import annotations

import logging
import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # `--help` needs none of these, and pydantic takes as long as all the rest
    from auditor.nodes.interface import NodeSource
    from auditor.nodes.processes import Processes
    from auditor.registry.interface import Registry
    from auditor.settings.file import Config
    from auditor.settings.ssh import SshSettings

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

processes_option = click.option(
    "--processes",
    type=click.IntRange(1, 64),
    help="Processes that look at nodes. Default: sweep.processes, else chosen by the number of nodes.",
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
        click.echo(f"wgaudit: {line}", err=True)
    return config, path


def visible(text: str) -> str:
    """The text on one line, without what does not print: part of it may have come from elsewhere."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def refuse(error: object, code: int) -> int:
    """One line on stderr, and the exit code."""
    click.echo(f"wgaudit: {visible(str(error))}", err=True)
    return code


def build_registry(config: Config) -> Registry:
    """The registry that the settings name. Raises `ConfigError`."""
    if config.consul.file is not None:
        from auditor.registry.file import FileRegistry

        return FileRegistry(config.consul.file, config.consul)
    from auditor.registry.consul import ConsulRegistry

    return ConsulRegistry(config.consul, config.consul.resolved_token(os.environ))


def build_nodes(config: Config) -> NodeSource:
    """The way to nodes that the settings name. Raises `ConfigError`."""
    return _ssh_nodes(config.ssh, config.mesh.device, config.regions.command, 1)


def build_processes(config: Config, *, endpoints: bool, processes: int | None) -> Processes:
    """The same, from several processes where there are many nodes; to be entered. Raises `ConfigError`.

    `processes`: None: what the settings say, else what fits the number of nodes.
    """
    from auditor.cli import threads
    from auditor.nodes.processes import Processes

    ssh = config.ssh.model_copy(update={"endpoints": True}) if endpoints else config.ssh
    build = partial(_ssh_nodes, ssh, config.mesh.device, config.regions.command)
    return Processes(build, processes or config.sweep.processes, run=threads.run)


def _ssh_nodes(ssh: SshSettings, device: str, region_command: str, sharing: int) -> NodeSource:
    """`sharing`: the number of processes that share what a jump host and a node are bounded to."""
    from auditor.nodes.ssh import SshNodes

    bounds = {name: max(1, getattr(ssh, name) // sharing) for name in ("logins_per_host", "per_jump")}
    return SshNodes(ssh.model_copy(update=bounds), device, region_command)
