"""Entry points of provisioning, from Python and from the shell: the configured store and allocator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from auditor.registry.store import ConsulStore
from auditor.repair.claims.allocator import Allocation, Allocator, Release
from auditor.repair.claims.registration import allocator_policy, checked_key, claims_datacenter
from auditor.settings.file import Config, find_config, load_config


def allocator_of(config: Config) -> Allocator:
    """The allocator for the configured Consul. Sends no request yet. Raises `ConfigError`."""
    policy = allocator_policy(config)
    return Allocator(store_of(config), policy)


def store_of(config: Config) -> ConsulStore:
    """The store that holds the claims. Raises `ConfigError`."""
    return ConsulStore(config.consul, config.consul.resolved_token(os.environ), claims_datacenter(config))


def allocate(
    node: str, public_key: str, region: str, config: Config | Path | str | None, values: Mapping[str, str]
) -> Allocation:
    """See `auditor.repair.allocate`."""
    return allocator_of(_read(config)).allocate(node, checked_key(public_key), region, values=values)


def release(node: str, config: Config | Path | str | None) -> Release:
    """See `auditor.repair.release`."""
    return allocator_of(_read(config)).release(node)


def _read(config: Config | Path | str | None) -> Config:
    if isinstance(config, Config):
        return config
    path = find_config(Path(config) if config is not None else None, os.environ, Path.cwd())
    return load_config(path) if path is not None else Config()
