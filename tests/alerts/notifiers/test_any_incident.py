"""Properties: whatever an incident is made of, each vendor takes it, and nothing in it breaks out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from alerts.models import Notification, Status
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from tests.alerts.notifiers.sample import SENDER, notifications
from tests.doubles import pagerduty, slack
from tests.doubles.pagerduty import ROUTING_KEY
from tests.doubles.receiver import validator

any_incident = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
few = st.lists(notifications, min_size=1, max_size=3)
several = st.lists(notifications, min_size=1, max_size=6) | st.tuples(notifications, st.integers(1, 120)).map(
    lambda item: [item[0]] * item[1]
)


@any_incident
@given(several)
def test_slack_takes_any_message(batch: Sequence[Notification]) -> None:
    """Sizes and counts, and no text in it is a mention, a link but ours, a code fence or a second line of code."""
    message = slack.checked(Slack("sink", SecretStr("https://x"), sender=SENDER).payload(batch))
    for text in slack.texts(message):
        text = re.sub(r"<https://docs\.example\.net/findings#([a-z-]+)\|\1>", "", text)
        assert not re.search(r"<[^>]*>", text)
        assert "<" not in text
        assert not re.search(r"&(?!amp;|lt;|gt;)", text)
        assert "```" not in text
        for line in text.split("\n"):
            assert line.isprintable()
            assert line.count("`") % 2 == 0


@any_incident
@given(notifications)
def test_pagerduty_takes_any_event(notification: Notification) -> None:
    """With the routing key in it, as it is sent."""
    body = PagerDuty("sink", SecretStr(ROUTING_KEY), sender=SENDER).payload([notification])
    assert ROUTING_KEY.encode() not in body
    event = {"routing_key": ROUTING_KEY, **json.loads(body)}
    taken = pagerduty.checked(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode())
    assert taken["dedup_key"] == notification.incident.fingerprint
    assert taken["event_action"] == ("trigger" if notification.status is Status.FIRING else "resolve")


@any_incident
@given(few)
def test_alertmanager_takes_any_alert(batch: Sequence[Notification]) -> None:
    """Its rules: label names, no empty label, text that is UTF-8, an end that is not before the start."""
    alerts = json.loads(Alertmanager("sink", SecretStr("https://x"), sender=SENDER).payload(batch))
    assert len(alerts) == len(batch)
    for alert in alerts:
        for label, value in {**alert["labels"], **alert["annotations"]}.items():
            assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label)
            assert value
            assert value.isprintable()
            assert len(value) <= 2000
        assert datetime.fromisoformat(alert["startsAt"]) <= datetime.fromisoformat(alert["endsAt"])


@any_incident
@given(few)
def test_a_webhooks_message_keeps_to_the_published_schema(batch: Sequence[Notification]) -> None:
    """And it counts what it does not list."""
    message = json.loads(Webhook("sink", SecretStr("https://x"), sender=SENDER).payload(batch))
    validator().validate(message)
    for told, notification in zip(message["notifications"], batch, strict=True):
        assert told["incident"]["fingerprint"] == notification.incident.fingerprint
        assert told["incident"]["nodes_total"] == len(notification.incident.nodes)
        assert len(told["incident"]["nodes"]) == min(len(notification.incident.nodes), 1000)
