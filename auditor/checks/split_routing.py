"""split-routing: observers send one address to different keys."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import routed
from auditor.fleet.fleet import Fleet
from auditor.fleet.met import Met
from auditor.values.addresses import prefix_sort_key
from auditor.values.findings import Evidence, Severity, Witness
from auditor.values.text import count


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find prefixes that several keys receive, each from some observers."""
    routes = fleet.routes
    for prefix in sorted({*fleet.contested, *routes.deviating_prefixes}, key=prefix_sort_key):
        # In a partial topology, what a wider prefix carries through another node is transit, no split.
        covered = fleet.policy.topology == "full" and routes.is_covered(prefix)
        if len(routes.keys_anywhere(prefix)) < 2 and not covered:
            continue
        picks = routes.claiming_picks(prefix)
        keys = [pick.public_key for pick in picks if pick.public_key is not None]
        if len(set(keys) - fleet.in_flight_keys) < 2:
            continue
        nodes = tuple(sorted({pick.node for pick in picks if pick.node is not None}))
        observers = sum(pick.observers for pick in picks)
        claims = tuple(claim for claim in fleet.claims(prefix) if claim.witness is not Witness.ROUTED)
        met = Met(fleet, prefix)
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=f"Observers send it to {count(len(keys), 'different key')}: {routed(fleet, picks)}.",
            answers_statement=met.sentence,
            disagreement=met.disagreement,
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(claims=claims, routing=picks, observers=observers, answers=met.reached),
            follows_from=(
                idents.duplicate_address(prefix),
                *(idents.duplicate_public_key(key) for key in keys),
            ),
        )


CHECK = Check(Ident.SPLIT_ROUTING, Severity.CRITICAL, "Observers send one address to different keys.", run)
