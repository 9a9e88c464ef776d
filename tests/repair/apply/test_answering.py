"""Who answers at the new address of a move: what is taken down, and what stops it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import pytest

from auditor.errors import GapReason, Surprise
from auditor.nodes.stop import Stop
from auditor.repair.apply.answering import MOST_ASKED, MoveAnswers, judged_answers
from auditor.repair.apply.outcome import UNANSWERED, facts_in_words, read_table, unverified
from auditor.repair.apply.stages import Progress
from auditor.repair.moves import Step
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from auditor.values.witness_answers import AnswerSource, WitnessAnswer
from auditor.witnesses.interface import Question, Witnesses
from tests.repair.apply.test_outcome import MOVE, RIGHT


def answer(number: int, node: str | None, reason: GapReason | None = None) -> WitnessAnswer:
    return WitnessAnswer(
        NodeId("", f"db-{number}"),
        MOVE.new,
        AnswerSource.NATS,
        0.1,
        said=node or "",
        node=NodeId("", node) if node else None,
        reason=reason,
    )


def test_the_node_that_answers_is_counted_and_a_few_timeouts_are_nothing() -> None:
    facts = judged_answers(MOVE, [answer(1, "edge-sin-2"), answer(2, None, GapReason.NO_ANSWER)])
    assert facts_in_words(facts) == "answers 1 of 2 asked reached edge-sin-2"
    assert not unverified(MOVE, Progress(tuple(Step), facts={**RIGHT, **facts}))


def test_another_node_that_answers_stops_the_apply_with_its_name() -> None:
    with pytest.raises(Surprise, match=r"1 reached edge-sin-2, and others edge-fra-1 \(1\)"):
        judged_answers(MOVE, [answer(1, "edge-sin-2"), answer(2, "edge-fra-1")])


def test_if_nobody_can_be_told_the_move_is_done_and_not_verified() -> None:
    facts = judged_answers(MOVE, [answer(1, None, GapReason.NO_ANSWER)])
    assert read_table(facts, UNANSWERED) == {"db-1": "no-answer"}
    left = unverified(MOVE, Progress(tuple(Step), facts={**RIGHT, **facts}))
    assert left.in_words() == "nobody who can be told answered, asked from: db-1 (no-answer)"


def test_a_node_that_runs_no_such_server_is_no_fault_of_its_move() -> None:
    facts = judged_answers(MOVE, [answer(1, None, GapReason.ANSWER_REFUSED)])
    assert not unverified(MOVE, Progress(tuple(Step), facts={**RIGHT, **facts}))


@dataclass
class Answering(Witnesses):
    """Servers that all call themselves by one node's name, and write down what they were asked."""

    node: NodeId
    questions: list[Question] = field(default_factory=list)

    async def ask(
        self, questions: Sequence[Question], registered: Sequence[Registration], stop: Stop
    ) -> AsyncGenerator[WitnessAnswer, None]:
        assert registered
        assert not stop.is_set()
        self.questions += questions
        for question in questions:
            yield WitnessAnswer(
                question.observer.node,
                question.address,
                question.source,
                0.1,
                said=self.node.name,
                node=self.node,
            )


async def test_the_new_address_is_asked_for_from_a_few_observers_of_the_sample() -> None:
    written = Answering(MOVE.node)
    observers = [Registration(NodeId("", f"db-{number}"), None, ()) for number in range(40)]
    facts = await MoveAnswers(written, [AnswerSource.NATS]).facts(MOVE, observers, observers)
    assert len(written.questions) == MOST_ASKED
    assert {question.address for question in written.questions} == {MOVE.new}
    assert facts["answers"] == f"{MOST_ASKED} of {MOST_ASKED} asked reached edge-sin-2"


async def test_an_observer_whose_own_address_is_contested_is_not_asked_beside_others() -> None:
    """What is sent back to it may go to its rival, and would be waited for in vain."""
    written = Answering(MOVE.node)
    contested, free = Prefix("10.0.0.1/32"), Prefix("10.0.0.2/32")
    observers = [
        Registration(NodeId("", name), None, (prefix,))
        for name, prefix in (("db-1", contested), ("db-2", contested), ("db-3", free))
    ]
    answers = MoveAnswers(written, [AnswerSource.NATS])
    await answers.facts(MOVE, observers, observers)
    assert [question.observer.node.name for question in written.questions] == ["db-3"]
    written.questions.clear()
    await answers.facts(MOVE, observers[:2], observers)
    assert [question.observer.node.name for question in written.questions] == ["db-1", "db-2"]
