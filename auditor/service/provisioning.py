"""Entry points of provisioning, from Python and from the shell: the configured store and allocator."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import UsageError
from auditor.registry.store import ConsulStore
from auditor.repair.claims.allocator import Allocation, Allocator, Release
from auditor.repair.claims.registration import allocator_policy, checked_key, claims_datacenter
from auditor.service.parts import ENVIRONMENT, build_store
from auditor.settings.file import Config, read_found

if TYPE_CHECKING:
    from auditor.admission.checked_records import CheckedRecords
    from auditor.admission.objections import ObjectionIdent


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


def check(
    record: Mapping[str, Any] | str | bytes,
    config: Config | Path | str | None,
    *,
    node: str = "",
    datacenter: str = "",
    replay: Path | str | None = None,
    live: bool = False,
    claims: bool = True,
    allow: Collection[str] = (),
) -> CheckedRecords:
    """Judge records as `auditor.repair.check` says."""
    from auditor.service import threads  # with what reads a recording, which `allocate` does without
    from auditor.service.admitting import CheckRequest, RecordInput, check_records

    if isinstance(record, Mapping):
        try:
            record = json.dumps(record)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"check: the record is nothing that JSON can hold: {error}") from None
    raw = record if isinstance(record, bytes) else record.encode("utf-8", "surrogatepass")
    asked = CheckRequest(
        node=node,
        datacenter=datacenter,
        recording=Path(replay) if replay is not None else None,
        watch=live,
        claims=claims,
        allow=allowed(allow),
    )
    return threads.run(check_records(_read(config), [RecordInput("the record", raw)], asked))


def allowed(idents: Collection[str]) -> frozenset[ObjectionIdent]:
    """Read the idents of objections that are to be warnings. Raises `UsageError`."""
    from auditor.admission.objections import ObjectionIdent

    known = {item.value: item for item in ObjectionIdent}
    unknown = [ident for ident in idents if ident not in known]
    if unknown:
        raise UsageError(f"check: {unknown[0][:40]!r} is no objection; known: {', '.join(known)}")
    return frozenset(known[ident] for ident in idents)


def _read(config: Config | Path | str | None) -> Config:
    if isinstance(config, Config):
        return config
    return read_found(Path(config) if config is not None else None, ENVIRONMENT, Path.cwd())[0]
