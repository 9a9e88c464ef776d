"""outside-pool: a registered address that lies in no pool, or is a pool's network or broadcast address."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import placed
from auditor.fleet.address_plan import AddressPlan, Misplacement
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, is_host, prefix_sort_key
from auditor.values.findings import Evidence, Severity
from auditor.values.text import listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find registered addresses that lie in no pool, or at an end of one."""
    plan = fleet.address_plan
    wrong_ones = {
        prefix: wrong
        for prefix in fleet.registered_claims
        if (wrong := plan.misplacement(prefix)) is not None and not _is_behind(fleet, prefix)
    }
    for prefix, wrong in sorted(wrong_ones.items(), key=lambda entry: prefix_sort_key(entry[0])):
        claims = fleet.registered_claims[prefix]
        nodes = tuple(sorted({claim.node for claim in claims if claim.node is not None}))
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=f"Registered for {placed(fleet, nodes)}, but {_words(wrong, plan)}.",
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(claims=claims),
            follows_from=(idents.duplicate_address(prefix),),
        )


def _is_behind(fleet: Fleet, prefix: Prefix) -> bool:
    """Tell whether the prefix is a route, or a network behind nodes that have their own addresses in a pool."""
    if is_host(prefix):
        return False
    return fleet.is_route(prefix) or all(
        any(map(fleet.address_plan.lies_in_a_pool, fleet.by_node[claim.node].addresses))
        for claim in fleet.registered_claims[prefix]
        if claim.node is not None
    )


def _words(wrong: Misplacement, plan: AddressPlan) -> str:
    if wrong.pool is None:
        return f"in none of the pools ({listed(plan.pools)}); add its prefix to mesh.pools if it belongs"
    return f"it is the {wrong.fault.value} address of {wrong.pool}"


CHECK = Check(
    Ident.OUTSIDE_POOL,
    Severity.WARNING,
    "An address lies in no pool, or is a network or broadcast address.",
    run,
)
