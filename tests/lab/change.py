"""Gives the servers of a running mesh other addresses, as an operator would: registry, devices, then peers."""

from __future__ import annotations

from tests.lab.mesh import Lab
from tests.lab.topology import Topology, host


def change(lab: Lab, topology: Topology) -> None:
    """Brings the lab from its topology to this one, of the same servers with the same keys.

    Only addresses, registrations and allowed-ips change; nothing is restarted. Afterwards every device
    shows what this topology says.
    """
    if topology == lab.topology:
        return
    if [node.label for node in topology.nodes] != [node.label for node in lab.topology.nodes]:
        raise ValueError(f"{topology.name}: other servers than those of {lab.topology.name}")
    for datacenter, server in lab.consuls.items():
        before = lab.topology.registrations(datacenter)
        for key, value in topology.registrations(datacenter).items():
            if before[key] != value:
                server.put(key, value)
    for old, new in zip(lab.topology.nodes, topology.nodes, strict=True):
        if old.address != new.address:
            # The new one first: with its last address a device loses its routes.
            lab.on(new.label, "ip", "addr", "add", new.address, "dev", "wg0")
            lab.on(new.label, "ip", "addr", "del", host(old.address), "dev", "wg0")
    for node in topology.nodes:
        words = [
            word
            for peer in topology.peers(node)
            for word in ("peer", peer.public_key, "allowed-ips", ",".join(peer.allowed_ips))
        ]
        lab.on(node.label, "wg", "set", "wg0", *words)
    lab.topology = topology
