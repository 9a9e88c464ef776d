"""region-mismatch: the witnesses of a node's region disagree, or a region's address is routed to another region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.fleet.fleet import ANSWERED, Fleet
from auditor.fleet.met import Met
from auditor.fleet.region_sources import RegionWitness
from auditor.values.addresses import format_prefix, prefix_sort_key
from auditor.values.findings import Evidence, Severity
from auditor.values.models import NodeId
from auditor.values.text import count, listed


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find nodes whose sources disagree on their region, and addresses whose routes cross regions."""
    yield from _nodes(fleet)
    yield from _routes(fleet)


def _nodes(fleet: Fleet) -> Iterable[Draft]:
    for node in fleet.by_node:
        words = fleet.region_witnesses(node)
        if node in fleet.in_flight_nodes or len({word.region for word in words}) < 2:
            continue
        if len({word.region for word in words if word.source != ANSWERED}) < 2:
            yield _by_answers(fleet, node, words)
            continue
        said = listed(f"{word.source} says {word.region}" for word in words)
        yield Draft(
            identity=idents.by_node(node),
            party=fleet.name(node),
            statement=f"Sources disagree on where {fleet.name(node)} is: {said}.",
            nodes=(node,),
            regions=tuple(sorted({word.region for word in words})),
            evidence=Evidence(facts=tuple((f"{word.source} says", word.region) for word in words)),
        )


def _by_answers(fleet: Fleet, node: NodeId, words: Sequence[RegionWitness]) -> Draft:
    """Word that the node's own server names another region than all else. Its identity is its own.

    It comes and goes with the asking, and so must not be taken for a contradiction that every sweep sees.
    """
    name = fleet.name(node)
    own = listed(f"{ANSWERED} of {name} says {word.region}" for word in words if word.source == ANSWERED)
    rest = [word for word in words if word.source != ANSWERED]
    against = f", and {listed(f'{word.source} says {word.region}' for word in rest)}" if rest else ""
    return Draft(
        identity=idents.by_answers_of_node(node),
        party=f"{ANSWERED} of {name}",
        statement=f"{own}{against}: its own server was asked.",
        nodes=(node,),
        regions=tuple(sorted({word.region for word in words})),
        evidence=Evidence(facts=tuple((f"{word.source} says", word.region) for word in words)),
        from_answers=True,
    )


def _routes(fleet: Fleet) -> Iterable[Draft]:
    for prefix in sorted({*fleet.contested, *fleet.routes.deviating_prefixes}, key=prefix_sort_key):
        claims = fleet.claims(prefix)
        claimants = {claim.node for claim in claims if claim.node is not None}
        home = set(fleet.regions(claimants))
        if not home or (len(home) == 1 and not fleet.routes.keys_anywhere(prefix) - _keys(fleet, prefix)):
            continue
        picks = fleet.routes.claiming_picks(prefix)
        crossing = [
            pick
            for pick in picks
            if pick.node is not None
            and pick.public_key not in fleet.in_flight_keys
            and (region := fleet.region(pick.node))
            and home - {region}
        ]
        if not crossing:
            continue
        reached = {fleet.region(pick.node) for pick in crossing if pick.node is not None}
        nodes = tuple(sorted(claimants | {pick.node for pick in crossing if pick.node is not None}))
        observers = sum(pick.observers for pick in crossing)
        met = Met(fleet, prefix)
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            answers_statement=met.sentence,
            disagreement=met.disagreement,
            statement=(
                f"{format_prefix(prefix)} belongs to {listed(sorted(home))}, and "
                f"{count(observers, 'observer routes', 'observers route')} it to {listed(sorted(reached))}: "
                "peers appear from the wrong region."
            ),
            nodes=nodes,
            regions=tuple(sorted(home | reached)),
            evidence=Evidence(claims=claims, routing=picks, observers=observers, answers=met.reached),
            follows_from=(
                idents.duplicate_address(prefix),
                idents.split_routing(prefix),
                idents.answered_by_other(prefix),
                *(idents.address_drift(node) for node in nodes),
                *(idents.key_drift(node) for node in nodes),
            ),
        )


def _keys(fleet: Fleet, prefix: object) -> frozenset[object]:
    return frozenset(claim.public_key for claim in fleet.claims(prefix))  # type: ignore[arg-type]


CHECK = Check(
    Ident.REGION_MISMATCH,
    Severity.ERROR,
    "The witnesses of a region disagree, or a route crosses regions.",
    run,
)
