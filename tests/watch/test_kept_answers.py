"""Answers that a watch holds: as long as the same nodes are registered where they were had."""

from __future__ import annotations

from dataclasses import replace

from auditor.judge import judge
from auditor.values.models import Registration
from auditor.watch.kept_answers import KeptAnswers
from tests.fleets import Mesh, contested, trio


def answered(mesh: Mesh) -> tuple[KeptAnswers, tuple[Registration, ...]]:
    snapshot = mesh.asks("edge-ams-1", "10.0.0.2", "edge-fra-1").snapshot()
    kept = KeptAnswers()
    kept.take(snapshot.answers, snapshot.registrations, ())
    return kept, snapshot.registrations


def test_answers_hold_while_the_address_is_the_same_nodes() -> None:
    kept, registrations = answered(trio())
    assert [answer.said for answer in kept.valid(registrations)] == ["edge-fra-1"]
    assert len(kept.valid((*registrations, *trio().node("new", "10.0.0.9").registrations.values()))) == 1


def test_an_answer_at_an_address_that_was_given_to_another_is_none_any_more() -> None:
    """It may be that of the node that was there before."""
    kept, (first, *others) = answered(trio())
    moved = replace(first, node=first.node._replace(name="edge-fra-9"))
    assert kept.valid((moved, *others)) == ()
    assert kept.valid((first, *others, moved)) == ()


def test_the_same_answers_in_another_time_are_no_news() -> None:
    kept, registrations = answered(trio())
    same = tuple(replace(answer, seconds=2.5) for answer in kept.valid(registrations))
    assert not kept.take(same, registrations, ())
    assert kept.take((), registrations, ())


def test_an_incident_is_asked_about_once() -> None:
    """Whether anybody answers there or not."""
    snapshot = contested().snapshot()
    findings = judge(snapshot).findings
    kept = KeptAnswers()
    assert kept.lacks(findings)
    kept.take((), snapshot.registrations, findings)
    assert not kept.lacks(findings)
