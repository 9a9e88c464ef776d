"""Parts from the settings: registry, nodes, Consul's store and its allocator, each with its secrets.

`consul_token` and `ENVIRONMENT` are the only way by which a secret of the environment comes into the program.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from auditor.gather.collector import Follower
from auditor.nodes.interface import FollowedNodes
from auditor.registry.interface import FollowedRegistry, Registry
from auditor.service.open_files import room_to_follow
from auditor.settings.file import Config
from auditor.settings.ssh import SshSettings

if TYPE_CHECKING:
    from auditor.nodes.probe.probe import ProbePlaces
    from auditor.nodes.ssh import SshAccess
    from auditor.registry.consul import ConsulRegistry
    from auditor.registry.store import ConsulStore
    from auditor.witnesses.interface import Witnesses

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


def build_follower(config: Config) -> FollowedRegistry:
    """Build the registry that tells of changes: Consul, or a file. Raises `ConfigError`."""
    if config.consul.file is not None:
        from auditor.registry.file import FileRegistry
        from auditor.registry.follow.file_follower import FileFollower

        path = config.consul.file
        return FileFollower(path, FileRegistry(path, config.consul, config.mesh.device))
    from auditor.registry.follow.consul_follower import ConsulFollower

    return ConsulFollower(config.consul, consul_token(config), config.mesh.device)


def build_consul(config: Config) -> ConsulRegistry:
    """Build the registry on Consul, which can also be asked for its leader. Raises `ConfigError`."""
    from auditor.registry.consul import ConsulRegistry

    return ConsulRegistry(config.consul, consul_token(config), config.mesh.device)


def build_store(config: Config, datacenter: str) -> ConsulStore:
    """Build the store of one datacenter, to read and write keys. Asks nothing yet. Raises `ConfigError`."""
    from auditor.registry.store import ConsulStore

    return ConsulStore(config.consul, consul_token(config), datacenter)


def build_nodes(
    config: Config,
    *,
    endpoints: bool = False,
    handshakes: bool = True,
    transfer: bool = False,
    access: SshAccess | None = None,
) -> FollowedNodes:
    """Build the source of observations. Raises `ConfigError`.

    endpoints: also ask for peers' endpoints, whatever `ssh.endpoints` says. handshakes: with endpoints, ask how long
    ago the handshakes were. transfer: compare what goes to peers with what comes back. access: shared with others, and
    made for these endpoints; None: its own.
    """
    from auditor.nodes.ssh import SshNodes

    return SshNodes(
        access or build_node_access(config, endpoints=endpoints),
        config.mesh.device,
        config.regions.command,
        probe_places(config),
        handshakes=handshakes,
        transfer=transfer,
    )


def build_node_access(config: Config, *, endpoints: bool = False) -> SshAccess:
    """Build the access to nodes for looks at them, with or without peers' endpoints. Raises `ConfigError`."""
    return build_access(config.ssh.model_copy(update={"endpoints": True}) if endpoints else config.ssh)


def build_node_follower(config: Config, complain: Callable[[str], None]) -> Follower:
    """Build what follows the nodes, for a watch. Raises `ConfigError`.

    complain: receives one line where this machine has not room for a session of each node, and for what happens to the
    connection to collectors elsewhere.
    """
    if not config.collectors.regions:
        return build_local_follower(config, complain)
    from auditor.service.collectors_there import check_packages

    check_packages()
    from auditor.service.followed_regions import build_regional_follower

    local = build_local_follower(config, complain) if config.collectors.fallback == "local" else None
    return build_regional_follower(config, local, complain)


def build_local_follower(config: Config, complain: Callable[[str], None]) -> Follower:
    """Build what follows nodes from this machine, as `build_node_follower` does."""
    from auditor.gather.following import LocalFollower

    return LocalFollower(
        build_nodes(config, handshakes=False),
        config.watch.follow_interval,
        config.ssh.concurrency,
        room=partial(room_to_follow, complain=complain),
    )


def probe_places(config: Config) -> ProbePlaces:
    """Build the paths and devices that the probe uses on a node."""
    from auditor.nodes.probe.probe import ProbePlaces

    return ProbePlaces(config.ssh.wg_command, config.mesh.address_devices, config.mesh.pools)


def build_access(ssh: SshSettings) -> SshAccess:
    """Build the access to nodes, shared by looks and changes. Raises `ConfigError`."""
    from auditor.nodes.ssh import SshAccess

    return SshAccess(ssh)


def build_witnesses(config: Config, access: SshAccess | None = None) -> Witnesses | None:
    """Build what asks at mesh addresses; None where no `[[witnesses]]` is configured. Raises `ConfigError`.

    access: that of the nodes, so that what is known of them counts here too; None: its own.
    """
    if not config.witnesses:
        return None
    from auditor.witnesses.ssh_witnesses import SshWitnesses

    return SshWitnesses(access or build_access(config.ssh), config.witnesses, config.regions.pools)
