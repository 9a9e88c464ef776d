"""`wgaudit timeline`: what a state made by real sweeps, silences and plans tells in one order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import one_line
from tests.cli.conftest import to_pagerduty, to_receiver
from tests.cli.fleet import HEALTHY, PAIR, Fleet, contested, mark
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Reply

Make = Callable[..., Fleet]

INCIDENT = Path(__file__).parent.parent.parent / "fixtures" / "incident" / "snapshot.json.gz"


def test_an_incident_is_told_from_the_clean_sweep_before_it_to_its_end(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble
) -> None:
    """One notifier refuses; a silence is ended early; a plan is written; then it is over."""
    fleet = make_fleet(notifiers=[to_receiver(receiver), to_pagerduty(pagerduty)])
    fleet.register(HEALTHY)
    fleet.sweep()
    receiver.fault = Reply(410, b"no such hook")
    fleet.register(contested(PAIR))
    fleet.sweep()
    added = fleet.run("silence", "add", "--address", PAIR, "--for", "2h", "--comment", "moving | it")
    ident = added.stdout.split()[0]
    assert fleet.run("plan", "--replay", INCIDENT, "--output", "plan.json").returncode in (0, 1)
    fleet.run("silence", "expire", ident)
    fleet.register(HEALTHY)
    fleet.sweep()

    document = json.loads(fleet.run("timeline", mark(PAIR)[:8], "--format", "json").stdout)
    assert document["schema"] == "wgaudit.timeline/1"
    assert document["target"] == mark(PAIR)
    told = [
        (
            event["kind"],
            event.get("change") or event.get("reason") or event.get("stage") or event.get("operation"),
            event.get("notifier"),
            event.get("state"),
        )
        for event in document["events"]
        if event["kind"] != "sweeps" and event.get("state") != "dropped"
    ]
    assert sorted(told[2:4], key=str) == [
        ("notification", "first-notification", "inventory", "dead"),
        ("notification", "first-notification", "oncall", "accepted"),
    ]
    assert [*told[:2], *told[4:]] == [
        ("registry", None, None, None),
        ("finding", "first-seen", None, None),
        ("silence", "added", None, None),
        ("operation", "plan", None, None),
        ("silence", "expired-early", None, None),
        ("registry", None, None, None),
        ("finding", "resolved", None, None),
        ("notification", "resolved", "oncall", "accepted"),
    ]
    assert [event["verdict"] for event in document["events"] if event["kind"] == "sweeps"] == [
        "clean",
        "findings",
        "clean",
    ]
    (incident,) = document["incidents"]
    assert 0 <= incident["seen_to_told"] <= incident["seen_to_resolved"]
    assert (incident["notifiers"], incident["refused"]) == (["oncall"], 1)

    page = fleet.run("timeline", mark(PAIR)).stdout
    assert "all times in UTC" in page
    assert "REFUSED for good: 410 Gone: no such hook" in " ".join(page.split())
    assert max(map(len, page.splitlines())) <= 80
    text = fleet.run("timeline", "--format", "markdown", "--output", "post-mortem.md")
    assert text.stdout == ""
    assert "| silence |" in (fleet.folder / "post-mortem.md").read_text()


def test_without_a_state_it_says_so_and_still_tells_of_the_files(make_fleet: Make, tmp_path: Path) -> None:
    fleet = make_fleet()
    fleet.run("plan", "--replay", INCIDENT, "--output", "plan.json")
    document = json.loads(
        fleet.run("timeline", "--since", "2020-01-01", "--plan", "plan.json", "--format", "json").stdout
    )
    assert f"there is no state database {fleet.database} yet" in document["notes"][0]
    assert [(event["kind"], event["operation"]) for event in document["events"]] == [("operation", "plan")]
    assert not fleet.database.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--since", "yesterday"], "timeline: --since yesterday: say it like 2h, 1d or 2026-12-01T03:00"),
        (["--since", "1h", "--until", "2h"], "before it begins"),
        (["0123456789"], "no finding has the fingerprint 0123456789"),
        (["--journal", "none.journal"], "none.journal"),
    ],
)
def test_what_cannot_be_told_is_one_line(make_fleet: Make, arguments: list[str], says: str) -> None:
    done = make_fleet().run("timeline", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in one_line(done.stderr)
