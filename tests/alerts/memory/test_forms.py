"""The stored forms: values may change, what is in databases out there must be read and written as it was."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from alerts.memory.forms import INCIDENT, SILENCE, STANDING
from alerts.models import Answered, Flapping, Incident, Silence, Standing
from auditor.errors import StateError
from auditor.values.findings import Severity
from auditor.values.models import NodeId
from auditor.values.stored_values import StoredForm

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=9)))
STORED = "2026-03-01T03:00:00.000000+00:00"
THING = Incident(
    fingerprint="f1",
    check="duplicate-address",
    severity=Severity.CRITICAL,
    subject="10.0.0.1",
    address="10.0.0.1/32",
    summary="two \udc80",
    guess="a guess",
    nodes=("a", "b"),
    regions=("fra",),
    routing=(("a", 2, (("fra", 1),)),),
    follows=(("split-routing", 3),),
    since=NOON,
    flapping_since=NOON,
    mesh="prod",
    answers=(Answered("nats", "a", "said", 2, (("fra", 2),), "refused"),),
    disagreement="odd",
    drained=(("a", "since then"),),
)
WRITTEN: dict[str, Any] = {
    "form": "wgaudit.incident/1",
    "fingerprint": "f1",
    "check": "duplicate-address",
    "severity": "critical",
    "subject": "10.0.0.1",
    "address": "10.0.0.1/32",
    "summary": "two \udc80",
    "guess": "a guess",
    "nodes": ["a", "b"],
    "regions": ["fra"],
    "routing": [["a", 2, [["fra", 1]]]],
    "follows": [["split-routing", 3]],
    "since": STORED,
    "not_seen_since": None,
    "flapping_since": STORED,
    "mesh": "prod",
    "answers": [["nats", "a", "said", 2, [["fra", 2]], "refused"]],
    "disagreement": "odd",
    "drained": [["a", "since then"]],
}


@pytest.mark.parametrize(
    ("form", "value", "written"),
    [
        (INCIDENT, THING, WRITTEN),
        (
            STANDING,
            Standing(
                incident=THING,
                first_seen=NOON,
                last_seen=NOON,
                last_sweep=7,
                datacenters=frozenset({"dc2", "dc1"}),
                nodes=frozenset({NodeId("dc1", "b"), NodeId("dc1", "a")}),
                everybody=True,
                flapping=Flapping(NOON, NOON),
            ),
            {
                "form": "wgaudit.standing/1",
                "incident": WRITTEN,
                "first_seen": STORED,
                "last_seen": STORED,
                "last_sweep": 7,
                "datacenters": ["dc1", "dc2"],
                "nodes": [["dc1", "a"], ["dc1", "b"]],
                "everybody": True,
                "flapping": {"since": STORED, "until": STORED},
                "away_since": None,
            },
        ),
        (
            SILENCE,
            Silence("s1", NOON, NOON, "anna", "why", frozenset({"b", "a"}), nodes=frozenset({"n"})),
            {
                "form": "wgaudit.silence/1",
                "ident": "s1",
                "starts_at": STORED,
                "ends_at": STORED,
                "created_by": "anna",
                "comment": "why",
                "checks": ["a", "b"],
                "addresses": [],
                "nodes": ["n"],
                "regions": [],
            },
        ),
    ],
    ids=["incident", "standing", "silence"],
)
def test_a_value_is_written_and_read_in_the_form_that_databases_hold(
    form: StoredForm[object], value: object, written: dict[str, object]
) -> None:
    assert form.write(value) == json.dumps(written)
    assert form.read(json.dumps(written)) == value
    for odd in ({**written, "form": "wgaudit.other/1"}, {**written, "more": 1}):
        with pytest.raises(StateError, match="cannot be read"):
            form.read(json.dumps(odd))
