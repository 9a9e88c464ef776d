"""Answers of active witnesses beside registry and routes: who was met at an address, and what that contradicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property

from auditor.fleet.fleet import Fleet
from auditor.values.addresses import Prefix
from auditor.values.answer_words import SOURCE_WORDS, answers_sentence, called, reached_by
from auditor.values.findings import Witness
from auditor.values.models import NodeId
from auditor.values.text import count, listed
from auditor.values.witness_answers import Reached, WitnessAnswer

_NAMED = 3


class Met:
    """Servers that were met at one address: all of them, and those that contradict registry or routes."""

    def __init__(self, fleet: Fleet, address: Prefix) -> None:
        self._fleet = fleet
        self.address = address
        self.answers = fleet.answers_at.get(address, ())

    @property
    def reached(self) -> tuple[Reached, ...]:
        """Observers grouped by whom they met: most observers first, failed questions last."""
        return reached_by(self.answers, self._fleet.region)

    @property
    def sentence(self) -> str:
        """`Of 12 asked, 9 reached edge-fra-1, 2 edge-sin-1, 1 timed out.`; "" where nobody was asked."""
        return answers_sentence(self.reached, self._fleet.name)

    @cached_property
    def others(self) -> tuple[WitnessAnswer, ...]:
        """Answers of servers that are not registered for the address; none where nobody is registered for it.

        A server that is tied to no node counts only where the registered one was met there too, by the same kind of
        question: the two call themselves otherwise, so they are two.
        """
        fleet = self._fleet
        registered = _registered_at(fleet, self.address)
        if not registered or registered & fleet.in_flight_nodes:
            return ()  # nobody, or who is meant to be there is changing
        same = {fleet.same_node(node) for node in registered}

        def at_home(answer: WitnessAnswer) -> bool:
            return answer.node is not None and fleet.same_node(answer.node) in same

        met = {answer.source for answer in self.answers if at_home(answer)}
        return tuple(
            answer
            for answer in self.answers
            if answer.reason is None
            and not at_home(answer)
            and answer.node not in fleet.in_flight_nodes
            and (answer.node is not None or answer.source in met)
        )

    @property
    def disagreement(self) -> str:
        """Sentence on observers that met another node than their own route table leads to; "" where there are none."""
        groups: dict[tuple[str, str], list[NodeId]] = defaultdict(list)
        for answer in self.answers:
            if answer.node is None:
                continue
            led_to = _led_to(self._fleet, answer.observer, self.address)
            if led_to is not None and not _is_among(self._fleet, answer.node, led_to):
                target = listed(sorted(self._fleet.name(node) for node in led_to)) if led_to else "nobody"
                groups[target, self._fleet.name(answer.node)].append(answer.observer)
        if not groups:
            return ""
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        words = [
            f"{_who(self._fleet, nodes)} {'routes' if len(set(nodes)) == 1 else 'route'} it to {target}, and {met} "
            "answers"
            for (target, met), nodes in ordered[:_NAMED]
        ]
        more = f"; and {count(len(ordered) - _NAMED, 'further pair')}" if len(ordered) > _NAMED else ""
        return (
            f"{'; '.join(words)}{more}: something beside WireGuard decides there, such as a rule, a NAT, or a "
            "connection older than the change."
        )


def other_names(fleet: Fleet, answers: Iterable[WitnessAnswer]) -> str:
    """Name the servers that these answers are of: `edge-sin-1 (NATS)`."""
    names = dict.fromkeys(
        f"{fleet.name(answer.node) if answer.node is not None else called(answer.said)}"
        f" ({SOURCE_WORDS[answer.source]})"
        for answer in answers
    )
    return listed(names)


def _registered_at(fleet: Fleet, address: Prefix) -> frozenset[NodeId]:
    """Name the nodes that the registry, or an agreement that stands, has at an address."""
    claims = fleet.registered_claims.get(address, ())
    nodes = {claim.node for claim in claims if claim.witness is Witness.REGISTERED and claim.node is not None}
    agreed = {name for shared in fleet.policy.shared if shared.prefix == address for name in shared.nodes}
    return frozenset(nodes | {node for node in fleet.by_node if agreed and node.name in agreed})


def _led_to(fleet: Fleet, observer: NodeId, address: Prefix) -> frozenset[NodeId] | None:
    """Name the nodes that an observer's route table leads to; None: it was not seen, or that is not known."""
    observation = fleet.observed.get(observer)
    if observation is None or not fleet.routes.observers.named(observer):
        return None
    sent = fleet.routes.sent_by(observation, address)
    if sent.itself:
        return None
    nodes: set[NodeId] = set()
    for key in sent.keys:
        holders = {item.node for item in fleet.by_key.get(key, ())} | set(fleet.device_holders.get(key, ()))
        if not holders:
            return None  # a key that nobody is known to have may be anybody's
        nodes |= holders
    return frozenset(nodes)


def _is_among(fleet: Fleet, node: NodeId, nodes: Iterable[NodeId]) -> bool:
    return fleet.same_node(node) in {fleet.same_node(item) for item in nodes}


def _who(fleet: Fleet, nodes: Sequence[NodeId]) -> str:
    names = sorted({fleet.name(node) for node in nodes})
    return names[0] if len(names) == 1 else f"{count(len(names), 'observer')} ({listed(names, most=_NAMED)})"
