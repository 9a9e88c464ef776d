"""Input of a repair plan besides a sweep: address claims, and nodes that carry workload."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from auditor.errors import InvalidValue, RegistryError, WgauditError
from auditor.registry.interface import KeyStore
from auditor.repair.claims.adopted import adopted_key
from auditor.repair.claims.claim import claimed_prefix, read_claim
from auditor.repair.claims.key_claim import is_key_claim
from auditor.repair.claims.unclaimed import check_mark_key
from auditor.repair.moves import CarriedService, RepairPlan
from auditor.service.parts import build_store, consul_token
from auditor.settings.file import Config
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.models import NodeId, Snapshot


async def add_claims(snapshot: Snapshot, config: Config) -> tuple[Snapshot, tuple[str, ...]]:
    """Add the address claims and the workload that Consul has now to a snapshot.

    Returns the snapshot, and a note in one sentence for each read that failed: nothing is raised for it.
    """
    if config.consul.file is not None:
        return snapshot, ()
    notes: list[str] = []
    if config.consul.layout != "kv-json":
        notes.append(
            f"consul.layout is {config.consul.layout}: apply and allocate write kv-json alone, so the registry "
            "is to be changed by hand."
        )
    datacenters = sorted({item.node.datacenter for item in snapshot.registrations}) or [""]
    try:
        claims, unread = await asyncio.to_thread(_read_all_claims, config, datacenters)
        snapshot = replace(snapshot, address_claims=claims)
        notes += unread
    except WgauditError as error:
        notes.append(f"Reading address claims failed: {error}")
    if config.repair.policy().workload_service:
        try:
            workloads = await asyncio.to_thread(_read_all_workloads, config, datacenters)
            snapshot = replace(snapshot, workloads=workloads)
        except RegistryError as error:
            notes.append(f"Reading who carries workload failed: {error}")
    return snapshot, tuple(notes)


MOST_NAME = 128
"""Characters of a service's name."""
MOST_READ = 200
"""Movers whose services are read, by one question each."""
MOST_SERVICES = 50
"""Services of one node that a plan names."""


async def with_services(plan: RepairPlan, config: Config) -> RepairPlan:
    """Add what each mover carries by Consul's catalog; a note where that could not be read, and nothing is raised."""
    nodes = list(dict.fromkeys(move.node for move in plan.moves))
    if config.consul.file is not None or not nodes:
        return plan
    notes: list[str] = []
    if len(nodes) > MOST_READ:
        notes.append(f"What nodes carry was read of the first {MOST_READ:,} of {len(nodes):,} that move.")
    try:
        found = await asyncio.to_thread(_read_services, config, nodes[:MOST_READ])
    except RegistryError as error:
        return replace(plan, notes=(*plan.notes, f"Reading what the movers carry failed: {error}"))
    carried = {
        node: tuple(
            CarriedService(name[:MOST_NAME], instances)
            for name, instances in sorted(services.items(), key=lambda item: (-item[1], item[0]))[
                :MOST_SERVICES
            ]
        )
        for node, services in found.items()
    }
    return replace(plan, notes=(*plan.notes, *notes), carried=carried)


def _read_services(config: Config, nodes: Sequence[NodeId]) -> Mapping[NodeId, Mapping[str, int]]:
    from auditor.registry.workloads import read_services

    return read_services(config.consul, consul_token(config), nodes)


def _read_all_workloads(config: Config, datacenters: Iterable[str]) -> frozenset[NodeId]:
    from auditor.registry.workloads import read_workloads  # it brings Consul's library along

    service, token = config.repair.policy().workload_service, consul_token(config)
    nodes = [read_workloads(config.consul, token, datacenter, service) for datacenter in datacenters]
    return frozenset[NodeId]().union(*nodes)


def _read_all_claims(
    config: Config, datacenters: Iterable[str]
) -> tuple[tuple[AddressClaim, ...], Sequence[str]]:
    notes: list[str] = []
    prefix = config.repair.policy().claims_prefix
    claims = [
        claim
        for datacenter in datacenters
        for claim in _read_claims(build_store(config, datacenter), prefix, notes)
    ]
    return tuple(claims), notes


def _read_claims(store: KeyStore, prefix: str, notes: list[str]) -> Iterator[AddressClaim]:
    for stored in store.list(prefix):
        if stored.key in (adopted_key(prefix), check_mark_key(prefix)) or is_key_claim(prefix, stored.key):
            continue
        try:
            yield read_claim(prefix, stored.key, stored.value)
        except InvalidValue as error:
            notes.append(f"The claim {stored.key} cannot be read: {error}.")
            try:
                address = claimed_prefix(prefix, stored.key)
            except InvalidValue:
                continue  # it names no address that could be handed out
            # The address is claimed, whatever the claim says: it is handed out to nobody.
            at = datetime.fromtimestamp(0, UTC)
            yield AddressClaim(address, ClaimState.SEEN, "", None, at, by="unreadable")
