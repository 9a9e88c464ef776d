"""Who answers at a moved node's new address, asked from some observers over the mesh: the last word on its move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing

from auditor.errors import GapReason, Surprise
from auditor.nodes.stop import Stop
from auditor.repair.apply.outcome import UNANSWERED, table
from auditor.repair.moves import Move
from auditor.values.addresses import format_prefix
from auditor.values.models import Registration
from auditor.values.text import for_detail, listed
from auditor.values.witness_answers import AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question, Witnesses

MOST_ASKED = 12
"""Observers from which it is asked."""


class MoveAnswers:
    """Asks who answers at the new address of a move."""

    def __init__(self, witnesses: Witnesses, sources: Sequence[AnswerSource]) -> None:
        """sources: kinds of servers that are asked."""
        self._witnesses = witnesses
        self._sources = tuple(sources)

    async def facts(
        self, move: Move, observers: Sequence[Registration], registered: Collection[Registration]
    ) -> Mapping[str, str]:
        """Ask, and return facts for the journal. Raises `Surprise` where another node answers.

        registered: the registry as it is now. No answer is never "nobody": it is a fact of its own.
        """
        questions = [
            Question(observer, move.new, source)
            for observer in _reached_back(observers, registered)[:MOST_ASKED]
            for source in self._sources
        ]
        stop = Stop()
        try:
            async with aclosing(self._witnesses.ask(questions, tuple(registered), stop)) as stream:
                answers = [answer async for answer in stream]
        finally:
            stop.close()
        return judged_answers(move, answers)


def _reached_back(
    observers: Sequence[Registration], registered: Collection[Registration]
) -> Sequence[Registration]:
    """Select the observers whose addresses are theirs alone: what is sent back to others may go to their rival.

    Where there is no such observer, all of them are asked.
    """
    holders = Counter(prefix for item in registered if not item.retired for prefix in set(item.addresses))
    return [item for item in observers if all(holders[prefix] < 2 for prefix in item.addresses)] or observers


def judged_answers(move: Move, answers: Collection[WitnessAnswer]) -> Mapping[str, str]:
    """Return what the answers show, as facts. Raises `Surprise` where one is another node's. PURE."""
    others = Counter(str(item.node) for item in answers if item.node is not None and item.node != move.node)
    right = sum(item.node == move.node for item in answers)
    if others:
        names = listed((f"{name} ({number})" for name, number in others.most_common()), last=", ")
        raise Surprise(
            f"of {len(answers)} asked who is at {format_prefix(move.new)}, {right} reached {move.node}, and others "
            f"{names}: something beside WireGuard's routes decides, such as a rule, a NAT, or a server's name"
        )
    silent = {
        str(item.observer): item.reason.value
        if item.reason is not None
        else f"says {for_detail(item.said)[:60]}"
        for item in answers
        # Refused: no such server runs there, which is no fault of the move.
        if item.node is None and item.reason is not GapReason.ANSWER_REFUSED
    }
    return {
        "answers": f"{right} of {len(answers)} asked reached {move.node}",
        UNANSWERED: table({} if right else silent),
    }
