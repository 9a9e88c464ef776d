"""PURE: answers of witnesses that a watch holds between two askings, as long as who is registered there stays so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from auditor.values.addresses import Prefix, PublicKey, is_host
from auditor.values.findings import Finding
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import WitnessAnswer

Holders = Mapping[Prefix, frozenset[tuple[NodeId, PublicKey | None]]]


class KeptAnswers:
    """Answers of the last asking, each with who was registered at its address then."""

    def __init__(self) -> None:
        self._answers: tuple[WitnessAnswer, ...] = ()
        self._holders: Holders = {}
        self._asked_about: frozenset[Prefix] = frozenset()

    def take(
        self,
        answers: Sequence[WitnessAnswer],
        registrations: Iterable[Registration],
        findings: Iterable[Finding],
    ) -> bool:
        """Take the answers of a new asking; tell whether they say anything else than those before.

        registrations, findings: those that the questions were made of.
        """
        self._asked_about = frozenset(_incidents(findings))
        before = tuple(map(_without_time, self._answers))
        self._answers = tuple(answers)
        self._holders = _holders(registrations, {answer.address for answer in answers})
        return before != tuple(map(_without_time, answers))

    def valid(self, registrations: Iterable[Registration]) -> tuple[WitnessAnswer, ...]:
        """Return the answers at addresses that are still registered for the same nodes.

        Where one moved, the answer may be that of the node that was there before.
        """
        if not self._answers:
            return ()
        now = _holders(registrations, {answer.address for answer in self._answers})
        same = {address for address in now if now[address] == self._holders.get(address)}
        return tuple(answer for answer in self._answers if answer.address in same)

    def lacks(self, findings: Iterable[Finding]) -> bool:
        """Tell whether an incident has an address about which nobody was to be asked yet."""
        return any(address not in self._asked_about for address in _incidents(findings))


def _incidents(findings: Iterable[Finding]) -> Iterator[Prefix]:
    for item in findings:
        if item.address is not None and is_host(item.address) and item.caused_by is None:
            yield item.address


def _without_time(answer: WitnessAnswer) -> WitnessAnswer:
    # How long a failed question took, and where its words say so, is another thing each time.
    return replace(answer, seconds=0.0, detail="")


def _holders(registrations: Iterable[Registration], addresses: Collection[Prefix]) -> Holders:
    found: dict[Prefix, set[tuple[NodeId, PublicKey | None]]] = defaultdict(set)
    for address in addresses:
        found[address] = set()
    for item in registrations:
        for address in item.addresses:
            if address in found and not item.retired:
                found[address].add((item.node, item.public_key))
    return {address: frozenset(holders) for address, holders in found.items()}
