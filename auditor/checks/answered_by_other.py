"""answered-by-other: who answers at an address, asked over the mesh, is not who is registered for it."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.checks import idents
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.checks.sentences import placed
from auditor.fleet.fleet import Fleet
from auditor.fleet.met import Met, other_names
from auditor.values.addresses import prefix_sort_key
from auditor.values.findings import Evidence, Severity, Witness
from auditor.values.text import count


def run(fleet: Fleet) -> Iterable[Draft]:
    """Find addresses at which a server answered that is not the registered one: each once, whoever they are."""
    for prefix in sorted(fleet.answers_at, key=prefix_sort_key):
        met = Met(fleet, prefix)
        others = met.others
        if not others:
            continue
        claims = fleet.claims(prefix)
        registered = sorted(
            {claim.node for claim in claims if claim.node is not None and claim.witness is Witness.REGISTERED}
        )
        answerers = sorted({answer.node for answer in others if answer.node is not None})
        nodes = tuple(dict.fromkeys((*registered, *answerers)))
        observers = sorted({answer.observer for answer in others})
        yield Draft(
            identity=idents.by_address(prefix),
            address=prefix,
            statement=(
                f"{count(len(observers), 'observer that asks', 'observers that ask')} there over the mesh "
                f"{'meets' if len(observers) == 1 else 'meet'} {other_names(fleet, others)}, and it is registered for "
                f"{placed(fleet, registered)}."
            ),
            answers_statement=met.sentence,
            disagreement=met.disagreement,
            nodes=nodes,
            regions=fleet.regions(nodes),
            evidence=Evidence(
                claims=claims,
                routing=fleet.routes.picks(prefix),
                observers=len(observers),
                sample=tuple(observers[:_MOST_SAMPLE]),
                everyone=lambda observers=tuple(observers): observers,  # type: ignore[misc]
                answers=met.reached,
            ),
            from_answers=True,
            follows_from=(
                idents.duplicate_address(prefix),
                *(
                    idents.duplicate_public_key(key)
                    for node in nodes
                    if (item := fleet.by_node.get(node)) is not None and (key := item.public_key) is not None
                ),
                *(idents.wrong_host(node) for node in nodes),
                idents.split_routing(prefix),
            ),
        )


_MOST_SAMPLE = 20
"""Observers that are named. They are those who must meet the right server before it is over."""

CHECK = Check(
    Ident.ANSWERED_BY_OTHER,
    Severity.CRITICAL,
    "Who answers at an address, asked over the mesh, is not who is registered for it.",
    run,
)
