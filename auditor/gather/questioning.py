"""Questions of a sweep to active witnesses: chosen from what registry and nodes showed, and asked before it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing

from auditor.checks.met_before import MetBefore, addresses_met, nodes_met, observers_met
from auditor.fleet.fleet import Fleet
from auditor.judge import finding_order
from auditor.nodes.stop import Stop
from auditor.settings.witnesses import WitnessSettings
from auditor.values.addresses import Prefix, is_host
from auditor.values.findings import Finding
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import OWN_LOOPBACK, AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question, Witnesses
from auditor.witnesses.sampling import addresses_beside, questions_for

log = logging.getLogger(__name__)

MOST_ADDRESSES = 200
"""Addresses asked for in one sweep, the worst findings' first: what a bad day costs has an end."""
MOST_SUSPECTS = 200
"""Suspects whose addresses, and whose own server, are asked."""


class Questioning:
    """Asks the witnesses of the settings about one fleet, as often as it is called."""

    def __init__(
        self,
        witnesses: Witnesses,
        settings: Sequence[WitnessSettings],
        met: MetBefore | None = None,
    ) -> None:
        """Take the witnesses. met: standing findings that may rest on answers; they are asked about again."""
        self._witnesses = witnesses
        self._settings = tuple(settings)
        self.met: MetBefore = met or {}

    def plan(self, fleet: Fleet, findings: Iterable[Finding], seed: str) -> tuple[Question, ...]:
        """Choose the questions; takes a moment for a large fleet, and may be called in a thread."""
        return planned_questions(fleet, findings, self._settings, seed, self.met)

    async def ask(self, fleet: Fleet, questions: Sequence[Question], stop: Stop) -> tuple[WitnessAnswer, ...]:
        """Ask; one answer for each question, in the order of questions.

        Where somebody answers who is not registered there, or names another region, it is asked once more, and the
        later answer counts. Raises nothing for I/O: what was not answered says why.
        """
        if not questions:
            return ()
        log.info("witnesses: %d questions", len(questions))
        answers = await self._asked(questions, fleet, stop)
        again = [
            question
            for question in questions
            if (answer := answers.get(question.key)) is not None and _is_surprise(fleet, answer)
        ]
        if again and not stop.is_set():
            answers |= await self._asked(again, fleet, stop)
        return tuple(answers[key] for key in sorted(answers, key=lambda key: (key[2], key[1], key[0])))

    async def _asked(
        self, questions: Sequence[Question], fleet: Fleet, stop: Stop
    ) -> dict[tuple[NodeId, Prefix, AnswerSource], WitnessAnswer]:
        found: dict[tuple[NodeId, Prefix, AnswerSource], WitnessAnswer] = {}
        async with aclosing(self._witnesses.ask(questions, fleet.registrations, stop)) as answers:
            async for answer in answers:
                met = (
                    answer.reason.value
                    if answer.reason
                    else answer.node or "a server that is tied to no node"
                )
                log.info("witnesses: %s at %s: %s", answer.observer, answer.address, met)
                found[answer.observer, answer.address, answer.source] = answer
        return found


def _is_surprise(fleet: Fleet, answer: WitnessAnswer) -> bool:
    """Tell whether somebody answered who is not registered at the address, or who names another region than his."""
    if answer.reason is not None:
        return False
    own = answer.address == OWN_LOOPBACK
    node = answer.observer if own else answer.node
    if node is not None and answer.region and fleet.region(node) not in ("", answer.region):
        return True
    registered = {claim.node for claim in fleet.registered_claims.get(answer.address, ())}
    return not own and bool(registered) and answer.node not in registered


def planned_questions(
    fleet: Fleet,
    findings: Iterable[Finding],
    settings: Sequence[WitnessSettings],
    seed: str,
    met: MetBefore,
) -> tuple[Question, ...]:
    """Choose the questions of one sweep; the same for the same fleet, findings and seed.

    met: standing findings that may rest on answers, which are over only where the same observers meet nobody else.
    """
    worst_first = sorted(findings, key=finding_order)
    suspects = (*nodes_met(fleet, met), *_suspects(fleet, worst_first))
    asked = _addresses(fleet, worst_first, suspects, addresses_met(fleet, met))
    observers = _observers(fleet)
    registered = [
        address
        for item in fleet.registrations
        if item.node not in fleet.in_flight_nodes
        for address in item.addresses
        if is_host(address)
    ]
    before = [
        (fleet.by_node[node], address)
        for address in addresses_met(fleet, met)
        for node in sorted(observers_met(fleet, met, address))
    ]
    questions: list[Question] = []
    for kind in settings:
        beside = addresses_beside(registered, asked, kind.share, seed)
        chosen = questions_for(
            (*asked, *beside),
            observers,
            kind.source,
            claimants={address: _claimants(fleet, address) for address in (*asked, *beside)},
            each_region=kind.observers,
            seed=seed,
        )
        questions += chosen
        questions += [Question(node, address, kind.source) for node, address in before]
        if kind.source is AnswerSource.NATS and kind.monitoring_port is not None:
            nodes = [*suspects, *(item.observer.node for item in chosen)]
            questions += [
                Question(fleet.by_node[node], OWN_LOOPBACK, kind.source) for node in dict.fromkeys(nodes)
            ]
    return tuple(questions)


def _addresses(
    fleet: Fleet, worst_first: Sequence[Finding], suspects: Sequence[NodeId], met: Sequence[Prefix]
) -> tuple[Prefix, ...]:
    """List the contested addresses, then those of suspects: worst findings first, and never too many."""
    contested = [
        finding.address for finding in worst_first if finding.address is not None and is_host(finding.address)
    ]
    theirs = (address for node in suspects for address in sorted(fleet.host_addresses(node)))
    return tuple(dict.fromkeys((*met, *contested, *theirs)))[:MOST_ADDRESSES]


def _suspects(fleet: Fleet, worst_first: Sequence[Finding]) -> tuple[NodeId, ...]:
    seen = {item.node for item in fleet.witnesses} & fleet.by_node.keys()
    found = dict.fromkeys(node for finding in worst_first for node in finding.nodes if node in seen)
    return tuple(found)[:MOST_SUSPECTS]


def _observers(fleet: Fleet) -> Mapping[str, Sequence[Registration]]:
    """List the nodes that can ask, by region: those that were seen, with their registered addresses and no rival's.

    Answers to a node with a contested address may go to its rival, and those to one that lacks its own get lost.
    """
    odd = {node for nodes in fleet.contested.values() for node in nodes}
    odd |= {
        item.node
        for item in fleet.witnesses
        if not fleet.host_addresses(item.node) <= {*item.device.addresses}
    }
    seen = [
        fleet.by_node[item.node]
        for item in fleet.witnesses
        if item.node in fleet.by_node and item.node not in fleet.in_flight_nodes
    ]
    free = [item for item in seen if item.node not in odd] or seen
    by_region: dict[str, list[Registration]] = {}
    for item in free:
        by_region.setdefault(fleet.region(item.node), []).append(item)
    return by_region


def _claimants(fleet: Fleet, address: Prefix) -> frozenset[NodeId]:
    return frozenset(claim.node for claim in fleet.claims(address) if claim.node is not None)
