"""`wgaudit sweep --alert`, sweep after sweep: who is told what, and what the exit code and the report say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from alerts.plan import blindness
from tests.cli.command import one_line
from tests.cli.conftest import to_pagerduty, to_receiver, to_slack
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, alert_lines, contested, mark
from tests.doubles.pagerduty import PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Double
from tests.doubles.slack import SlackDouble, texts

Make = Callable[..., Fleet]


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Reason and subject of each notification, in order."""
    return [(item["reason"], item["incident"]["subject"]) for item in receiver.notifications]


def events(pagerduty: PagerDutyDouble) -> list[tuple[str, str]]:
    """What PagerDuty was told to do, and under which key."""
    return [(event["event_action"], event["dedup_key"]) for event in pagerduty.events]


# -- one incident's life


def test_an_incident_is_told_once_when_it_changes_and_when_it_is_over(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble
) -> None:
    """Five sweeps: new, the same, a third claimant, repaired, still repaired."""
    fleet = make_fleet(notifiers=[to_receiver(receiver), to_pagerduty(pagerduty), to_slack(slack)])
    third = {"spare-ams-1": PAIR}
    codes = []
    heard = []
    for state in (
        contested(PAIR, TRIPLE),
        contested(PAIR, TRIPLE),
        contested(PAIR, TRIPLE) | third,
        HEALTHY,
        HEALTHY,
    ):
        fleet.register(state)
        before = len(receiver.notifications), len(pagerduty.events), len(slack.messages)
        done = fleet.sweep()
        assert alert_lines(done.stderr) == []
        codes.append(done.returncode)
        heard.append(
            (told(receiver)[before[0] :], events(pagerduty)[before[1] :], len(slack.messages) - before[2])
        )
    pair, triple = mark(PAIR), mark(TRIPLE)
    assert codes == [1, 1, 1, 0, 0]
    assert heard == [
        (
            [("first-notification", PAIR), ("first-notification", TRIPLE)],
            [("trigger", pair), ("trigger", triple)],
            1,
        ),
        ([], [], 0),
        ([("claimants-changed", PAIR)], [("trigger", pair)], 1),
        ([("resolved", PAIR), ("resolved", TRIPLE)], [("resolve", pair), ("resolve", triple)], 1),
        ([], [], 0),
    ]
    assert receiver.notifications[2]["incident"]["nodes"] == ["db-fra-1", "db-sin-1", "spare-ams-1"]
    assert {item["incident"]["fingerprint"] for item in receiver.notifications} == {pair, triple}
    assert not pagerduty.open


def test_slack_says_who_holds_what_and_how_to_go_on(make_fleet: Make, slack: SlackDouble) -> None:
    fleet = make_fleet(notifiers=[to_slack(slack)])
    fleet.sweep()
    said = "\n".join(texts(slack.messages[0]))
    for words in (PAIR, "db-fra-1", "db-sin-1", TRIPLE, "cache-nrt-1", f"wgaudit explain {PAIR}", "guess"):
        assert words in said
    assert slack.pings == []


def test_alertmanager_is_told_again_with_each_sweep_under_the_same_labels(make_fleet: Make) -> None:
    with Double() as alertmanager:
        fleet = make_fleet(notifiers=[{"name": "am", "type": "alertmanager", "url": alertmanager.url}])
        for state in (contested(PAIR), contested(PAIR), HEALTHY, HEALTHY):
            fleet.register(state)
            assert alert_lines(fleet.sweep().stderr) == []
        messages = [json.loads(call.body) for call in alertmanager.taken]
    assert [len(message) for message in messages] == [1, 1, 1]
    assert len({json.dumps(message[0]["labels"], sort_keys=True) for message in messages}) == 1
    first, second, last = (message[0] for message in messages)
    assert first["startsAt"] == second["startsAt"] == last["startsAt"]
    assert first["endsAt"] < second["endsAt"]
    assert last["endsAt"] < first["endsAt"]


def test_each_notifier_hears_only_what_it_wants(make_fleet: Make) -> None:
    """min_severity, checks and regions reach the plan, each for its own notifier."""
    with Receiver() as everything, Receiver() as nrt, Receiver() as other:
        fleet = make_fleet(
            notifiers=[
                {"name": "everything", "type": "webhook", "url": everything.url, "min_severity": "info"},
                {"name": "nrt", "type": "webhook", "url": nrt.url, "regions": ["nrt"]},
                {"name": "other", "type": "webhook", "url": other.url, "checks": ["wrong-host"]},
            ]
        )
        fleet.register(contested(PAIR, TRIPLE))
        fleet.sweep()
        assert len(told(everything)) == 2
        assert told(nrt) == [("first-notification", TRIPLE)]
        assert told(other) == []


def test_an_incident_that_came_back_soon_is_told_as_flapping(make_fleet: Make, receiver: Receiver) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    for state in (contested(PAIR), HEALTHY, contested(PAIR)):
        fleet.register(state)
        fleet.sweep()
    assert told(receiver) == [("first-notification", PAIR), ("resolved", PAIR), ("flapping", PAIR)]


# -- what it does not change


@pytest.mark.parametrize(
    ("state", "options", "code"),
    [
        (contested(PAIR), [], 1),
        (contested(PAIR), ["--fail-on", "critical"], 1),
        (HEALTHY, [], 0),
        (None, [], 3),
    ],
    ids=["findings", "findings at the limit", "clean", "unreadable"],
)
def test_the_exit_code_is_that_of_a_sweep_without_alerts(
    make_fleet: Make, receiver: Receiver, state: dict[str, str] | None, options: list[str], code: int
) -> None:
    """Where everything that is to be told was taken."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    if state is None:
        (fleet.folder / "registry.json").unlink()
    else:
        fleet.register(state)
    assert fleet.run("sweep", "--no-progress", *options).returncode == code
    done = fleet.sweep(*options)
    assert done.returncode == code
    assert done.stderr.rstrip().endswith(f"exit code {code}")


def test_stdout_is_one_json_document_and_nothing_else(make_fleet: Make, receiver: Receiver) -> None:
    done = make_fleet(notifiers=[to_receiver(receiver)]).sweep("--format", "json")
    assert json.loads(done.stdout)["schema"] == "wgaudit.report/1"


def test_a_sweep_without_alert_tells_nobody_and_remembers_nothing(
    make_fleet: Make, receiver: Receiver
) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    assert fleet.run("sweep", "--no-progress").returncode == 1
    assert receiver.calls == []
    assert not fleet.database.parent.exists()


def test_alerts_without_a_notifier_are_only_remembered_and_that_is_said(make_fleet: Make) -> None:
    fleet = make_fleet()
    done = fleet.sweep()
    assert done.returncode == 1
    assert alert_lines(done.stderr) == [
        "wgaudit: alerts: no [[notifiers]] in the configuration: nobody is told"
    ]
    assert PAIR in fleet.run("history").stdout


def test_a_recording_cannot_be_alerted(make_fleet: Make, receiver: Receiver) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    assert fleet.run("sweep", "--no-progress", "--record", "now.json.gz").returncode == 1
    done = fleet.run("sweep", "--alert", "--replay", "now.json.gz")
    assert done.returncode == 2
    assert "--alert has no meaning with --replay" in done.stderr
    assert receiver.calls == []


def test_who_cannot_read_the_report_is_told_all_the_same(make_fleet: Make, receiver: Receiver) -> None:
    """A full disk under --output, of all things, must not keep the page from the pager."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    (fleet.folder / "taken").mkdir()
    done = fleet.sweep("--output", "taken")
    assert done.returncode == 2
    assert "--output: cannot write taken" in one_line(done.stderr)
    assert len(told(receiver)) == 2


# -- blindness


def test_a_registry_that_cannot_be_read_resolves_nothing_and_is_an_incident_after_two_sweeps(
    make_fleet: Make, receiver: Receiver
) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.sweep()
    (fleet.folder / "registry.json").unlink()
    codes = [fleet.sweep().returncode for _ in range(3)]
    assert codes == [3, 3, 3]
    assert told(receiver)[2:] == [("first-notification", "the audit itself")]
    assert receiver.notifications[2]["incident"]["fingerprint"] == blindness()
    fleet.register(contested(PAIR, TRIPLE))
    assert fleet.sweep().returncode == 1
    assert told(receiver)[3:] == [("resolved", "the audit itself")]
    assert PAIR in fleet.run("history").stdout


def test_a_repair_is_believed_when_everybody_who_saw_the_incident_saw_it_gone(
    make_fleet: Make, receiver: Receiver
) -> None:
    """Of two observers one does not answer: the registry is repaired, and who is routed where is not known."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.register(contested(PAIR))
    fleet.sweep()
    fleet.register(HEALTHY, down=("edge-fra-1",))
    for _ in range(2):
        assert fleet.sweep().returncode == 0
    assert told(receiver) == [("first-notification", PAIR)]
    assert "stands" in fleet.run("history").stdout
    fleet.register(HEALTHY)
    fleet.sweep()
    assert told(receiver) == [("first-notification", PAIR), ("resolved", PAIR)]


def test_after_how_many_blind_sweeps_is_configured(make_fleet: Make, receiver: Receiver) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)], alerts={"blind_after": 1})
    (fleet.folder / "registry.json").unlink()
    fleet.sweep()
    assert told(receiver) == [("first-notification", "the audit itself")]


def test_a_registry_that_lost_half_of_its_nodes_is_blindness_and_no_repair(
    make_fleet: Make, receiver: Receiver
) -> None:
    """Both claimants are gone with the rest; that is not what a repair looks like."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)], alerts={"blind_after": 1})
    fleet.sweep()
    fleet.register({"spare-ams-1": HEALTHY["spare-ams-1"]})
    fleet.sweep()
    assert told(receiver)[2:] == [("first-notification", "the audit itself")]
    assert "shrank from 8 nodes to 3" in receiver.notifications[2]["incident"]["summary"]


# -- agreed sharing


def agreement(until: date, nodes: tuple[str, ...] = ("db-sin-1", "db-fra-1")) -> dict[str, Any]:
    """A `[[shared]]` table for the pair."""
    return {"address": PAIR, "nodes": list(nodes), "reason": "anycast, OPS-77", "until": until}


TODAY = datetime.now(UTC).date()
LATER, BEFORE = TODAY + timedelta(days=2), TODAY - timedelta(days=1)


def test_what_is_agreed_on_is_listed_and_is_no_finding(make_fleet: Make, receiver: Receiver) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)], shared=[agreement(LATER)])
    fleet.register(contested(PAIR))
    done = fleet.sweep()
    assert done.returncode == 0
    assert receiver.calls == []
    assert PAIR in done.stdout
    assert "anycast, OPS-77" in done.stdout
    document = json.loads(fleet.run("sweep", "--no-progress", "--format", "json").stdout)
    assert document["verdict"] == "clean"
    assert "anycast, OPS-77" in json.dumps(document)


@pytest.mark.parametrize(
    "shared",
    [agreement(BEFORE), agreement(LATER, nodes=("db-sin-1", "spare-ams-1"))],
    ids=["it is over", "another node holds it"],
)
def test_what_is_not_agreed_on_any_more_is_a_finding(
    make_fleet: Make, receiver: Receiver, shared: dict[str, Any]
) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)], shared=[shared])
    fleet.register(contested(PAIR))
    assert fleet.sweep().returncode == 1
    assert told(receiver) == [("first-notification", PAIR)]
