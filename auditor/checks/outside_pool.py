"""outside-pool: a registered address that lies in no pool, or is a pool's network or broadcast address."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.addresses import Network, Prefix, is_host, network, order, shown
from auditor.checks.interface import Check
from auditor.checks.wording import listed, placed
from auditor.claims import Fleet
from auditor.models import Evidence, Finding, Severity, fingerprint
from auditor.routes import covers

IDENT = "outside-pool"


def run(fleet: Fleet) -> Iterable[Finding]:
    """One finding an address."""
    pools = [network(pool) for pool in fleet.policy.pools]
    for prefix in sorted(fleet.registered_claims, key=order):
        wrong = _wrong(prefix, pools)
        if wrong is None:
            continue
        claims = fleet.registered_claims[prefix]
        nodes = tuple(sorted({claim.node for claim in claims if claim.node is not None}))
        yield Finding(
            check=IDENT,
            severity=Severity.WARNING,
            subject=shown(prefix),
            summary=f"Registered for {placed(fleet, nodes)}, but {wrong}.",
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(claims=claims),
            follows_from=(fingerprint("duplicate-address", shown(prefix)),),
        )


def _wrong(prefix: Prefix, pools: list[Network]) -> str | None:
    address = network(prefix)
    containing = [pool for pool in pools if covers(pool, address)]
    if not containing:
        return f"in none of the pools ({listed(map(str, pools))}); add its prefix to mesh.pools if it belongs"
    if is_host(prefix):
        for pool in containing:
            if pool.num_addresses < 4:
                continue
            if address.network_address == pool.network_address:
                return f"it is the network address of {pool}"
            if pool.version == 4 and address.network_address == pool.broadcast_address:
                return f"it is the broadcast address of {pool}"
    return None


CHECK = Check(
    IDENT, Severity.WARNING, "An address lies in no pool, or is a network or broadcast address.", run
)
