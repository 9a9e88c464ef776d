"""Entry points of provisioning, from Python and from the shell: the configured store and allocator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from auditor.registry.store import ConsulStore
from auditor.repair.claims.allocator import Allocation, Allocator, Release
from auditor.repair.claims.registration import allocator_policy, checked_key, claims_datacenter
from auditor.service.parts import ENVIRONMENT, build_store
from auditor.settings.file import Config, read_found


def build_allocator(config: Config) -> Allocator:
    """Build the allocator for the configured Consul. Asks nothing yet. Raises `ConfigError`."""
    settings = allocator_policy(config)
    return Allocator(build_claims_store(config), settings)


def build_claims_store(config: Config) -> ConsulStore:
    """Build the store that holds the address claims. Raises `ConfigError`."""
    return build_store(config, claims_datacenter(config))


def allocate(
    node: str, public_key: str, region: str, config: Config | Path | str | None, values: Mapping[str, str]
) -> Allocation:
    """Allocate as `auditor.repair.allocate` says."""
    return build_allocator(_read(config)).allocate(node, checked_key(public_key), region, values=values)


def release(node: str, config: Config | Path | str | None) -> Release:
    """Release as `auditor.repair.release` says."""
    return build_allocator(_read(config)).release(node)


def _read(config: Config | Path | str | None) -> Config:
    if isinstance(config, Config):
        return config
    return read_found(Path(config) if config is not None else None, ENVIRONMENT, Path.cwd())[0]
