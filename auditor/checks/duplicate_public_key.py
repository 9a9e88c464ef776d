"""duplicate-public-key: one WireGuard key on two or more nodes, as a cloned disk image leaves behind."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.causes import key_guess
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import placed
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import PublicKey
from auditor.values.findings import Claim, Evidence, Severity, Witness
from auditor.values.models import NodeId
from auditor.values.text import count


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find keys that several nodes are registered under, or that several devices hold."""
    for key in sorted(_on_several(fleet)):
        registered = [item.node for item in fleet.by_key.get(key, ())]
        live = fleet.device_holders.get(key, [])
        # One name in two datacenters with one key is one node, mirrored: duplicate-node-name tells that.
        machines: dict[object, NodeId] = {}
        for node in (*registered, *live):
            machines.setdefault(fleet.same_node(node), node)
        if len(machines) < 2:
            continue
        nodes = tuple(sorted(machines.values(), key=lambda node: (node.name, node.datacenter)))
        claims = tuple(
            Claim(
                Witness.REGISTERED, prefix, key, item.node, item.where, item.create_index, item.modify_index
            )
            for item in fleet.by_key.get(key, ())
            for prefix in item.addresses
        ) + tuple(
            Claim(Witness.DEVICE, prefix, key, item.node, item.device.name)
            for item in map(fleet.observed.__getitem__, live)
            for prefix in item.device.addresses
        )
        yield Draft(
            identity=idents.by_key(key),
            public_key=key,
            party=key,
            statement=(
                f"One key on {count(len(nodes), 'node')}: {placed(fleet, nodes)}; "
                f"registered for {len(set(registered))}, seen on {count(len(live), 'device')}."
            ),
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(claims=claims),
            guess=key_guess(fleet, fleet.by_key.get(key, ()), [fleet.observed[node] for node in live]),
        )


def _on_several(fleet: Fleet) -> set[PublicKey]:
    """List keys that more than one node may have: all but those whose one registered node alone shows them."""
    several = {key for key, items in fleet.by_key.items() if len(items) > 1}
    several.update(
        key
        for key, nodes in fleet.device_holders.items()
        if len(nodes) > 1 or (key in fleet.by_key and fleet.by_key[key][0].node != nodes[0])
    )
    return several


CHECK = Check(Ident.DUPLICATE_PUBLIC_KEY, Severity.CRITICAL, "One public key is on two or more nodes.", run)
