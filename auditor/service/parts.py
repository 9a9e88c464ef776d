"""Parts from the settings: registry, nodes, Consul's store and its allocator, each with its secrets.

`consul_token` and `ENVIRONMENT` are the only way by which a secret of the environment comes into the program.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import SecretStr

from auditor.nodes.interface import NodeSource
from auditor.registry.interface import Registry
from auditor.settings.file import Config
from auditor.settings.ssh import SshSettings

if TYPE_CHECKING:
    from auditor.nodes.probe.probe import ProbePlaces
    from auditor.nodes.ssh import SshAccess
    from auditor.registry.consul import ConsulRegistry
    from auditor.registry.store import ConsulStore

ENVIRONMENT: Mapping[str, str] = os.environ

# The libraries behind SSH and Consul take 0.15 s of CPU each to load: a sweep of a `consul kv export`, or a call
# of `allocate`, pays for the one that it uses.


def consul_token(config: Config) -> SecretStr | None:
    """Read the token for Consul; None where there is none. Raises `ConfigError`, never with the token."""
    return config.consul.resolved_token(ENVIRONMENT)


def build_registry(config: Config) -> Registry:
    """Build the registry: Consul, or a file that `consul kv export` wrote. Raises `ConfigError`."""
    if config.consul.file is not None:
        from auditor.registry.file import FileRegistry

        return FileRegistry(config.consul.file, config.consul, config.mesh.device)
    return build_consul(config)


def build_consul(config: Config) -> ConsulRegistry:
    """Build the registry on Consul, which can also be asked for its leader. Raises `ConfigError`."""
    from auditor.registry.consul import ConsulRegistry

    return ConsulRegistry(config.consul, consul_token(config), config.mesh.device)


def build_store(config: Config, datacenter: str) -> ConsulStore:
    """Build the store of one datacenter, to read and write keys. Asks nothing yet. Raises `ConfigError`."""
    from auditor.registry.store import ConsulStore

    return ConsulStore(config.consul, consul_token(config), datacenter)


def build_nodes(config: Config, *, endpoints: bool = False) -> NodeSource:
    """Build the source of observations. Raises `ConfigError`.

    endpoints: also ask for peers' endpoints, whatever `ssh.endpoints` says.
    """
    from auditor.nodes.ssh import SshNodes

    ssh = config.ssh.model_copy(update={"endpoints": True}) if endpoints else config.ssh
    return SshNodes(build_access(ssh), config.mesh.device, config.regions.command, probe_places(config))


def probe_places(config: Config) -> ProbePlaces:
    """Build the paths and devices that the probe uses on a node."""
    from auditor.nodes.probe.probe import ProbePlaces

    return ProbePlaces(config.ssh.wg_command, config.mesh.address_devices, config.mesh.pools)


def build_access(ssh: SshSettings) -> SshAccess:
    """Build the access to nodes, shared by looks and changes. Raises `ConfigError`."""
    from auditor.nodes.ssh import SshAccess

    return SshAccess(ssh)
