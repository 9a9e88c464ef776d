"""Duplicate that comes about while a fleet is watched: a server is provisioned anew with an address that another holds.

It happens as on a real fleet: registry first, then the server's own device, then, one by one, the peers of all others,
of whom some end with the one holder and some with the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from auditor.demo.demo_fleet import REGIONS, REGISTRY_PREFIX, DemoFleet, DemoNode, PeerTable
from auditor.demo.node_programs import DEVICE_LENGTH, write
from auditor.values.addresses import format_prefix


@dataclass(frozen=True, slots=True)
class LateDuplicate:
    """Fault that is planted into a healthy fleet that is up."""

    fleet: DemoFleet
    keeper: DemoNode
    """Server that holds the address."""
    late: DemoNode
    """Server that gets it, too; as it is then."""

    @property
    def address(self) -> str:
        """Address that both hold, as people write it."""
        return format_prefix(self.keeper.registered_address)

    @property
    def key(self) -> str:
        """Key of the late server's registration."""
        return f"{REGISTRY_PREFIX}{self.late.name}"

    def record(self, registered: bytes) -> bytes:
        """Return the late server's new registration. registered: the one that it has."""
        return json.dumps({**json.loads(registered), "ip": self.address}).encode()

    def table(self, observer: DemoNode) -> PeerTable:
        """Return an observer's peers once they were set. In some regions the keeper is written last, and stays."""
        table = self.fleet.peer_table(observer)
        late = (self.late.public_key, [self.keeper.registered_address])
        kept = (self.keeper.public_key, [self.keeper.registered_address])
        table.set_peer(*late)
        if REGIONS.index(observer.region) % 2:
            table.set_peer(*kept)
        return table


def late_duplicate(fleet: DemoFleet) -> LateDuplicate:
    """Choose the two servers, from two regions, by the fleet's seed. The fleet is healthy, of two servers or more."""
    keeper = fleet.nodes[fleet.seed % len(fleet.nodes)]
    others = [node for node in fleet.nodes if node.region != keeper.region]
    late = others[fleet.seed % len(others)]
    address = keeper.registered_address
    return LateDuplicate(fleet, keeper, replace(late, registered_address=address, device_address=address))


def set_device(duplicate: LateDuplicate, nodes: Path) -> None:
    """Give the late server's device the address. nodes: the folder with a folder for each server."""
    folder = nodes / duplicate.late.name
    _renew(folder / "addresses", f"{duplicate.address}/{DEVICE_LENGTH}\n")
    _renew(folder / "route-source", f"{duplicate.address}\n")


def set_peers(duplicate: LateDuplicate, observer: DemoNode, nodes: Path) -> None:
    """Set an observer's peers anew."""
    _renew(nodes / observer.name / "allowed-ips", duplicate.table(observer).allowed_ips())


def _renew(path: Path, text: str) -> None:
    # Renamed into its place: whoever reads it meanwhile reads the one or the other.
    write(path.with_name(f"{path.name}.new"), text.encode()).rename(path)
