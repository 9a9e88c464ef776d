"""What answers at an address mean: as registered, somebody else, contested, or not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from auditor.errors import GapReason
from auditor.values.addresses import Prefix
from auditor.values.asked_addresses import AskedAddress, Asking, AskOutcome, outcome_of
from auditor.values.models import Gap, NodeId
from auditor.values.witness_answers import AnswerSource, WitnessAnswer

FRA, SIN = NodeId("dc1", "edge-fra-1"), NodeId("dc1", "edge-sin-1")
ADDRESS = Prefix("10.0.0.1/32")


def met(node: NodeId | None, said: str = "", source: AnswerSource = AnswerSource.NATS) -> WitnessAnswer:
    name = said or (node.name if node is not None else "")
    return WitnessAnswer(NodeId("dc1", "observer"), ADDRESS, source, 0.1, name, node)


SILENT = WitnessAnswer(
    NodeId("dc1", "observer"), ADDRESS, AnswerSource.NATS, 3.0, reason=GapReason.NO_ANSWER, detail="no answer"
)


@pytest.mark.parametrize(
    ("answers", "holders", "agreed", "outcome"),
    [
        ([met(FRA), met(FRA), SILENT], [FRA], False, AskOutcome.REGISTERED),
        ([met(FRA), met(SIN)], [FRA], False, AskOutcome.SOMEBODY_ELSE),
        ([met(FRA), met(SIN)], [FRA, SIN], False, AskOutcome.CONTESTED),
        ([met(FRA)], [FRA, SIN], False, AskOutcome.CONTESTED),
        ([met(FRA), met(SIN)], [FRA, SIN], True, AskOutcome.REGISTERED),
        ([met(NodeId("dc2", "edge-fra-1"))], [FRA], False, AskOutcome.SOMEBODY_ELSE),
        ([met(FRA)], [], False, AskOutcome.SOMEBODY_ELSE),
        ([SILENT], [], False, AskOutcome.UNKNOWN),
        ([SILENT, SILENT], [FRA], False, AskOutcome.UNKNOWN),
        ([], [FRA], False, AskOutcome.UNKNOWN),
        ([met(None, "NBX4"), met(None, "NBX4")], [FRA], False, AskOutcome.UNKNOWN),
        ([met(None, "NBX4"), met(None, "NCY7")], [FRA], False, AskOutcome.SOMEBODY_ELSE),
        ([met(None, "NBX4"), met(FRA)], [FRA], False, AskOutcome.SOMEBODY_ELSE),
        ([met(None, "SHA256:x", AnswerSource.SSH_HOST_KEY), met(FRA)], [FRA], False, AskOutcome.REGISTERED),
    ],
)  # fmt: skip
def test_the_outcome_follows_from_who_answered(
    answers: list[WitnessAnswer], holders: list[NodeId], agreed: bool, outcome: AskOutcome
) -> None:
    found, why = outcome_of(answers, holders, agreed=agreed)
    assert found is outcome
    assert why


def asking(*outcomes: AskOutcome) -> Asking:
    addresses = tuple(AskedAddress(ADDRESS, (FRA,), False, (), outcome, "") for outcome in outcomes)
    return Asking(datetime(2026, 3, 1, tzinfo=UTC), addresses)


def test_the_whole_is_as_bad_as_its_worst_address() -> None:
    assert asking(AskOutcome.REGISTERED, AskOutcome.CONTESTED).outcome is AskOutcome.CONTESTED
    assert asking(AskOutcome.UNKNOWN, AskOutcome.SOMEBODY_ELSE).outcome is AskOutcome.SOMEBODY_ELSE
    assert asking(AskOutcome.REGISTERED).outcome is AskOutcome.REGISTERED


def test_what_was_not_read_or_not_asked_is_never_as_registered() -> None:
    whole = asking(AskOutcome.REGISTERED)
    gap = Gap("consul", GapReason.CONSUL_TIMEOUT, "no answer", datacenter="dc2")
    assert replace(whole, gaps=(gap,)).outcome is AskOutcome.UNKNOWN
    assert replace(whole, cut_short="interrupted").outcome is AskOutcome.UNKNOWN
    assert asking().outcome is AskOutcome.UNKNOWN
