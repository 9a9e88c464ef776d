"""A demo fleet as the snapshot that a faultless sweep would bring home, without any I/O."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from auditor.demo.answering_nodes import AnsweringNodes
from auditor.demo.demo_fleet import DEVICE, NAME_PATTERN, REGISTRY_PREFIX, DemoFleet, DemoNode
from auditor.errors import GapReason
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import AuditPolicy, Device, Gap, NodeId, Observation, Registration, Snapshot
from auditor.values.route_table import RouteTable
from auditor.values.witness_answers import AnswerSource, WitnessAnswer

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
                where=f"{REGISTRY_PREFIX}{node.name}",
                create_index=fleet.create_index(node),
                modify_index=fleet.create_index(node),
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
        answers=tuple(_answers(fleet)),
        gaps=tuple(
            Gap("ssh", GapReason.CONNECT_REFUSED, "127.0.0.1:1: refused", node.name)
            for node in fleet.nodes
            if not node.reachable
        ),
    )


def _answers(fleet: DemoFleet) -> Iterator[WitnessAnswer]:
    """Asked from one node of each region that is well, at each address that has a fault."""
    if fleet.incident is None:
        return
    mesh = AnsweringNodes(fleet, {})
    addresses = [contest.address for contest in fleet.contests]
    addresses.append(fleet.node(fleet.incident.drifted).registered_address)
    faulty = {fleet.incident.drifted} | {name for contest in fleet.contests for name in contest.claimants}
    well = {node.region: node for node in fleet.nodes if node.reachable and node.name not in faulty}
    for observer in well.values():
        for address in addresses:
            met = mesh.met(observer, address)
            assert met is not None
            yield WitnessAnswer(
                NodeId("", observer.name),
                address,
                AnswerSource.NATS,
                0.01,
                met.name,
                NodeId("", met.name),
                met.region,
            )


def _table(fleet: DemoFleet, node: DemoNode) -> RouteTable:
    pairs: list[tuple[PublicKey, str]] = [(node.public_key, node.device_address)]
    for key, prefixes in fleet.peer_table(node).peers.items():
        pairs += [(key, prefix) for prefix in prefixes or ("(none)",)]
    return RouteTable("".join(sorted(f"{key}\t{prefix}\n" for key, prefix in pairs)).encode())
