"""Meshes to plan for, and a mesh on which a plan was carried out: by values alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from auditor.errors import GapReason
from auditor.judge import judge
from auditor.repair.moves import Kind, RepairPlan
from auditor.repair.plan.planner import plan
from auditor.values.address_claims import RepairPolicy
from auditor.values.addresses import Prefix, is_host
from auditor.values.models import NodeId, Snapshot
from tests.fleets import Mesh, prefixes

PAIR = "10.7.0.9"


def pair(**policy: object) -> Mesh:
    """`old` and `new` share an address, registered and on their devices; two watchers route it to either."""
    mesh = Mesh(**policy)
    mesh.node("old", PAIR, region="fra", index=10).node("new", PAIR, region="sin", index=20)
    mesh.node("watch-a", "10.7.1.1", region="ams", index=1).node("watch-b", "10.7.1.2", region="ams", index=2)
    return mesh.picks("watch-a", "old").picks("watch-b", "new")


def planned(source: Mesh | Snapshot, policy: RepairPolicy | None = None, **options: object) -> RepairPlan:
    """The plan for a mesh as one sweep sees it."""
    snapshot = source if isinstance(source, Snapshot) else source.snapshot()
    return plan(snapshot, judge(snapshot), policy or RepairPolicy(), **options)  # type: ignore[arg-type]


def carried_out(mesh: Mesh, made: RepairPlan) -> Snapshot:
    """What a sweep sees once every move was made and every peer was written anew from the registry."""
    for move in made.moves:
        machine = mesh.machines[move.node]
        kept = [prefix for prefix in machine.held if prefix not in (move.old, move.new)]
        machine.held = (*kept, move.new)
        if move.kind is Kind.RENUMBER:
            registration = mesh.registrations[move.node]
            mesh.registrations[move.node] = replace(registration, addresses=move.addresses_after)
    for machine in mesh.machines.values():
        machine.edits.clear()
    return mesh.snapshot()


def everything_known(mesh: Mesh) -> set[Prefix]:
    """Every address that the registry, a device or a route table of the mesh shows."""
    known = {prefix for item in mesh.registrations.values() for prefix in item.addresses}
    known |= {prefix for machine in mesh.machines.values() for prefix in machine.held}
    for table in mesh.tables().values():
        known |= {Prefix(line.split(b"\t")[1].decode()) for line in table.lines()} - {Prefix("(none)")}
    return set(filter(is_host, known))


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    """A small mesh in which addresses collide, devices drift, keys change, and not everybody answers."""
    regions = {"fra": Prefix("10.7.0.0/26"), "sin": Prefix("fd00:7::/64")}
    mesh = Mesh(
        pools=prefixes(["10.7.0.0/24", "fd00::/16"]),
        region_pools=draw(st.sampled_from([{}, regions])),
    )
    addresses = st.sampled_from([*(f"10.7.0.{number}" for number in range(1, 6)), "fd00::1", "fd00::2"])
    for number in range(draw(st.integers(2, 6))):
        mesh.node(
            f"node-{number}",
            *draw(st.lists(addresses, min_size=1, max_size=2, unique=True)),
            region=draw(st.sampled_from(["fra", "sin", "nowhere", None])),
            index=draw(st.one_of(st.none(), st.integers(1, 9), st.just(100 + number))),
        )
    for node in list(mesh.registrations):
        match draw(st.integers(0, 11)):
            case 0:
                mesh.not_seen(node.name, GapReason.CONNECT_TIMEOUT)
            case 1:
                mesh.holds(node.name, *draw(st.lists(addresses, max_size=2, unique=True)))
            case 2:
                mesh.rekeyed(node.name, "another")
            case 3:
                mesh.peers_with(node.name, "ghost", draw(addresses))
            case 4:
                mesh.flying(node.name)
    return mesh


def node(name: str) -> NodeId:
    """A node of these meshes."""
    return NodeId("dc1", name)
