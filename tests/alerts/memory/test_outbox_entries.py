"""What a plan adds to the outbox: worked out from the newest stored words, and from the plan's own."""

from __future__ import annotations

from dataclasses import replace

from alerts.memory.forms import INCIDENT
from alerts.memory.notices import State
from alerts.memory.outbox_entries import entries_of, looked_up
from alerts.models import Status
from tests.alerts.fakes import NOON, firing, incident, planned, repeat, resolve

MARK = incident().fingerprint


def test_a_first_word_needs_no_look_at_what_is_stored() -> None:
    """Of thousands of new incidents nothing is read."""
    assert looked_up(planned(firing(), firing("chat"))) == frozenset()
    plan = replace(planned(repeat(), resolve("chat")), closed=(("quiet", MARK),))
    assert looked_up(plan) == {("oncall", MARK), ("chat", MARK), ("quiet", MARK)}


def test_words_of_one_plan_follow_one_another_as_if_each_had_been_stored() -> None:
    newer = incident(summary="newer")
    plan = replace(
        planned(firing(), repeat(about=newer), resolve(), resolve(), firing()), closed=(("oncall", MARK),)
    )
    entries = entries_of(plan, {}, (), NOON)
    assert [(row["status"], row["state"]) for row in entries.added] == [
        (Status.FIRING, State.PENDING),
        (Status.RESOLVED, State.PENDING),
        (Status.RESOLVED, State.DROPPED),
        (Status.FIRING, State.PENDING),
        (Status.RESOLVED, State.CLOSED),
    ]
    assert entries.added[0]["body"] == INCIDENT.write(newer)
    assert entries.renewed == {}
