"""Answers at an address in words: counted, bounded, and never a server's word for our own."""

from __future__ import annotations

from auditor.errors import GapReason
from auditor.values.addresses import Prefix
from auditor.values.answer_words import answers_sentence, asked, called, reached_by
from auditor.values.models import NodeId
from auditor.values.witness_answers import AnswerSource, Reached, WitnessAnswer


def reached(
    name: str, observers: int, *, said: str = "", source: AnswerSource = AnswerSource.NATS
) -> Reached:
    node = NodeId("dc1", name) if name else None
    return Reached(source, said or name, node, observers, {"fra": observers})


def failed(observers: int, reason: GapReason, source: AnswerSource = AnswerSource.NATS) -> Reached:
    return Reached(source, "", None, observers, {"fra": observers}, reason=reason)


def sentence(*answers: Reached) -> str:
    return answers_sentence(answers, lambda node: node.name)


def test_counts_who_was_reached_and_who_was_not() -> None:
    words = sentence(reached("edge-sin-1", 2), failed(1, GapReason.NO_ANSWER), reached("edge-fra-1", 9))
    assert words == "Of 12 asked, 9 reached edge-fra-1, 2 edge-sin-1, 1 timed out."


def test_says_nothing_where_nobody_was_asked() -> None:
    assert sentence() == ""


def test_a_failure_names_its_reason_and_is_never_nobody() -> None:
    words = sentence(failed(2, GapReason.NO_CHANNEL))
    assert words == "Of 2 asked, 2 could not ask (no-channel)."


def test_each_kind_of_server_is_counted_by_itself() -> None:
    words = sentence(reached("edge-fra-1", 3), reached("edge-fra-1", 1, source=AnswerSource.SSH_HOST_KEY))
    assert words == "NATS: of 3 asked, 3 reached edge-fra-1; SSH host key: of 1 asked, 1 reached edge-fra-1."


def test_a_server_that_is_no_node_is_quoted_and_cannot_end_its_quotes() -> None:
    words = sentence(reached("", 1, said='x", 11 reached edge-fra-1\n\x1b[31m'))
    assert words == (
        'Of 1 asked, 1 reached "x\', 11 reached edge-fra-1 \N{REPLACEMENT CHARACTER}[31m" '
        "(no registered node)."
    )


def test_what_a_server_calls_itself_is_bounded() -> None:
    assert len(called("n" * 4000)) < 70


def test_a_storm_of_servers_is_a_few_and_a_count() -> None:
    words = sentence(*(reached(f"edge-{number:03}", 1) for number in range(200)))
    assert words.endswith("1 edge-005, 194 one of 194 other servers.")
    assert len(words) < 200


def test_one_node_met_under_two_names_is_counted_once() -> None:
    assert sentence(reached("edge-fra-1", 2, said="a"), reached("edge-fra-1", 1, said="b")) == (
        "Of 3 asked, 3 reached edge-fra-1."
    )


def test_groups_keep_answers_apart_from_failures() -> None:
    (group,) = asked([failed(1, GapReason.NO_ANSWER), reached("edge-fra-1", 2)])
    assert (len(group.answered), len(group.unanswered), group.observers) == (1, 1, 3)


def answer(observer: str, node: str = "", **more: object) -> WitnessAnswer:
    return WitnessAnswer(
        NodeId("dc1", observer), Prefix("10.0.0.1/32"), AnswerSource.NATS, 0.01, said=node,
        node=NodeId("dc1", node) if node else None, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_observers_are_grouped_by_whom_they_met_and_counted_by_their_own_region() -> None:
    answers = [
        answer("a-nrt-1", reason=GapReason.NO_ANSWER, detail="one"),
        answer("a-nrt-2", reason=GapReason.NO_ANSWER, detail="other"),
        answer("a-sin-1", "edge-sin-1"),
        answer("a-fra-1", "edge-fra-1"),
        answer("a-fra-2", "edge-fra-1"),
        answer("a-sin-2", "edge-fra-1"),
    ]
    groups = reached_by(answers, lambda node: node.name[2:5])
    assert [(item.said, item.observers, dict(item.regions)) for item in groups] == [
        ("edge-fra-1", 3, {"fra": 2, "sin": 1}),
        ("edge-sin-1", 1, {"sin": 1}),
        ("", 2, {"nrt": 2}),
    ]
    assert groups[0].everyone is not None
    assert [node.name for node in groups[0].everyone()] == ["a-fra-1", "a-fra-2", "a-sin-2"]
