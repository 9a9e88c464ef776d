"""Who answered at an address, as each vendor is told it: whole for programs, in one bounded line for people."""

from __future__ import annotations

import json
from dataclasses import replace

from pydantic import SecretStr

from alerts.incidents import MOST_ANSWERS, groups, incident
from alerts.memory.forms import INCIDENT
from alerts.models import Answered
from alerts.notifiers.alertmanager import ANNOTATION, Alertmanager
from alerts.notifiers.incident_text import answered
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from tests.alerts.notifiers.sample import ANSWERED, firing, resolved
from tests.doubles import pagerduty, slack
from tests.doubles.pagerduty import ROUTING_KEY
from tests.reports import sample

LINE = (
    'NATS: of 12 asked, 9 reached edge-fra-1 (ams 3, fra 6), 2 "<!channel>" (no registered node) (sin 2), '
    "1 timed out (region unknown 1)"
)


def test_the_answers_are_one_line_with_their_regions() -> None:
    assert answered(ANSWERED) == [LINE]


def test_slack_says_who_answers_and_what_does_not_fit_and_pings_nobody() -> None:
    text = "\n".join(
        slack.texts(slack.checked(Slack("s", SecretStr("https://x")).payload([firing(ANSWERED)])))
    )
    assert "*Who answers there*: NATS: of 12 asked, 9 reached edge-fra-1 (ams 3, fra 6)" in text
    assert "*But*: worker-iad-9 routes it to edge-sin-1" in text
    assert "<!channel>" not in text


def test_slack_says_nothing_of_answers_where_the_incident_is_over() -> None:
    text = "\n".join(
        slack.texts(slack.checked(Slack("s", SecretStr("https://x")).payload([resolved(ANSWERED)])))
    )
    assert "Who answers" not in text


def test_pagerduty_has_them_in_its_details() -> None:
    event = json.loads(PagerDuty("p", SecretStr(ROUTING_KEY)).payload([firing(ANSWERED)]))
    pagerduty.checked(json.dumps({"routing_key": ROUTING_KEY, **event}).encode())
    details = event["payload"]["custom_details"]
    assert details["answered"] == [LINE]
    assert details["but"] == ANSWERED.disagreement


def test_alertmanager_has_them_as_an_annotation_and_no_label() -> None:
    (alert,) = json.loads(Alertmanager("a", SecretStr("https://x")).payload([firing(ANSWERED)]))
    assert alert["annotations"]["answers"] == LINE
    assert alert["annotations"]["disagreement"] == ANSWERED.disagreement
    assert "answers" not in alert["labels"]


def test_a_webhook_has_each_server_with_what_it_is_tied_to() -> None:
    message = json.loads(Webhook("w", SecretStr("https://x")).payload([firing(ANSWERED)]))
    told = message["notifications"][0]["incident"]
    assert told["answers"][0] == {
        "source": "nats",
        "node": "edge-fra-1",
        "server": "edge-fra-1",
        "failure": None,
        "observers": 9,
        "regions": {"ams": 3, "fra": 6},
    }
    assert [item["node"] for item in told["answers"]] == ["edge-fra-1", None, None]
    assert told["answers"][2]["failure"] == "timed out"
    assert told["disagreement"] == ANSWERED.disagreement


def test_the_memory_of_alerts_keeps_them() -> None:
    assert INCIDENT.read(INCIDENT.write(ANSWERED)) == ANSWERED


def test_an_incident_takes_them_from_the_finding_that_leads_it() -> None:
    report = sample.answered(*sample.ANSWERS, disagreement=sample.DISAGREEMENT)
    made = incident(report, groups(report)[0])
    assert [(item.node, item.observers, bool(item.failure)) for item in made.answers] == [
        ("edge-fra-1", 9, False),
        ("edge-sin-1", 2, False),
        ("", 1, True),
    ]
    assert made.disagreement == sample.DISAGREEMENT
    assert "asked" not in made.summary


def test_a_thousand_lying_servers_stay_within_every_limit() -> None:
    storm = replace(
        ANSWERED,
        answers=tuple(Answered("nats", "", f"{n:04}" + "x" * 4000, 1, (("sin", 1),)) for n in range(1000)),
    )
    slack.checked(Slack("s", SecretStr("https://x")).payload([firing(storm)] * 10))
    (alert,) = json.loads(Alertmanager("a", SecretStr("https://x")).payload([firing(storm)]))
    assert len(alert["annotations"]["answers"]) < ANNOTATION
    report = sample.answered(*(sample.met(None, {"sin": 1}, said=f"liar-{n}") for n in range(1000)))
    assert len(incident(report, groups(report)[0]).answers) == MOST_ANSWERS
