"""fallback-address: a pool's first address is held, which is what an allocator hands out when it cannot read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import placed
from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix, network
from auditor.values.models import Evidence, Guess, GuessedCause, Severity, Sureness

_FELL_BACK = Guess(GuessedCause.ALLOCATOR_FALLBACK, Sureness.PROBABLE, "the allocator fell back")


def run(fleet: Fleet) -> Iterable[Draft]:
    """One finding for each pool whose first address somebody holds, alone or not."""
    firsts = {first: pool for pool in reversed(fleet.policy.pools) if (first := _first_host(pool))}
    for prefix, pool in sorted(firsts.items()):
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
            guess=_FELL_BACK if len(nodes) > 1 else None,
            follows_from=(idents.duplicate_address(prefix),),
        )


def pool_whose_first_is(fleet: Fleet, prefix: Prefix) -> Prefix | None:
    """The pool whose first host address this is.

    A region's prefix is no pool here: an allocator that fills each region from its first address up would
    never be clean.
    """
    for pool in fleet.policy.pools:
        if _first_host(pool) == prefix:
            return pool
    return None


@lru_cache(maxsize=1024)
def _first_host(pool: Prefix) -> Prefix | None:
    whole = network(pool)
    if whole.num_addresses < 4:
        return None
    first = whole.network_address + 1
    return Prefix(f"{first}/{whole.max_prefixlen}")


CHECK = Check(Ident.FALLBACK_ADDRESS, Severity.WARNING, "The first address of a pool is held.", run)
