"""Outcome of asking who answers at addresses: each answer, and whether it is who is registered there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from auditor.errors import GapReason
from auditor.values.addresses import Prefix
from auditor.values.answer_words import reached_by
from auditor.values.models import Gap, NodeId
from auditor.values.witness_answers import Reached, WitnessAnswer


class AskOutcome(StrEnum):
    """Outcome of asking at one address, the worst first."""

    SOMEBODY_ELSE = "somebody-else"
    """A server answered that is not registered for it, or several different ones did."""
    CONTESTED = "contested"
    """Several nodes are registered for it, without an agreement: whoever answers is one of them."""
    UNKNOWN = "unknown"
    """Nobody answered, or only a server that nothing ties to a node."""
    REGISTERED = "registered"
    """All who answered are the node that is registered for it, or one of those that share it by agreement."""


@dataclass(frozen=True, slots=True)
class AskedAddress:
    """One address, and all answers there."""

    address: Prefix
    holders: tuple[NodeId, ...]
    """Nodes that are registered for it."""
    agreed: bool
    """True: `[[shared]]` lets its holders share it."""
    answers: tuple[WitnessAnswer, ...]
    """Answers in the order in which they came, failed questions included."""
    outcome: AskOutcome
    why: str
    """Clause that says why it is that outcome."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Everything that one call asked, and what came of it."""

    asked_at: datetime
    addresses: tuple[AskedAddress, ...]
    """Empty: nothing could be asked, for the registry could not be read."""
    regions: Mapping[NodeId, str] = field(default_factory=dict)
    """Regions of the nodes that are named here."""
    ambiguous_names: frozenset[str] = frozenset()
    gaps: tuple[Gap, ...] = ()
    """What of the registry could not be read: others may be registered for an address, too."""
    cut_short: str | None = None
    """Reason of an early end; None if every question had its time."""
    advice: Mapping[GapReason, str] = field(default_factory=dict)
    """Advice for each reason for which a question was not answered."""
    mesh: str = ""
    version: str = ""

    def name(self, node: NodeId) -> str:
        """Name a node; with its datacenter only where the name alone is ambiguous."""
        return str(node) if node.name in self.ambiguous_names else node.name

    def region(self, node: NodeId) -> str:
        """Return a node's region; "" where it is not known."""
        return self.regions.get(node, "")

    def reached(self, asked: AskedAddress) -> tuple[Reached, ...]:
        """Group the observers of an address by whom they met."""
        return reached_by(asked.answers, self.region)

    @property
    def outcome(self) -> AskOutcome:
        """Outcome of the whole: the worst of its addresses; never a good one where not everything was asked or read."""
        outcomes = {item.outcome for item in self.addresses}
        if not self.addresses or self.gaps or self.cut_short:
            outcomes.add(AskOutcome.UNKNOWN)
        return next(outcome for outcome in AskOutcome if outcome in outcomes)


def outcome_of(
    answers: Sequence[WitnessAnswer], holders: Collection[NodeId], *, agreed: bool
) -> tuple[AskOutcome, str]:
    """Decide what answers at an address mean; returns the outcome, and a clause that says why.

    agreed: the holders may share it. A server that calls itself something that is tied to no node is nobody for sure:
    it may be the registered one under another name.
    """
    met = [answer for answer in answers if answer.reason is None]
    if not met:
        return AskOutcome.UNKNOWN, "nobody answered, which does not mean that nobody is there"
    if not holders:
        return AskOutcome.SOMEBODY_ELSE, "nobody is registered for it, and somebody answers"
    tied = {answer.node for answer in met if answer.node is not None}
    if tied - set(holders):
        return AskOutcome.SOMEBODY_ELSE, "a node answers that is not registered for it"
    if len(holders) > 1 and not agreed:
        return AskOutcome.CONTESTED, _contested(len(holders), len(tied))
    for source in {answer.source for answer in met}:
        names = {(answer.node, answer.said) for answer in met if answer.source is source}
        untied = sum(node is None for node, _ in names)
        if untied and len(names) > 1:
            return (
                AskOutcome.SOMEBODY_ELSE,
                "several different servers answer, and not all are tied to a node",
            )
    if not tied:
        return (
            AskOutcome.UNKNOWN,
            "who answers is tied to no registered node; see name and known_hosts of [[witnesses]]",
        )
    return AskOutcome.REGISTERED, (
        "all who answered are nodes that share it by agreement" if len(holders) > 1
        else "all who answered are the node that is registered for it"
    )  # fmt: skip


def _contested(holders: int, answering: int) -> str:
    words = f"{holders:,} nodes are registered for it"
    if answering > 1:
        return f"{words}, and {answering:,} of them answer"
    return f"{words}, and one of them answers" if answering else words
