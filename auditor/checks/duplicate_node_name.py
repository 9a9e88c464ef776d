"""duplicate-node-name: one node name in two or more datacenters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import Fleet
from auditor.values.findings import Evidence, Severity
from auditor.values.models import NodeId
from auditor.values.text import listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find names that are registered in more than one datacenter."""
    by_name: dict[str, list[NodeId]] = defaultdict(list)
    if fleet.ambiguous_names:
        for node in {*fleet.by_node, *(item.node for item in fleet.invalid)}:
            if node.name in fleet.ambiguous_names:
                by_name[node.name].append(node)
    for name, group in sorted(by_name.items()):
        nodes = sorted(group)
        keys = {fleet.by_node[node].public_key for node in nodes if node in fleet.by_node}
        if len(nodes) < 2:
            continue  # the others are retired
        if None in keys or not all(node in fleet.by_node for node in nodes):
            same = "not all of them with a readable registration"
        elif len(keys) == 1:
            same = "with one key: one node, mirrored"
        else:
            same = "with different keys: different servers"
        yield Draft(
            identity=(name,),
            party=name,
            statement=f"The name {name} stands in {listed(node.datacenter for node in nodes)}, {same}.",
            nodes=tuple(nodes),
            regions=fleet.regions(nodes),
            evidence=Evidence(
                claims=tuple(
                    claim
                    for node in nodes
                    if node in fleet.by_node
                    for prefix in fleet.by_node[node].addresses
                    for claim in fleet.registered_claims[prefix]
                    if claim.node == node
                )
            ),
        )


CHECK = Check(Ident.DUPLICATE_NODE_NAME, Severity.WARNING, "One node name stands in two datacenters.", run)
