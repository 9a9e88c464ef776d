"""Choice of who asks where: a few observers of each region, and a few addresses beside the contested ones.

Pure. What looks random is a hash of a seed, so that the same sweep asks the same questions, and the next one others.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import AnswerSource
from auditor.witnesses.interface import Question


def questions_for(
    addresses: Iterable[Prefix],
    observers: Mapping[str, Sequence[Registration]],
    source: AnswerSource,
    *,
    claimants: Mapping[Prefix, Collection[NodeId]],
    each_region: int | None,
    seed: str,
) -> tuple[Question, ...]:
    """Choose from which nodes each address is asked: up to `each_region` of each region; None: from all of them.

    Few nodes ask for many addresses, for each costs a login. observers: nodes that can be asked, by their region.
    claimants: nodes that claim an address, which never ask for it themselves.
    """
    ranked = {region: _ranked(nodes, seed) for region, nodes in sorted(observers.items())}
    questions: list[Question] = []
    for address in dict.fromkeys(addresses):
        own = claimants.get(address, ())
        for nodes in ranked.values():
            free = [item for item in nodes if item.node not in own]
            questions += [Question(item, address, source) for item in free[:each_region]]
    return tuple(questions)


def addresses_beside(
    registered: Iterable[Prefix], asked: Collection[Prefix], share: float, seed: str
) -> tuple[Prefix, ...]:
    """Choose a share of the registered addresses, at least one of those that are not asked already; none if it is 0."""
    known = set(registered)
    count = math.ceil(share * len(known))
    return tuple(sorted(known.difference(asked), key=lambda address: _rank(seed, address))[:count])


def _ranked(nodes: Sequence[Registration], seed: str) -> list[Registration]:
    return sorted(nodes, key=lambda item: (_rank(seed, str(item.node)), item.node))


def _rank(seed: str, text: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
