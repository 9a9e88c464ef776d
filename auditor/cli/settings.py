"""From the command line's options to settings, a registry and a node source: the parts that commands share."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from auditor.config import Config, find_config, load_config
from auditor.nodes.interface import NodeSource
from auditor.registry.interface import Registry

log = logging.getLogger(__name__)

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


def read_config(explicit: Path | None) -> tuple[Config, Path | None]:
    """The settings and the file they came from; the defaults where there is no file. Raises `ConfigError`."""
    path = find_config(explicit, os.environ, Path.cwd())
    if path is None:
        log.info("no configuration file; using the defaults")
        return Config(), None
    log.info("configuration: %s", path)
    return load_config(path), path


def build_registry(config: Config) -> Registry:
    """The registry that the settings name. Raises `ConfigError`."""
    if config.consul.file is not None:
        from auditor.registry.file import FileRegistry

        return FileRegistry(config.consul.file, config.consul)
    from auditor.registry.consul import ConsulRegistry

    return ConsulRegistry(config.consul, config.consul.resolved_token(os.environ))


def build_nodes(config: Config, *, endpoints: bool = False) -> NodeSource:
    """The way to nodes that the settings name. Raises `ConfigError`."""
    from auditor.nodes.ssh import SshNodes

    ssh = config.ssh.model_copy(update={"endpoints": True}) if endpoints else config.ssh
    return SshNodes(ssh, config.mesh.device, config.regions.command)
