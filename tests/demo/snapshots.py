"""A demo fleet as the snapshot that a faultless sweep would bring home, without any I/O."""

from __future__ import annotations

from datetime import UTC, datetime

from auditor.demo.demo_fleet import DEVICE, NAME_PATTERN, DemoFleet, DemoNode
from auditor.errors import GapReason
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import (
    AuditPolicy,
    Device,
    Gap,
    NodeId,
    Observation,
    Registration,
    RouteTable,
    Snapshot,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def snapshot_of(fleet: DemoFleet) -> Snapshot:
    """Every reachable node observed, a gap for the others."""
    tables = {node.name: _table(fleet, node) for node in fleet.nodes if node.reachable}
    return Snapshot(
        started_at=NOON,
        finished_at=NOON,
        policy=AuditPolicy(device=DEVICE, pools=(Prefix("10.0.0.0/8"),), name_pattern=NAME_PATTERN),
        registrations=tuple(
            Registration(
                NodeId("", node.name),
                node.public_key,
                (node.registered_address,),
                region=node.registered_region,
                endpoint=node.endpoint,
            )
            for node in fleet.nodes
        ),
        observations=tuple(
            Observation(
                NodeId("", node.name),
                Device(DEVICE, node.public_key, (node.device_address,)),
                tables[node.name].digest,
                region=node.region,
            )
            for node in fleet.nodes
            if node.reachable
        ),
        tables={table.digest: table for table in tables.values()},
        gaps=tuple(
            Gap("ssh", GapReason.CONNECT_REFUSED, "127.0.0.1:1: refused", node.name)
            for node in fleet.nodes
            if not node.reachable
        ),
    )


def _table(fleet: DemoFleet, node: DemoNode) -> RouteTable:
    pairs: list[tuple[PublicKey, str]] = [(node.public_key, node.device_address)]
    for key, prefixes in fleet.peer_table(node).peers.items():
        pairs += [(key, prefix) for prefix in prefixes or ("(none)",)]
    return RouteTable("".join(sorted(f"{key}\t{prefix}\n" for key, prefix in pairs)).encode())
