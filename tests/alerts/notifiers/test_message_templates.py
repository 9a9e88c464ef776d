"""Bodies by template: each that comes along against a strict double, and what a template of one's own may do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from alerts.notifiers.message_templates import MOST_BYTES, SHIPPED, BodyTemplate, shipped_text
from alerts.notifiers.webhook import Webhook
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import HOSTILE_NAMES, PAIR, SENDER, firing, notifications, resolved, trial
from tests.doubles.chats import CHAT, TOPIC, ChatDouble, checked
from tests.doubles.server import Double, Reply

VALUES = {"telegram": {"chat_id": SecretStr(CHAT)}, "ntfy": {"topic": SecretStr(TOPIC)}}
every_shipped = pytest.mark.parametrize("kind", SHIPPED)


def templated(kind: str, url: str = "http://127.0.0.1:9") -> Webhook:
    """A webhook with a template that comes along."""
    template = BodyTemplate(shipped_text(kind), VALUES.get(kind, {}))
    most = SHIPPED[kind].per_message
    return Webhook("chat", SecretStr(url), template=template, max_per_message=most, sender=SENDER)


def of_ones_own(text: str, **values: str) -> Webhook:
    """A webhook with a template of one's own."""
    template = BodyTemplate(text, {name: SecretStr(value) for name, value in values.items()})
    return Webhook("own", SecretStr("http://127.0.0.1:9"), template=template)


@every_shipped
async def test_the_service_takes_what_its_template_makes(kind: str) -> None:
    hostile = [replace(PAIR, subject=name, nodes=(name,), summary=name) for name in HOSTILE_NAMES]
    with ChatDouble(kind) as service:
        webhook = templated(kind, service.address)
        for item in (firing(replace(PAIR, mesh="prod-eu")), resolved(), trial(), *map(firing, hostile)):
            await webhook.send(webhook.payload([item]))
        assert len(service.messages) == 3 + len(hostile)
        told = [json.dumps(message, ensure_ascii=False) for message in service.messages]
    for part in (
        "wgaudit explain 10.0.0.1",
        "wgaudit affected 10.0.0.1",
        "wgaudit plan --address 10.0.0.1",
        "mesh prod-eu",
        "wgaudit 1.2.3",
    ):
        assert part in told[0].replace("\\", "")
    assert "RESOLVED" in told[1]
    assert "TEST - not an incident" in told[2].replace("\\", "")


@every_shipped
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_no_incident_makes_a_message_that_the_service_refuses(kind: str, data: st.DataObject) -> None:
    webhook = templated(kind)
    told = data.draw(st.lists(notifications, min_size=1, max_size=webhook.max_per_message))
    assert webhook.template is not None
    checked(kind, webhook.template.filled(webhook.payload(told)))


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_of_the_settings_is_not_in_the_payload_before_it_is_sent(kind: str) -> None:
    """A payload can be previewed, and a topic is as good as a password."""
    assert all(
        secret.get_secret_value().encode() not in templated(kind).payload([firing()])
        for secret in VALUES[kind].values()
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ nothing_of_that_name }}", "'nothing_of_that_name' is undefined"),
        ('{"a": {{ notifications[0].incident.adress | tojson }}}', "no attribute 'adress'"),
        ("{% for %}", "line 1: "),
        ("{{ 1 | no_such_filter }}", "line 1: No filter named 'no_such_filter'"),
        ("hello", "what it makes is no JSON"),
        ("{{ ''.__class__.__mro__ }}", "access to attribute '__class__'"),
        ("{% for a in range(1000000) %}x{% endfor %}", "OverflowError"),
        ("{% for a in range(90000) %}xxxxxxxx{% endfor %}", f"it makes more than {MOST_BYTES:,} bytes"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{% include '/etc/passwd' %}", "no loader for this environment"),
    ],
)
def test_a_template_that_makes_no_message_says_why_in_one_line(text: str, says: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        of_ones_own(text).payload([firing()])
    assert caught.value.permanent
    assert says in str(caught.value)
    assert str(caught.value).isprintable()


async def test_a_template_sees_the_message_and_its_values(double: Double) -> None:
    webhook = of_ones_own(
        '{"v": {{ schema | tojson }}, "who": {{ notifications[0].incident.nodes | tojson }},'
        '"to": "{{ values.room }}"}',
        room="#ops",
    )
    webhook = replace(webhook, url=SecretStr(double.url))
    await webhook.send(webhook.payload([firing()]))
    assert json.loads(double.calls[0].body) == {
        "v": "wgaudit.alert/1",
        "who": ["edge-fra-1", "edge-sin-1"],
        "to": "#ops",
    }


async def test_a_page_is_no_yes_of_a_service_with_a_template(double: Double) -> None:
    double.fault = Reply(200, b"<html>log in</html>")
    webhook = replace(of_ones_own('{"a": 1}'), url=SecretStr(double.url))
    with pytest.raises(DeliveryError) as caught:
        await webhook.send(webhook.payload([firing()]))
    assert caught.value.unclear


def test_jinja2_is_loaded_only_where_a_template_is_used() -> None:
    """A sweep must not pay for it."""
    program = (
        "import sys, auditor.cli.sweep, auditor.service.alert_session, auditor.service.outbox;"
        "print('jinja2' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout == "False\n"
