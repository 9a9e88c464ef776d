"""`wgaudit alerts`: test, preview, list and retry."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.state.lock import exclusive
from tests.cli.command import one_line
from tests.cli.conftest import SIGNING_SECRET, to_pagerduty, to_receiver, to_slack
from tests.cli.fleet import HEALTHY, PAIR, TRIPLE, Fleet, contested
from tests.doubles import pagerduty as pagerduty_rules
from tests.doubles import slack as slack_rules
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.receiver import Receiver, validator
from tests.doubles.server import Double, Reply
from tests.doubles.slack import SECRET_PATH, SlackDouble

Make = Callable[..., Fleet]
INCIDENT = Path(__file__).parents[2] / "fixtures" / "incident" / "snapshot.json.gz"


@pytest.fixture
def all_of_them(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble
) -> Fleet:
    """A fleet with a notifier of each vendor."""
    return make_fleet(notifiers=[to_receiver(receiver), to_pagerduty(pagerduty), to_slack(slack)])


@pytest.fixture
def refused(make_fleet: Make, receiver: Receiver) -> Fleet:
    """Two incidents that the receiver refused for good: dead letters 1 and 2. It takes everything now."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    receiver.fault = Reply(410, b"no such hook")
    assert fleet.sweep().returncode == 4
    receiver.fault = None
    return fleet


# -- test


def test_a_test_and_its_resolve_go_through_each_notifier_and_are_marked(
    all_of_them: Fleet, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble
) -> None:
    done = all_of_them.run("alerts", "test")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split()[:3] for line in done.stdout.splitlines()]
    assert rows == [
        ["ok", name, status] for name in ("inventory", "oncall", "chat") for status in ("firing", "resolved")
    ]
    assert [(item["test"], item["status"]) for item in receiver.notifications] == [
        (True, "firing"),
        (True, "resolved"),
    ]
    assert [event["event_action"] for event in pagerduty.events] == ["trigger", "resolve"]
    assert not pagerduty.open
    for text in (
        *(item["headline"] for item in receiver.notifications),
        pagerduty.events[0]["payload"]["summary"],
        *(message["text"] for message in slack.messages),
    ):
        assert "TEST" in text
    assert not all_of_them.database.exists()


def test_one_notifier_can_be_tested_by_its_name(
    all_of_them: Fleet, receiver: Receiver, pagerduty: PagerDutyDouble
) -> None:
    assert all_of_them.run("alerts", "test", "oncall").returncode == 0
    assert len(pagerduty.events) == 2
    assert receiver.calls == []


@pytest.mark.parametrize(("fault", "code", "mark"), [(None, 0, "ok"), (Reply(404), 4, "FAIL")])
def test_the_heartbeat_is_tried_too(
    make_fleet: Make, slack: SlackDouble, heartbeat: Double, fault: Reply | None, code: int, mark: str
) -> None:
    """Unless one notifier is asked for."""
    heartbeat.fault = fault
    fleet = make_fleet(notifiers=[to_slack(slack)], alerts={"heartbeat_url": f"{heartbeat.url}/uuid"})
    done = fleet.run("alerts", "test")
    assert done.returncode == code
    assert re.match(rf"{mark} +heartbeat", done.stdout.splitlines()[-1])
    assert [call.path for call in heartbeat.calls] == ["/uuid"]
    assert "heartbeat" not in fleet.run("alerts", "test", "chat").stdout


def test_a_test_that_was_not_taken_is_4_and_the_others_are_tried(
    all_of_them: Fleet, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble
) -> None:
    receiver.fault = Reply(403, b"who are you")
    pagerduty.fault = Reply(503)
    done = all_of_them.run("alerts", "test")
    assert done.returncode == 4
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["FAIL", "FAIL", "FAIL", "FAIL", "ok", "ok"]
    assert "refused: 403 Forbidden: who are you" in lines[0]
    assert "not now: 503 Service Unavailable" in lines[2]
    assert len(slack.messages) == 2


@pytest.mark.parametrize(
    "command", [["test", "onkall"], ["preview", "--replay", str(INCIDENT), "--notifier", "onkall"]]
)
def test_an_unknown_notifier_is_told_with_those_that_there_are(
    all_of_them: Fleet, command: list[str]
) -> None:
    done = all_of_them.run("alerts", *command)
    assert done.returncode == 2
    assert "no notifier is called onkall; there are inventory, oncall, chat" in one_line(done.stderr)


@pytest.mark.parametrize("command", [["test"], ["preview", "--replay", str(INCIDENT)]])
def test_without_a_notifier_there_is_nothing_to_try(make_fleet: Make, command: list[str]) -> None:
    done = make_fleet().run("alerts", *command)
    assert done.returncode == 2
    assert "no [[notifiers]] in the configuration" in one_line(done.stderr)


# -- preview


def documents(text: str) -> list[Any]:
    """The JSON documents that stand one after the other in the text."""
    found, decoder, rest = [], json.JSONDecoder(), text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found.append(document)
        rest = rest[end:].lstrip()
    return found


def test_a_preview_shows_what_each_vendor_would_take_and_sends_nothing(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble
) -> None:
    """Each body is held against the vendor's rules; the routing key is put in on sending only."""
    with Double() as alertmanager:
        fleet = make_fleet(
            notifiers=[
                to_receiver(receiver),
                to_pagerduty(pagerduty),
                to_slack(slack),
                {"name": "am", "type": "alertmanager", "url": alertmanager.url},
            ]
        )
        bodies = {}
        for name in ("inventory", "oncall", "chat", "am"):
            done = fleet.run("alerts", "preview", "--replay", INCIDENT, "--notifier", name)
            assert done.returncode == 0, done.stderr
            assert done.stderr.startswith(f"# {name}: ")
            bodies[name] = documents(done.stdout)
        whole = fleet.run("alerts", "preview", "--replay", INCIDENT)
        assert [len(documents(whole.stdout))] == [sum(map(len, bodies.values()))]
        for double in (receiver, pagerduty, slack, alertmanager):
            assert double.calls == []
    for body in bodies["inventory"]:
        validator().validate(body)
    for event in bodies["oncall"]:
        assert "routing_key" not in event
        pagerduty_rules.checked(json.dumps({"routing_key": ROUTING_KEY, **event}).encode())
    for message in bodies["chat"]:
        slack_rules.checked(json.dumps(message).encode())
    assert all(alert["labels"]["alertname"] for alerts in bodies["am"] for alert in alerts)
    for secret in (ROUTING_KEY, SIGNING_SECRET, SECRET_PATH, receiver.url):
        assert secret not in whole.stdout + whole.stderr
    assert not fleet.database.exists()


def test_a_preview_of_what_no_notifier_wants_says_so(make_fleet: Make, receiver: Receiver) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver, regions=["mars"])])
    done = fleet.run("alerts", "preview", "--replay", INCIDENT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "# inventory: nothing to tell\n")


def test_a_preview_needs_a_recording_that_can_be_read(all_of_them: Fleet) -> None:
    done = all_of_them.run("alerts", "preview", "--replay", "not-there.json.gz")
    assert done.returncode == 2
    assert "not-there.json.gz" in one_line(done.stderr)


# -- list and retry


def test_the_list_of_nothing_is_short(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.run("silence", "add", "--node", "a", "--for", "1h", "--comment", "makes the state")
    done = fleet.run("alerts", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 waiting" in done.stdout
    assert "0 refused for good" in done.stdout


def test_the_list_shows_what_waits_with_the_last_answer(make_fleet: Make) -> None:
    nobody = {"name": "inventory", "type": "webhook", "url": "http://127.0.0.1:1/hook-of-secrecy"}
    fleet = make_fleet(notifiers=[nobody])
    fleet.register(contested(PAIR))
    fleet.sweep("--alert-timeout", "1")
    listed = re.sub(r"\s+", " ", fleet.run("alerts", "list").stdout)
    for words in ("1 waiting", "inventory", "first-notification", PAIR, "127.0.0.1:1 refuses connections"):
        assert words in listed
    assert "tried 1 time" in listed


def test_one_dead_letter_can_be_retried_by_its_number(refused: Fleet, receiver: Receiver) -> None:
    listed = refused.run("alerts", "list").stdout
    numbers = re.findall(r"^ +(\d+) .*inventory", listed, re.MULTILINE)
    assert len(numbers) == 2
    done = refused.run("alerts", "retry", numbers[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert [item["incident"]["subject"] for item in receiver.notifications] == [TRIPLE]
    assert "1 refused for good" in refused.run("alerts", "list").stdout
    assert refused.sweep().returncode == 4


def test_all_dead_letters_are_retried_in_order(refused: Fleet, receiver: Receiver) -> None:
    assert refused.run("alerts", "retry").returncode == 0
    assert [item["incident"]["subject"] for item in receiver.notifications] == [PAIR, TRIPLE]
    assert refused.sweep().returncode == 1
    again = refused.run("alerts", "retry")
    assert (again.returncode, again.stdout) == (0, "nothing to send\n")
    assert len(receiver.notifications) == 2


def test_a_retry_that_is_refused_again_is_4_and_stays_a_dead_letter(
    refused: Fleet, receiver: Receiver
) -> None:
    receiver.fault = Reply(410, b"still no such hook")
    done = refused.run("alerts", "retry")
    assert done.returncode == 4
    assert "still no such hook" in done.stdout
    listed = refused.run("alerts", "list").stdout
    assert "2 refused for good" in listed
    assert "still no such hook" in listed


def test_a_dead_letter_whose_incident_is_over_is_not_told_late(refused: Fleet, receiver: Receiver) -> None:
    refused.register(HEALTHY)
    assert refused.sweep().returncode == 0
    done = refused.run("alerts", "retry")
    assert done.returncode == 0
    assert receiver.notifications == []


def test_a_number_that_is_no_dead_letter_is_refused(refused: Fleet) -> None:
    done = refused.run("alerts", "retry", "4711")
    assert done.returncode == 2
    said = one_line(done.stderr)
    assert "4711 is no dead letter; `wgaudit alerts list --config " in said
    assert said.endswith("wgaudit.toml` shows them")


def test_a_retry_waits_for_the_sweep_that_is_at_work(refused: Fleet, receiver: Receiver) -> None:
    with exclusive(refused.database, 0):
        done = refused.run("alerts", "retry", "--lock-wait", "0")
    assert done.returncode == 2
    assert "another wgaudit is at work" in one_line(done.stderr)
    assert receiver.notifications == []
