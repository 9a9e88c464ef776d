"""fallback-address: a pool's first address is held, which is what an allocator hands out when it cannot read."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.causes import WriteOrder
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import placed
from auditor.fleet.fleet import Fleet
from auditor.values.findings import Evidence, Severity


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find pools whose first address is held, by one node or several."""
    for prefix, pool in sorted(fleet.address_plan.first_addresses.items()):
        claims = fleet.claims(prefix)
        if not claims:
            continue
        nodes = fleet.contested.get(prefix) or tuple(sorted({claim.node for claim in claims if claim.node}))
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=(
                f"{placed(fleet, nodes)} {'holds' if len(nodes) == 1 else 'hold'} the first address of {pool}: "
                "what an allocator hands out when it could not read the registry."
            ),
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(claims=claims),
            guess=WriteOrder(fleet).guess(prefix, claims) if prefix in fleet.contested else None,
            follows_from=(idents.duplicate_address(prefix),),
        )


CHECK = Check(Ident.FALLBACK_ADDRESS, Severity.WARNING, "The first address of a pool is held.", run)
