"""Claimants that are out of production, as each vendor is told it."""

from __future__ import annotations

import json
from dataclasses import replace

from pydantic import SecretStr

from alerts.incidents import groups, incident
from alerts.memory.forms import INCIDENT
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from auditor.values.drains import Drained
from tests.alerts.notifiers.sample import DRAINED, firing, resolved
from tests.doubles import pagerduty, slack
from tests.doubles.pagerduty import ROUTING_KEY
from tests.reports import sample

LINE = "edge-sin-1 since 2026-03-01 02:40 UTC by anna (consul-maintenance): <!channel>"


def test_slack_says_it_while_it_fires_and_pings_nobody() -> None:
    chat = Slack("s", SecretStr("https://x"))
    text = "\n".join(slack.texts(slack.checked(chat.payload([firing(DRAINED)]))))
    assert "*Out of production*: edge-sin-1 since 2026-03-01 02:40 UTC by anna (consul-maintenance)" in text
    assert "<!channel>" not in text
    over = "\n".join(slack.texts(slack.checked(chat.payload([resolved(DRAINED)]))))
    assert "Out of production" not in over


def test_pagerduty_alertmanager_and_a_webhook_have_it() -> None:
    event = json.loads(PagerDuty("p", SecretStr(ROUTING_KEY)).payload([firing(DRAINED)]))
    pagerduty.checked(json.dumps({"routing_key": ROUTING_KEY, **event}).encode())
    assert event["payload"]["custom_details"]["out_of_production"] == [LINE]
    (alert,) = json.loads(Alertmanager("a", SecretStr("https://x")).payload([firing(DRAINED)]))
    assert alert["annotations"]["drained"] == LINE
    assert "drained" not in alert["labels"]
    body = json.loads(Webhook("w", SecretStr("https://x")).payload([firing(DRAINED)]))
    (told,) = [item["incident"]["drained"] for item in body["notifications"]]
    assert told == [{"node": "edge-sin-1", "words": LINE.removeprefix("edge-sin-1 ")}]


def test_an_incident_has_the_claimants_that_the_report_knows_to_be_drained_and_no_other() -> None:
    one = Drained(sample.STARTED, "anna", "command")
    report = replace(sample.incident(), drained={sample.node("edge-sin-1"): one, sample.node("spare-1"): one})
    made = incident(report, groups(report)[0])
    assert made.drained == (("edge-sin-1", "since 2026-03-01 02:59 UTC by anna (command)"),)
    assert INCIDENT.read(INCIDENT.write(made)) == made
